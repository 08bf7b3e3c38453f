//! Orders that came over the admin interface: done at once, or refused with a reason.

use std::sync::Arc;

use nix::sys::signal::Signal;

use super::{Shell, reload::Cause};
use crate::{
    admin::{Answer, Order, ScaleFailure, Ticket},
    arbiter::core::{Event, Stop, WorkerId},
    config::LogLevel,
    info,
};

/// What orders left behind. An upgrade forgets it.
#[derive(Default)]
pub(super) struct Orders {
    /// Of the error log, until the next reload.
    pub(super) log_level: Option<LogLevel>,
    /// Held by each thread that asks a worker for its stacks.
    pub(super) stack_askers: Arc<()>,
    /// How many there were for another number of workers.
    pub(super) scales: u64,
    /// For whoever gave the last one of those.
    pub(super) scale_failure: Option<ScaleFailure>,
}

impl Shell {
    pub(super) fn take_orders(&mut self) {
        for (ticket, order) in self.admin.take_orders() {
            let answer = match self.carry_out(order, ticket) {
                Ok(Some(answer)) => answer,
                Ok(None) => continue,
                Err(why) => Answer::Refused(why),
            };
            // Whoever waits for the outcome looks at what the order led to.
            self.take_events();
            self.tell_admin();
            self.admin.answers().give(ticket, answer);
        }
    }

    /// `None`: the answer follows.
    fn carry_out(&mut self, order: Order, ticket: Ticket) -> Result<Option<Answer>, String> {
        // A stop that waits is older than this order.
        self.take_events();
        // A second stop does not wait for what the first one does.
        if self.core.is_stopping() && !matches!(order, Order::Stop { .. }) {
            return Err("the server stops".to_owned());
        }
        let answer = match order {
            Order::Reload => {
                self.reload(&Cause::Admin);
                Answer::Reload(self.reloads)
            }
            Order::Scale(workers) => self.scale_as_ordered(workers),
            Order::EndWorker { pid, quick } => self.end_worker(pid, quick)?,
            Order::LogLevel(level) => self.set_log_level(level),
            Order::Stacks { pid } => {
                self.ask_for_stacks(pid, ticket)?;
                return Ok(None);
            }
            Order::Upgrade => {
                info!("admin: upgrade");
                self.want_upgrade();
                Answer::Done("the upgrade was asked for".to_owned())
            }
            Order::Stop { quick } => self.stop_as_ordered(quick),
        };
        Ok(Some(answer))
    }

    fn stop_as_ordered(&mut self, quick: bool) -> Answer {
        let (stop, done) = match quick {
            true => (Stop::Quick, "stopping now"),
            false => (Stop::Graceful, "stopping: requests in flight are finished"),
        };
        info!("admin: stop{}", if quick { " quickly" } else { "" });
        self.events.push_back(Event::Stop(stop));
        Answer::Done(done.to_owned())
    }

    fn end_worker(&mut self, pid: u32, quick: bool) -> Result<Answer, String> {
        let found = self.worker_of_pid(pid);
        let worker = found.ok_or_else(|| format!("{pid} is not the process id of a worker"))?;
        let (signal, done) = match quick {
            true => (Signal::SIGKILL, "killed"),
            false => (Signal::SIGTERM, "told to finish its requests and leave"),
        };
        info!("admin: worker={} pid={pid} {done}", worker.0);
        self.processes.tell_worker(worker, signal);
        Ok(Answer::Done(format!(
            "worker {} (pid {pid}): {done}",
            worker.0
        )))
    }

    pub(super) fn worker_of_pid(&self, pid: u32) -> Option<WorkerId> {
        let mut workers = self.processes.workers.iter();
        let found = workers.find(|(_, handle)| pid != 0 && handle.pid() == pid);
        found.map(|(id, _)| *id)
    }

    fn set_log_level(&mut self, level: LogLevel) -> Answer {
        crate::telemetry::set_level(level);
        self.orders.log_level = Some(level);
        self.post_to_all(false);
        Answer::Done(format!("log level {} until the next reload", level.word()))
    }
}
