//! What handlers look at: the published view and what changes too often to be published.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    link::{Link, Policy},
    view::View,
};
use crate::{
    sys::{monotonic_ns, resident_bytes},
    wire::{Scoreboard, Slot},
};

/// For how long a measured size is taken for the present one: reading it costs a file for each process.
const MEMORY_AGE_MAX_NS: u64 = 1_000_000_000;

/// The server as handlers see it, for one turn of the thread.
pub(super) struct Situation<'a> {
    pub(super) view: Arc<View>,
    pub(super) policy: Arc<Policy>,
    pub(super) now_ns: u64,
    /// For how long the shell has not waited; 0 while it waits.
    pub(super) busy_ns: u64,
    pub(super) link: &'a Link,
    pub(super) board: &'a Scoreboard,
    pub(super) memory: &'a mut Memory,
}

impl<'a> Situation<'a> {
    pub(super) fn now(link: &'a Link, board: &'a Scoreboard, memory: &'a mut Memory) -> Self {
        let now_ns = monotonic_ns();
        Self {
            view: link.view(),
            policy: link.policy(),
            now_ns,
            busy_ns: link.busy_ns(now_ns),
            link,
            board,
            memory,
        }
    }

    /// The scoreboard's slot of a worker, unless it is another's by now.
    pub(super) fn slot(&self, worker: u64, slot: u32) -> Option<&'a Slot> {
        let slot = self.board.slots().get(slot as usize)?;
        (slot.worker() == worker).then_some(slot)
    }

    /// Seconds since that moment, in milliseconds' precision.
    pub(super) fn seconds_since(&self, moment_ns: u64) -> f64 {
        seconds(self.now_ns.saturating_sub(moment_ns))
    }

    /// Resident bytes of a process, what it shares included; `None` when it is gone. Up to a second old.
    pub(super) fn memory_of(&mut self, pid: u32) -> Option<u64> {
        self.memory.of(pid, self.now_ns)
    }
}

/// Seconds in milliseconds' precision.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    (nanoseconds / 1_000_000) as f64 / 1_000.0
}

/// Sizes of processes, measured when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Memory {
    measured_ns: u64,
    sizes: BTreeMap<u32, Option<u64>>,
}

impl Memory {
    fn of(&mut self, pid: u32, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.measured_ns) > MEMORY_AGE_MAX_NS {
            self.measured_ns = now_ns;
            self.sizes.clear();
        }
        *self.sizes.entry(pid).or_insert_with(|| resident_bytes(pid))
    }
}

/// Microseconds since the UNIX epoch as RFC 3339 has it, in UTC.
pub(super) fn moment_text(microseconds: i64) -> String {
    let moment = jiff::Timestamp::from_microsecond(microseconds).unwrap_or_default();
    format!("{moment:.3}")
}
