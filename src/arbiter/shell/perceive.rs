//! What happens, as events: messages of generations, signals, ends of processes, the scoreboard, edits.

use std::{os::fd::OwnedFd, sync::atomic::Ordering::Relaxed, time::Duration};

use nix::sys::signal::Signal;

use super::{Shell, reload::Cause};
use crate::{
    arbiter::{
        clock,
        core::{Event, Exit, GenerationId, Moment, Retirement, State, Stop, WorkerId},
        processes::exit_of,
        report::exit_words,
        watcher::Changed,
    },
    config::LogLevel,
    debug, info,
    sys::{PidFd, reap_any_measured, resident_bytes},
    telemetry, warning,
    wire::{FORMAT, FromGeneration, LastWords, Received, WorkerState},
};

/// Between two samples of the workers, at least.
const SAMPLE_EVERY_MIN: Duration = Duration::from_millis(100);
/// Between two samples of the workers, at most.
const SAMPLE_EVERY_MAX: Duration = Duration::from_secs(1);

impl Shell {
    /// Looks at everything.
    pub(super) fn perceive(&mut self) {
        let generations: Vec<GenerationId> = self.processes.generations.keys().copied().collect();
        for generation in generations {
            self.take_messages(generation);
        }
        for signal in self.signals.take() {
            self.on_signal(signal);
        }
        if self.shared.bell.drain() {
            self.read_board();
        }
        self.take_orders();
        self.sample();
        self.count_answers();
        self.commands.enforce(clock::now());
        self.watcher.on_rung(clock::now());
        for changed in self.watcher.take_changed(clock::now()) {
            match changed {
                Changed::Config => self.reload(&Cause::Saved),
                Changed::Code(path) => self.reload(&Cause::Code(path)),
                Changed::Touch => self.reload(&Cause::Touch),
            }
        }
    }

    fn take_messages(&mut self, generation: GenerationId) {
        while let Some(process) = self.processes.process(generation) {
            let received = process
                .channel
                .flush()
                .and_then(|()| process.channel.receive());
            match received {
                Ok(Received::Message(message, descriptors)) => {
                    self.on_message(generation, message, descriptors);
                }
                Ok(Received::Empty) => return,
                Ok(Received::Closed) => return self.processes.make_deaf(generation),
                Err(problem) => {
                    self.on_sent(generation, Err(problem));
                    return self.processes.make_deaf(generation);
                }
            }
        }
    }

    fn on_message(
        &mut self,
        generation: GenerationId,
        message: FromGeneration,
        descriptors: Vec<OwnedFd>,
    ) {
        match message {
            FromGeneration::Hello {
                python,
                engine,
                format,
            } => {
                debug!(
                    "generation={} runs Python {python} with engine {engine}",
                    generation.0
                );
                match format {
                    FORMAT => self.send_start(generation),
                    _ => self.refuse_engine(generation, &engine),
                }
            }
            FromGeneration::Prepared => self.events.push_back(Event::Prepared(generation)),
            FromGeneration::Failed { reason } => {
                self.events.push_back(Event::Failed { generation, reason });
            }
            FromGeneration::Forked { worker, pid } => {
                self.on_forked(WorkerId(worker), pid, descriptors);
            }
            FromGeneration::NotForked { worker, reason } => {
                let worker = WorkerId(worker);
                self.events.push_back(Event::NotForked { worker, reason });
            }
            FromGeneration::Exited {
                worker,
                status,
                peak_bytes,
                ..
            } => {
                let (worker, exit) = (WorkerId(worker), exit_of(status));
                self.processes.note_peak(worker, peak_bytes);
                self.events.push_back(Event::WorkerExited { worker, exit });
            }
            FromGeneration::HookEnded => self.events.push_back(Event::HookEnded(generation)),
        }
    }

    /// Another rgunicorn was installed, and the generation loaded its engine.
    fn refuse_engine(&mut self, generation: GenerationId, engine: &str) {
        let reason = format!(
            "rgunicorn {engine} is installed now, and its engine does not go with the rgunicorn {} that runs; send USR2, which \
             takes up the new program, and then HUP",
            env!("CARGO_PKG_VERSION")
        );
        self.events.push_back(Event::Failed { generation, reason });
        self.processes.tell_generation(generation, Signal::SIGKILL);
    }

    fn on_forked(&mut self, worker: WorkerId, pid: u32, descriptors: Vec<OwnedFd>) {
        let pidfd = descriptors.into_iter().next().map(PidFd::received);
        if let Some((handle, pidfd)) = self.processes.workers.get_mut(&worker).zip(pidfd) {
            handle.process = Some((pid, pidfd));
            self.events.push_back(Event::Forked(worker));
            // It may have been ready before anybody knew that it exists.
            self.shared.bell.ring();
        }
    }

    pub(super) fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGCHLD => self.reap(),
            Signal::SIGTERM => self.stop(signal, Stop::Graceful),
            Signal::SIGINT | Signal::SIGQUIT => self.stop(signal, Stop::Quick),
            Signal::SIGHUP => self.reload(&Cause::Hup),
            Signal::SIGTTIN => self.events.push_back(Event::OneMore),
            Signal::SIGTTOU => self.events.push_back(Event::OneFewer),
            Signal::SIGUSR1 => self.reopen_logs(),
            Signal::SIGUSR2 => self.want_upgrade(),
            _ => warning!("signal {signal} has no meaning here"),
        }
    }

    fn stop(&mut self, signal: Signal, stop: Stop) {
        info!("signal {signal} received");
        self.events.push_back(Event::Stop(stop));
    }

    /// Generations, workers whose generation is gone, and strangers, which an arbiter that is PID 1 gets too.
    fn reap(&mut self) {
        let mut others = Vec::new();
        while let Some((pid, status, peak_bytes)) = reap_any_measured() {
            match self.processes.generation_of_pid(pid) {
                Some(generation) => self.on_generation_exited(generation, status),
                None => others.push((pid, status, peak_bytes)),
            }
        }
        // After the generations: a worker is the arbiter's only once its generation is known to be gone.
        let mut told = Vec::new();
        for (pid, status, peak_bytes) in others {
            if self.commands.on_exit(clock::now(), pid, status) {
                continue;
            }
            if let Some(worker) = self.processes.orphan_of_pid(pid) {
                self.processes.note_peak(worker, peak_bytes);
                told.push(worker);
                let exit = exit_of(status);
                self.events.push_back(Event::WorkerExited { worker, exit });
            }
        }
        for worker in self.processes.lost_workers() {
            if !told.contains(&worker) {
                let exit = Exit::Unknown;
                self.events.push_back(Event::WorkerExited { worker, exit });
            }
        }
    }

    fn on_generation_exited(&mut self, generation: GenerationId, status: i32) {
        // What it said before it died comes first.
        self.take_messages(generation);
        let exit = exit_of(status);
        if let Some(handle) = self.processes.generations.get_mut(&generation) {
            handle.process = None;
            tell_crash(generation, exit, handle.last_words.as_ref());
        }
        self.events
            .push_back(Event::GenerationExited { generation, exit });
    }

    /// Workers write their state into the scoreboard and ring; this compares it with what the core knows.
    fn read_board(&mut self) {
        for (id, worker) in self.core.workers() {
            let Some(slot) = self.shared.board.slots().get(worker.slot as usize) else {
                continue;
            };
            match (slot.state(), worker.state) {
                // A worker that is `Forking` here was forked by an event that waits before this one.
                (WorkerState::Ready, State::Booting { .. } | State::Forking { .. }) => {
                    self.events.push_back(Event::Ready(id));
                }
                (WorkerState::Draining, State::Ready { .. } | State::Retiring { .. }) => {
                    self.events.push_back(Event::Leaves(id));
                }
                _ => {}
            }
            if worker.is_ready() && slot.wants_retirement.load(Relaxed) == 1 {
                let (worker, why) = (id, Retirement::Requests);
                self.events
                    .push_back(Event::WantsRetirement { worker, why });
            }
        }
    }

    /// What the generations answered, while one of them is on probation.
    fn count_answers(&mut self) {
        let now = clock::now();
        if !self.core.is_on_probation() {
            self.tally.next_look = None;
        } else if self.tally.is_due(now) {
            // In their order: what was before is known when what is now is judged.
            for (generation, counts) in self.tally.count(now, &self.shared.board) {
                self.events.push_back(Event::Counted { generation, counts });
            }
        }
    }

    /// What no bell tells: workers that make no progress, and their memory.
    fn sample(&mut self) {
        let now = clock::now();
        let Some(config) = self.serving_config() else {
            return;
        };
        let (memory_max, stall) = (config.limits.worker_memory, config.timeouts.worker);
        if memory_max == 0 && stall.is_zero() {
            self.next_sample = None;
            return;
        }
        if self.next_sample.is_some_and(|at| now < at) {
            return;
        }
        let every = match stall {
            Duration::ZERO => SAMPLE_EVERY_MAX,
            stall => (stall / 4).clamp(SAMPLE_EVERY_MIN, SAMPLE_EVERY_MAX),
        };
        self.next_sample = Some(now + every);
        for (worker, state) in self.core.workers().filter(|(_, worker)| worker.serves()) {
            let slot = self.shared.board.slots().get(state.slot as usize);
            let stalled_ns = slot.map_or(0, |slot| slot.stalled_since.load(Relaxed));
            if stalled_ns != 0 {
                let since = Moment::from_origin(Duration::from_nanos(stalled_ns));
                self.events.push_back(Event::Stalled { worker, since });
            }
            let pid = self.processes.pid_of(worker);
            if memory_max != 0 && resident_bytes(pid).is_some_and(|bytes| bytes > memory_max) {
                let why = Retirement::Memory;
                self.events
                    .push_back(Event::WantsRetirement { worker, why });
            }
        }
    }
}

/// Where a generation crashed. What follows from its death is the core's to say.
fn tell_crash(generation: GenerationId, exit: Exit, last_words: Option<&LastWords>) {
    let crash = last_words.map(LastWords::crash).unwrap_or_default();
    if let (Exit::Signal(_), false) = (exit, crash.is_empty()) {
        let (id, how) = (generation.0, exit_words(exit));
        let headline = format_args!("generation={id} crashed: {how}");
        telemetry::block(LogLevel::Error, headline, &crash);
    }
}
