//! Python stacks for the admin interface: asked for on a thread of their own, since a worker may take its time.

use std::{sync::Arc, time::Duration};

use super::Shell;
use crate::{
    admin::{Answer, Ticket},
    sys::without_signals,
};

/// How long a worker may take to write its stacks.
const PATIENCE: Duration = Duration::from_secs(5);
/// Threads that ask at a time.
const ASKERS_MAX: usize = 4;

impl Shell {
    /// The answer follows when the stacks are there; an error says why they will not be.
    pub(super) fn ask_for_stacks(&self, pid: u32, ticket: Ticket) -> Result<(), String> {
        let found = self.worker_of_pid(pid);
        let worker = found.ok_or_else(|| format!("{pid} is not the process id of a worker"))?;
        let probe = self.processes.stack_probe(worker);
        let probe = probe.map_err(|error| error.to_string())?;
        // One is ours.
        if Arc::strong_count(&self.orders.stack_askers) > ASKERS_MAX {
            return Err("too many ask for stacks already; try again".to_owned());
        }
        let (asker, answers) = (Arc::clone(&self.orders.stack_askers), self.admin.answers());
        let builder = std::thread::Builder::new().name("stacks".to_owned());
        let ask = move || {
            let answer = match probe.take(PATIENCE) {
                Ok(stacks) => Answer::Done(stacks),
                Err(error) => Answer::Refused(error.to_string()),
            };
            answers.give(ticket, answer);
            drop(asker);
        };
        // Signals are the shell's.
        without_signals(|| builder.spawn(ask))
            .map(drop)
            .map_err(|error| format!("no thread can be started to ask: {error}"))
    }
}
