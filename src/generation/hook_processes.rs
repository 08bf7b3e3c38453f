//! The hooks that a generation has to run, each in a process of its own that is forked for it. Pure: no clock, no system
//! calls.

use std::collections::{BTreeMap, VecDeque};

/// Hooks that run at once. More wait; there is at most one for each worker, and two.
const RUNNING_MAX: usize = 4;
/// What the process of a hook may take: the kernel's alarm ends it then. It is less than the arbiter gives a generation
/// from one to the next while it leaves.
pub const HOOK_SECONDS_MAX: u32 = 4;
/// Exit code of a process whose hook raised.
pub const HOOK_RAISED: i32 = 1;

/// What a hook is called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    /// All workers are ready, and the generation serves.
    Ready,
    /// A worker was reaped; `status` is waitpid's raw status.
    WorkerGone { worker: u64, pid: u32, status: i32 },
    /// The server stops, and the last worker is gone.
    Stopped,
}

impl Occasion {
    /// The key of the hook.
    pub fn hook(&self) -> &'static str {
        match self {
            Self::Ready => "hooks.when_ready",
            Self::WorkerGone { .. } => "hooks.child_exit",
            Self::Stopped => "hooks.on_exit",
        }
    }
}

#[derive(Debug, Default)]
pub struct HookProcesses {
    waiting: VecDeque<Occasion>,
    /// By pid.
    running: BTreeMap<u32, Occasion>,
    /// [`Occasion::Stopped`] follows the last worker's end.
    is_server_stopping: bool,
}

impl HookProcesses {
    pub fn add(&mut self, occasion: Occasion) {
        self.waiting.push_back(occasion);
    }

    /// The server stops.
    pub fn stop(&mut self) {
        self.is_server_stopping = true;
    }

    /// The last worker is gone, and so nothing will be added but what this adds.
    pub fn end(&mut self) {
        if self.waiting.is_empty()
            && self.running.is_empty()
            && std::mem::take(&mut self.is_server_stopping)
        {
            self.add(Occasion::Stopped);
        }
    }

    /// What to run now.
    pub fn take_next(&mut self) -> Option<Occasion> {
        if self.running.len() >= RUNNING_MAX {
            return None;
        }
        self.waiting.pop_front()
    }

    /// A process was forked for it.
    pub fn forked(&mut self, pid: u32, occasion: Occasion) {
        self.running.insert(pid, occasion);
    }

    /// A child was reaped: what it was forked for, if it was one of these.
    pub fn on_exit(&mut self, pid: u32) -> Option<Occasion> {
        self.running.remove(&pid)
    }

    /// Nothing runs or waits.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(worker: u64) -> Occasion {
        Occasion::WorkerGone {
            worker,
            pid: 100,
            status: 0,
        }
    }

    #[test]
    fn so_many_run_at_once_and_the_others_wait_for_their_turn() {
        let mut hooks = HookProcesses::default();
        for worker in 0..6 {
            hooks.add(gone(worker));
        }
        for pid in 0..4 {
            let occasion = hooks.take_next().unwrap();
            hooks.forked(pid, occasion);
        }
        assert_eq!(hooks.take_next(), None);
        assert_eq!(hooks.on_exit(2), Some(gone(2)));
        assert_eq!(hooks.take_next(), Some(gone(4)));
        assert_eq!(hooks.on_exit(99), None, "a stranger");
        assert!(!hooks.is_idle());
    }

    #[test]
    fn the_end_of_the_server_is_told_last_and_once() {
        let mut hooks = HookProcesses::default();
        hooks.stop();
        hooks.add(gone(1));
        hooks.end();
        let last = hooks.take_next().unwrap();
        assert_eq!(last, gone(1));
        hooks.forked(7, last);
        hooks.end();
        assert_eq!(hooks.take_next(), None, "a hook still runs");
        hooks.on_exit(7);
        hooks.end();
        assert_eq!(hooks.take_next(), Some(Occasion::Stopped));
        hooks.end();
        assert!(hooks.is_idle());
    }

    #[test]
    fn a_generation_that_is_replaced_does_not_stop_the_server() {
        let mut hooks = HookProcesses::default();
        hooks.end();
        assert!(hooks.is_idle());
    }
}
