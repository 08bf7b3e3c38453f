//! The loop between the arbiter's orders and the children's ends: it waits, reaps and reports, and returns only when
//! the interpreter has something to do.
//!
//! When the arbiter is gone, workers drain and leave by themselves, unless their app lets nothing else run: after
//! `timeouts.graceful` nobody but this process could end them.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill, raise},
    unistd::Pid,
};

use super::{Children, HOOK_RAISED, HOOK_SECONDS_MAX, HookProcesses, Occasion, outputs::Outputs};
use crate::{
    config::LogLevel,
    sys::{PidFd, SignalBell, describe_exit, reap_any_measured},
    telemetry::{self, Printer},
    wire::{
        ChannelError, ForkDescriptors, FromGeneration, GenerationEnd, LIVE_SIGNAL, LastWords,
        Received, StackSheet, ToGeneration, WorkerSettings,
    },
};

/// What a worker may take to leave after its own bound of `timeouts.graceful`: as long as the arbiter would give it.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What the process has to do that needs the interpreter, or ends the loop.
#[derive(Debug)]
pub enum ForkServerTask {
    /// Prepare: the first task.
    Start(Box<WorkerSettings>, Vec<OwnedFd>),
    /// Fork a worker; [`ForkServer::forked`] or [`ForkServer::not_forked`] is the answer.
    Fork {
        worker: u64,
        slot: u32,
        sheet: StackSheet,
    },
    /// Run the hook for this in a process of its own, if there is one; [`ForkServer::hook_forked`] is the answer.
    RunHook(Occasion),
    /// The arbiter posted something: see [`super::Inherited::take_live`].
    TakeLive,
    /// No worker will be forked any more: what is kept for them can be let go. Told once.
    Retire,
    /// No child is left, and no more are wanted.
    Leave,
}

/// The loop of a generation: it tells its caller, who may fork, what to do next.
pub struct ForkServer {
    /// `None` once the arbiter is gone.
    channel: Option<GenerationEnd>,
    signals: SignalBell,
    children: Children,
    /// What is printed, where it is captured.
    outputs: Outputs,
    hooks: HookProcesses,
    /// Where the process of a hook writes its stacks when it crashes.
    last_words: Option<Arc<LastWords>>,
    /// [`ForkServerTask::Retire`] was given.
    is_retired: bool,
    /// `timeouts.graceful`
    grace: Duration,
    /// When workers that the arbiter left behind are killed.
    kill_at: Option<Instant>,
}

impl ForkServer {
    /// Signals that a generation hears. Of those that end groups of processes it takes note only: the arbiter decides.
    pub const SIGNALS: [Signal; 8] = [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        LIVE_SIGNAL,
    ];

    pub fn new(channel: GenerationEnd, signals: SignalBell) -> Self {
        Self {
            channel: Some(channel),
            signals,
            children: Children::default(),
            outputs: Outputs::default(),
            hooks: HookProcesses::default(),
            last_words: None,
            is_retired: false,
            grace: Duration::ZERO,
            kill_at: None,
        }
    }

    /// How long workers may take to finish their requests once the arbiter is gone. To be called again when it changes.
    pub fn grant(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// From now on processes of hooks that crash write their stacks there.
    pub fn hear_crashes(&mut self, last_words: Arc<LastWords>) {
        self.last_words = Some(last_words);
    }

    /// Waits for the next task. Call it without the interpreter's lock.
    pub fn next_task(&mut self) -> ForkServerTask {
        loop {
            for signal in self.signals.take() {
                if signal == LIVE_SIGNAL {
                    return ForkServerTask::TakeLive;
                }
            }
            self.outputs.read();
            self.reap();
            self.kill_who_stays();
            if let Some(task) = self.take_task() {
                return task;
            }
            if !self.children.may_grow() && !self.is_retired {
                self.is_retired = true;
                return ForkServerTask::Retire;
            }
            let is_done = self.children.are_done();
            if is_done {
                self.hooks.end();
            }
            if let Some(occasion) = self.hooks.take_next() {
                return ForkServerTask::RunHook(occasion);
            }
            if is_done && self.hooks.is_idle() {
                return ForkServerTask::Leave;
            }
            self.wait();
        }
    }

    /// Reports to the arbiter. When that is gone, there is nobody to tell.
    pub fn report(&mut self, fact: FromGeneration) {
        self.send(fact, None);
    }

    /// In the parent, after a fork.
    pub fn forked(&mut self, worker: u64, pid: u32) {
        match PidFd::open(pid) {
            Ok(pidfd) => {
                self.children.add(pid, worker);
                self.send(FromGeneration::Forked { worker, pid }, Some(&pidfd));
            }
            Err(error) => {
                // Nobody could be told about it safely, so it must not be.
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                self.not_forked(worker, format!("no pidfd: {error}"));
            }
        }
    }

    /// Reads what a process prints into these from now on, and writes it to the error log.
    pub fn read_output(&mut self, printer: Printer, readers: [OwnedFd; 2]) {
        self.outputs.add(printer, readers);
    }

    pub fn not_forked(&mut self, worker: u64, reason: String) {
        self.report(FromGeneration::NotForked { worker, reason });
    }

    /// In the parent, after a fork for a hook.
    pub fn hook_forked(&mut self, pid: u32, occasion: Occasion) {
        self.hooks.forked(pid, occasion);
    }

    /// Takes the signals back from an app that was imported and set its own handlers.
    pub fn reclaim_signals(&self) {
        if let Err(error) = self.signals.reclaim() {
            crate::error!("cannot install signal handlers: {error}");
        }
    }

    fn reap(&mut self) {
        while let Some((pid, status, peak_bytes)) = reap_any_measured() {
            // The last words of the dead come before the news of the death.
            self.outputs.finish(pid);
            if let Some(occasion) = self.hooks.on_exit(pid) {
                self.tell_of_hook(&occasion, status);
                self.report(FromGeneration::HookEnded);
            } else if let Some(fact) = self.children.on_exit(pid, status, peak_bytes) {
                if let FromGeneration::Exited { worker, .. } = fact {
                    self.hooks.add(Occasion::WorkerGone {
                        worker,
                        pid,
                        status,
                    });
                }
                self.report(fact);
            }
        }
    }

    /// What a hook raised it has logged itself; then it exits with 1.
    fn tell_of_hook(&self, occasion: &Occasion, status: i32) {
        let hook = occasion.hook();
        if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM {
            crate::warning!("{hook} was not done after {HOOK_SECONDS_MAX}s: ended");
        } else if status != 0 && status != HOOK_RAISED << 8 {
            telemetry::block(
                LogLevel::Warning,
                format_args!("{hook} ended with {}", describe_exit(status)),
                &self.crash_of_hook(status),
            );
        }
    }

    /// Where the process of a hook crashed, if it did. It is forgotten then: it is about one death, and a hook may crash
    /// often.
    fn crash_of_hook(&self, status: i32) -> String {
        match &self.last_words {
            Some(words) if libc::WIFSIGNALED(status) => {
                let crash = words.crash();
                words.forget();
                crash
            }
            _ => String::new(),
        }
    }

    /// The next task that has arrived. `None` when there is none now, or never again.
    fn take_task(&mut self) -> Option<ForkServerTask> {
        loop {
            let received = self.channel.as_mut()?.receive();
            match received {
                Ok(Received::Message(ToGeneration::Start(settings), descriptors)) => {
                    return Some(ForkServerTask::Start(settings, descriptors));
                }
                Ok(Received::Message(ToGeneration::Fork { worker, slot }, descriptors)) => {
                    match self.stack_sheet(descriptors) {
                        Ok(sheet) => {
                            return Some(ForkServerTask::Fork {
                                worker,
                                slot,
                                sheet,
                            });
                        }
                        Err(reason) => self.not_forked(worker, reason),
                    }
                }
                Ok(Received::Message(ToGeneration::Retire, _)) => self.children.retire(),
                Ok(Received::Message(ToGeneration::Serving, _)) => self.hooks.add(Occasion::Ready),
                Ok(Received::Message(ToGeneration::Stopping, _)) => self.hooks.stop(),
                Ok(Received::Empty) => return None,
                Ok(Received::Closed) => self.lose_arbiter(),
                Err(error) => break_off("cannot understand the arbiter", &error),
            }
        }
    }

    /// What a worker writes its stacks on; or why it will not be forked.
    fn stack_sheet(&self, descriptors: Vec<OwnedFd>) -> Result<StackSheet, String> {
        if !self.children.may_grow() {
            return Err("the generation is retiring".to_owned());
        }
        let received = ForkDescriptors::received(descriptors);
        let (received, _) = received
            .filter(|(_, others)| others.is_empty())
            .ok_or("other descriptors came with the order than belong to it")?;
        StackSheet::open(received.stack_sheet).map_err(|error| format!("no stack sheet: {error}"))
    }

    fn send(&mut self, fact: FromGeneration, pidfd: Option<&PidFd>) {
        let descriptors = pidfd.map(AsFd::as_fd);
        let sent = match &mut self.channel {
            Some(channel) => channel.send(fact, descriptors.as_slice()),
            None => return,
        };
        self.on_sent(sent);
    }

    fn on_sent(&mut self, sent: Result<(), ChannelError>) {
        match sent {
            Ok(()) => {}
            Err(ChannelError::Closed) => self.lose_arbiter(),
            Err(error) => break_off("cannot report to the arbiter", &error),
        }
    }

    /// Workers see the lifeline end, drain and leave; so does this process, after them.
    fn lose_arbiter(&mut self) {
        self.channel = None;
        self.children.retire();
        self.kill_at = Instant::now().checked_add(self.grace + LEAVE_WITHIN);
    }

    /// Once: what SIGKILL does not end nobody can end.
    fn kill_who_stays(&mut self) {
        if self.kill_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.kill_at = None;
        for pid in self.children.pids() {
            crate::error!(
                "pid={pid} did not leave within timeouts.graceful after the arbiter's end: killed"
            );
            // It is not reaped yet, so the number is still its own.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }

    /// Until a signal or an order arrives, or what could not be sent can be.
    fn wait(&mut self) {
        let mut entries = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(channel) = &self.channel {
            let mut wanted = PollFlags::POLLIN;
            wanted.set(PollFlags::POLLOUT, channel.wants_to_write());
            entries.push(PollFd::new(channel.as_fd(), wanted));
        }
        let outputs = self.outputs.descriptors();
        entries.extend(outputs.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let timeout = self.kill_at.map_or(PollTimeout::NONE, |at| {
            // Rounded up, or the last millisecond would be polled away.
            let left = left(at) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        // Interrupted or not: what happened is looked for, not told.
        let _ = poll(&mut entries, timeout);
        if let Some(channel) = &mut self.channel {
            let flushed = channel.flush();
            self.on_sent(flushed);
        }
    }
}

/// An order or a report is lost, and what both sides know differs from now on. The arbiter starts another generation as
/// soon as this one is dead; until then the workers serve on, which they do without a generation, and would not if it retired.
/// No handler of the app's runs at this end: the workers use what it would tidy away.
fn break_off(what: &str, error: &ChannelError) {
    crate::error!("{what}: {error}; this process ends, and its workers go on");
    let _ = raise(Signal::SIGKILL);
}
