//! The processes behind the core's ids. Only here a pid has a meaning.

use std::{collections::BTreeMap, io, os::fd::AsFd, sync::Arc};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::{
    GenerationProcess, StackProbe, StacksError,
    core::{Exit, GenerationId, ReloadId, WorkerId, WorkerSignal},
};
use crate::{
    sys::PidFd,
    wire::{LastWords, LivePage, StackSheet},
};

#[derive(Debug)]
pub(super) struct GenerationHandle {
    /// Whose configuration it was started with.
    pub(super) reload: ReloadId,
    /// `None` once it was reaped, or when it could not be started.
    pub(super) process: Option<GenerationProcess>,
    /// What it and its workers go by where that may change; `None` until it is told to start.
    pub(super) live: Option<LivePage>,
    /// `None` until it is told to start.
    pub(super) last_words: Option<LastWords>,
    /// The other side of the channel is closed: there is nothing to poll for.
    pub is_deaf: bool,
}

#[derive(Debug)]
pub(super) struct WorkerHandle {
    pub(super) generation: GenerationId,
    pub(super) slot: u32,
    /// Where it writes its Python stacks; `None` when no memory file could be made, and then it is not forked.
    pub(super) sheet: Option<Arc<StackSheet>>,
    /// The most memory that it ever had resident, bytes; zero until it was reaped.
    pub(super) peak_bytes: u64,
    /// How often the kernel had killed for want of memory when it was forked.
    pub(super) oom_kills_before: Option<u64>,
    /// `None` until it is forked.
    pub(super) process: Option<(u32, PidFd)>,
}

impl WorkerHandle {
    pub(super) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, |(pid, _)| *pid)
    }
}

#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) generations: BTreeMap<GenerationId, GenerationHandle>,
    pub(super) workers: BTreeMap<WorkerId, WorkerHandle>,
}

impl Processes {
    /// The running process of a generation.
    pub(super) fn process(&mut self, id: GenerationId) -> Option<&mut GenerationProcess> {
        self.generations.get_mut(&id)?.process.as_mut()
    }

    pub(super) fn generation_of_pid(&self, pid: u32) -> Option<GenerationId> {
        self.generations
            .iter()
            .find(|(_, handle)| handle.process.as_ref().is_some_and(|p| p.pid == pid))
            .map(|(id, _)| *id)
    }

    /// The worker with this pid, if its generation is gone and so it is the arbiter's to reap.
    pub(super) fn orphan_of_pid(&self, pid: u32) -> Option<WorkerId> {
        self.workers
            .iter()
            .find(|(_, handle)| handle.pid() == pid && self.is_orphan(handle))
            .map(|(id, _)| *id)
    }

    /// Workers that are gone though nobody will ever tell how: their generation reaped them, and died before it said so.
    pub(super) fn lost_workers(&self) -> Vec<WorkerId> {
        self.workers
            .iter()
            .filter(|(_, handle)| self.is_orphan(handle) && has_exited(handle))
            .map(|(id, _)| *id)
            .collect()
    }

    fn is_orphan(&self, handle: &WorkerHandle) -> bool {
        self.generations
            .get(&handle.generation)
            .is_none_or(|generation| generation.process.is_none())
    }

    /// Sends it. A process that has gone meanwhile is no error: its end is on its way.
    pub(super) fn signal(&self, worker: WorkerId, signal: WorkerSignal) {
        let signal = match signal {
            WorkerSignal::Drain => Signal::SIGTERM,
            WorkerSignal::Quit => Signal::SIGQUIT,
            WorkerSignal::Abort => Signal::SIGABRT,
            WorkerSignal::Kill => Signal::SIGKILL,
        };
        self.tell_worker(worker, signal);
    }

    pub(super) fn tell_worker(&self, worker: WorkerId, signal: Signal) {
        if let Some((pid, pidfd)) = self.workers.get(&worker).and_then(|w| w.process.as_ref()) {
            tolerate_gone(pidfd.signal(signal), *pid);
        }
    }

    /// The process of a generation, if it runs, and all of its workers.
    pub(super) fn tell_family(&self, id: GenerationId, signal: Signal) {
        if let Some(process) = self.generations.get(&id).and_then(|g| g.process.as_ref()) {
            tolerate_gone(process.pidfd.signal(signal), process.pid);
        }
        for (worker, handle) in &self.workers {
            if handle.generation == id {
                self.tell_worker(*worker, signal);
            }
        }
    }

    pub(super) fn tell_generation(&self, id: GenerationId, signal: Signal) {
        if let Some(process) = self.generations.get(&id).and_then(|g| g.process.as_ref()) {
            tolerate_gone(process.pidfd.signal(signal), process.pid);
        }
    }

    /// Whether a process that a generation calls its worker can be that. Code of the app, which may run as another user, could
    /// have named any, and the arbiter would kill it with its own rights.
    pub(super) fn is_family(&self, id: GenerationId, pidfd: &PidFd) -> bool {
        let process = self.generations.get(&id).and_then(|g| g.process.as_ref());
        pidfd.may_be_child_of(process.map(|process| &process.pidfd))
    }

    pub(super) fn make_deaf(&mut self, id: GenerationId) {
        if let Some(handle) = self.generations.get_mut(&id) {
            handle.is_deaf = true;
        }
    }

    /// What asks a worker for its Python stacks, on a thread that may wait.
    pub(super) fn stack_probe(&self, worker: WorkerId) -> Result<StackProbe, StacksError> {
        let handle = self.workers.get(&worker);
        let handle = handle.ok_or(StacksError::NoSuchWorker(worker.0))?;
        let Some(((_, pidfd), sheet)) = handle.process.as_ref().zip(handle.sheet.as_ref()) else {
            return Err(StacksError::TooYoung(worker.0));
        };
        let pidfd = pidfd.as_fd().try_clone_to_owned();
        let pidfd = pidfd.map_err(|source| StacksError::Os {
            worker: worker.0,
            source,
        })?;
        Ok(StackProbe::new(
            worker.0,
            PidFd::received(pidfd),
            Arc::clone(sheet),
        ))
    }

    /// What a worker that was reaped had used.
    pub(super) fn note_peak(&mut self, worker: WorkerId, peak_bytes: u64) {
        if let Some(handle) = self.workers.get_mut(&worker) {
            handle.peak_bytes = peak_bytes;
        }
    }

    /// Zero until it is forked.
    pub(super) fn pid_of(&self, worker: WorkerId) -> u32 {
        self.workers.get(&worker).map_or(0, WorkerHandle::pid)
    }
}

fn tolerate_gone(result: io::Result<()>, pid: u32) {
    if let Err(error) = result
        && error.raw_os_error() != Some(libc::ESRCH)
    {
        crate::error!("pid={pid} cannot be signalled: {error}");
    }
}

fn has_exited(handle: &WorkerHandle) -> bool {
    let Some((_, pidfd)) = &handle.process else {
        return false;
    };
    let mut entries = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut entries, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// waitpid(2)'s raw status.
pub(super) fn exit_of(status: i32) -> Exit {
    crate::sys::exit_code(status).map_or(Exit::Signal(status & 0x7f), Exit::Code)
}
