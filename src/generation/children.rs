//! Which workers a generation has forked, and whether it may leave. Pure: no clock, no system calls.

use std::collections::BTreeMap;

use crate::wire::FromGeneration;

/// The only table of pids in a generation.
#[derive(Debug, Default)]
pub struct Children {
    /// Worker by pid, from its fork until it is reaped.
    workers: BTreeMap<u32, u64>,
    /// No worker will be added. Never false again.
    retiring: bool,
}

impl Children {
    /// Whether a worker may be forked.
    pub fn may_grow(&self) -> bool {
        !self.retiring
    }

    pub fn add(&mut self, pid: u32, worker: u64) {
        let before = self.workers.insert(pid, worker);
        assert!(
            before.is_none(),
            "pid {pid} was forked twice and reaped never"
        );
    }

    /// A child was reaped. `None` for one that is no worker, such as a process that the preloaded app started.
    pub fn on_exit(&mut self, pid: u32, status: i32, peak_bytes: u64) -> Option<FromGeneration> {
        let worker = self.workers.remove(&pid)?;
        Some(FromGeneration::Exited {
            worker,
            pid,
            status,
            peak_bytes,
        })
    }

    /// The arbiter wants no more workers, or is gone.
    pub fn retire(&mut self) {
        self.retiring = true;
    }

    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.workers.keys().copied()
    }

    /// Nothing is left to do.
    pub fn are_done(&self) -> bool {
        self.retiring && self.workers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_leaves_when_it_is_retired_and_its_last_worker_is_reaped() {
        let mut children = Children::default();
        children.add(100, 1);
        children.add(101, 2);
        children.retire();
        assert!(!children.may_grow());
        assert!(!children.are_done());
        assert_eq!(
            children.on_exit(101, 9, 4096),
            Some(FromGeneration::Exited {
                worker: 2,
                pid: 101,
                status: 9,
                peak_bytes: 4096,
            })
        );
        assert!(!children.are_done());
        children.on_exit(100, 0, 0);
        assert!(children.are_done());
    }

    #[test]
    fn without_workers_it_stays_until_it_is_retired() {
        let mut children = Children::default();
        assert!(!children.are_done());
        children.retire();
        assert!(children.are_done());
    }

    #[test]
    fn a_child_that_is_no_worker_is_passed_over() {
        let mut children = Children::default();
        children.add(100, 1);
        assert_eq!(children.on_exit(7, 0, 0), None);
        assert_eq!(children.on_exit(100, 0, 0).map(|_| ()), Some(()));
        assert_eq!(children.on_exit(100, 0, 0), None);
    }
}
