//! Asking a worker for its Python stacks, from any thread: it may take a while, which the arbiter's loop must not.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    sys::{self, PidFd, STACKS_SIGNAL},
    wire::{Lease, StackSheet},
};

/// Between two looks whether the stacks are there.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a loop may take to add its tasks or greenlets, once the threads are there.
const TASKS_TIME_MAX: Duration = Duration::from_millis(500);

/// One worker, for as long as it lives and no longer.
#[derive(Debug)]
pub struct StackProbe {
    worker: u64,
    pidfd: PidFd,
    sheet: Arc<StackSheet>,
}

/// Why there are no stacks to show.
#[derive(Debug, thiserror::Error)]
pub enum StacksError {
    #[error("there is no worker={0}")]
    NoSuchWorker(u64),
    #[error("worker={0} has just been forked and cannot be asked yet; try again")]
    TooYoung(u64),
    #[error("somebody else is asking worker={0} for its stacks; try again")]
    Busy(u64),
    #[error(
        "worker={worker} did not write its stacks within {after:?}: it may be stopped, or wait for a disk"
    )]
    NoAnswer { worker: u64, after: Duration },
    #[error("worker={worker} cannot be asked for its stacks: {source}")]
    Os {
        worker: u64,
        #[source]
        source: io::Error,
    },
}

impl StackProbe {
    /// For the worker of this number, whose process `pidfd` names.
    pub fn new(worker: u64, pidfd: PidFd, sheet: Arc<StackSheet>) -> Self {
        Self {
            worker,
            pidfd,
            sheet,
        }
    }

    /// The stacks of all threads of the worker, and of its tasks or greenlets if its loop turns. Blocks for at most
    /// `patience` (and half a second for the loop).
    pub fn take(&self, patience: Duration) -> Result<String, StacksError> {
        let deadline = Instant::now() + patience;
        let lease = self.lease(deadline)?;
        let before = self.sheet.threads_done();
        let number = self.sheet.want_tasks();
        self.pidfd
            .signal_number(STACKS_SIGNAL)
            .map_err(|source| self.failed(source))?;
        let is_there = until(deadline, || self.sheet.threads_done() != before);
        if is_there && self.sheet.has_loop() {
            let deadline = Instant::now() + TASKS_TIME_MAX;
            until(deadline, || self.sheet.tasks_done() == number);
        }
        let text = self.sheet.text().map_err(|source| self.failed(source))?;
        let _ = self.sheet.clear();
        drop(lease);
        match is_there {
            true => Ok(text),
            false => Err(StacksError::NoAnswer {
                worker: self.worker,
                after: patience,
            }),
        }
    }

    fn lease(&self, deadline: Instant) -> Result<Lease<'_>, StacksError> {
        if !self.sheet.is_ready() {
            return Err(StacksError::TooYoung(self.worker));
        }
        let lasts = deadline.saturating_duration_since(Instant::now()) + 2 * TASKS_TIME_MAX;
        let lasts_ns = lasts.as_nanos() as u64;
        let mut lease = None;
        until(deadline, || {
            lease = self.sheet.lease(sys::monotonic_ns(), lasts_ns);
            lease.is_some()
        });
        let lease = lease.ok_or(StacksError::Busy(self.worker))?;
        self.sheet.clear().map_err(|source| self.failed(source))?;
        Ok(lease)
    }

    fn failed(&self, source: io::Error) -> StacksError {
        let worker = self.worker;
        match source.raw_os_error() {
            Some(libc::ESRCH) => StacksError::NoSuchWorker(worker),
            _ => StacksError::Os { worker, source },
        }
    }
}

/// Looks again and again until it is so. False: it was not in time.
fn until(deadline: Instant, mut is_so: impl FnMut() -> bool) -> bool {
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}
