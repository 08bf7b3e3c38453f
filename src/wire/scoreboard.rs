//! The scoreboard: one shared mapping with a slot per worker. A worker writes its own slot and reads the others'; the
//! arbiter reads all of them and resets a slot before it gives it away. No request needs a message.
//!
//! Every field is an atomic, so a torn read is impossible; fields that belong together (an entry in flight) carry a
//! sequence number that is odd while the entry is being written. It outlives a crashed worker: the log can say
//! what a worker was doing when it died.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
};

use super::{
    counters::{Counters, Totals},
    gauges::Gauges,
    in_flight::InFlight,
    samples::Samples,
    server_counts::ServerCounts,
};
use crate::sys::SharedMemory;

/// Workers of all generations together, draining ones included.
pub const SLOTS_MAX: usize = 1024;
/// Requests in flight that one worker shows; more are only counted.
pub const IN_FLIGHT_SHOWN_MAX: usize = 64;
/// How often a sum is tried that another move of counters falls into; more often means that somebody scribbled on the board.
const TOTALS_TRIES_MAX: usize = 10_000;

/// Where a worker is in its life, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum WorkerState {
    /// Nobody's.
    Free = 0,
    /// Forked; imports the app.
    Booting = 1,
    /// Accepts and serves.
    Ready = 2,
    /// Serves what it holds and leaves.
    Draining = 3,
}

/// Layout shared by all processes of one arbiter.
#[repr(C)]
struct Board {
    /// Set when the whole server stops: nobody is left to hand a connection to.
    closing: AtomicU32,
    /// Slots from here on were never used: where a walk over the workers may stop.
    high_water: AtomicU32,
    /// Odd while the counters of a worker that left move to `past`.
    moving: AtomicU64,
    server: ServerCounts,
    /// What the workers that left had counted.
    past: Counters,
    slots: [Slot; SLOTS_MAX],
}

/// One worker, written by it alone once it is forked.
#[repr(C, align(64))]
pub struct Slot {
    state: AtomicU32,
    pid: AtomicU32,
    worker: AtomicU64,
    generation: AtomicU64,
    /// CLOCK_MONOTONIC nanoseconds at which every thread of the worker became busy or last completed something while
    /// all were; 0 while a thread is free. What `timeouts.worker` measures.
    pub stalled_since: AtomicU64,
    /// 1 while the worker waits for events with a thread free: it would take a connection at once.
    pub idle: AtomicU32,
    /// 1 while the worker watches the listeners.
    pub watching: AtomicU32,
    /// Connections the worker holds.
    pub connections: AtomicU32,
    /// 1 when the worker asks to be replaced (`limits.max_requests`).
    pub wants_retirement: AtomicU32,
    /// The version of the live page that the worker goes by.
    pub live_version: AtomicU64,
    pub requests: AtomicU64,
    /// Responses with a 5xx status.
    pub errors: AtomicU64,
    pub gauges: Gauges,
    pub counters: Counters,
    pub samples: Samples,
    pub in_flight: [InFlight; IN_FLIGHT_SHOWN_MAX],
}

impl Slot {
    pub fn state(&self) -> WorkerState {
        match self.state.load(SeqCst) {
            1 => WorkerState::Booting,
            2 => WorkerState::Ready,
            3 => WorkerState::Draining,
            _ => WorkerState::Free,
        }
    }

    pub fn set_state(&self, state: WorkerState) {
        self.state.store(state as u32, SeqCst);
    }

    /// The number of the worker; 0: the slot is nobody's.
    pub fn worker(&self) -> u64 {
        self.worker.load(Acquire)
    }

    /// 0 before the worker has told it.
    pub fn pid(&self) -> u32 {
        self.pid.load(Acquire)
    }

    pub fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Release);
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// What it counted while it booted was for itself.
    fn counts(&self) -> bool {
        matches!(self.state(), WorkerState::Ready | WorkerState::Draining)
    }

    /// Forgets what was counted: a worker that boots serves its own health check.
    pub fn forget_counts(&self) {
        self.requests.store(0, Relaxed);
        self.errors.store(0, Relaxed);
        self.counters.clear();
        self.samples.clear();
    }

    /// Makes the slot the given worker's, booting, with all counters at zero.
    fn assign(&self, worker: u64, generation: u64) {
        self.clear();
        self.worker.store(worker, Release);
        self.generation.store(generation, Release);
        self.set_state(WorkerState::Booting);
    }

    fn clear(&self) {
        self.set_state(WorkerState::Free);
        self.forget_counts();
        self.gauges.clear();
        for counter in [
            &self.worker,
            &self.generation,
            &self.live_version,
            &self.stalled_since,
        ] {
            counter.store(0, Relaxed);
        }
        for counter in [
            &self.pid,
            &self.idle,
            &self.watching,
            &self.connections,
            &self.wants_retirement,
        ] {
            counter.store(0, Relaxed);
        }
        for entry in &self.in_flight {
            entry.clear();
        }
    }

    /// Requests shown in flight.
    pub fn requests_in_flight(&self) -> Vec<(u64, String)> {
        self.in_flight.iter().filter_map(InFlight::read).collect()
    }
}

/// The mapping, shared by descriptor.
pub struct Scoreboard {
    memory: SharedMemory,
}

impl Scoreboard {
    /// Its size; another one is another layout.
    pub const BYTES: usize = size_of::<Board>();

    /// A new, zeroed scoreboard. Pages that no worker touched take no memory.
    pub fn create() -> io::Result<Self> {
        Ok(Self {
            memory: SharedMemory::create("rgunicorn-scoreboard", size_of::<Board>())?,
        })
    }

    /// Maps the scoreboard behind a descriptor that [`Scoreboard::descriptor`] gave.
    pub fn open(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            memory: SharedMemory::open(descriptor, size_of::<Board>())?,
        })
    }

    /// For [`Scoreboard::open`], in another process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.descriptor()
    }

    /// The same memory once more.
    pub fn another(&self) -> io::Result<Self> {
        Self::open(self.descriptor().try_clone_to_owned()?)
    }

    fn board(&self) -> &Board {
        self.memory.as_ref_of_atomics::<Board>()
    }

    /// The slots; the index is the `slot` of the messages.
    pub fn slots(&self) -> &[Slot] {
        &self.board().slots
    }

    /// The slots that are or were in use; what a walk over all workers reads.
    pub fn slots_in_use(&self) -> &[Slot] {
        let board = self.board();
        let used = board.high_water.load(Acquire) as usize;
        // A worker could have written any number.
        &board.slots[..used.min(SLOTS_MAX)]
    }

    /// Makes a slot the given worker's, booting, with all counters at zero. Called by the arbiter
    /// before the fork; taking the lowest free slot keeps walks short.
    pub fn assign(&self, slot: u32, worker: u64, generation: u64) {
        let board = self.board();
        board.slots[slot as usize].assign(worker, generation);
        board.high_water.fetch_max(slot + 1, SeqCst);
    }

    /// Gives a slot back. Called by the arbiter after the worker was reaped: nobody writes to it any more.
    pub fn release(&self, slot: u32) {
        let board = self.board();
        let slot = &board.slots[slot as usize];
        let moving = board.moving.load(Relaxed);
        board.moving.store(moving.wrapping_add(1), Relaxed);
        std::sync::atomic::fence(Release);
        if slot.counts() {
            board.past.absorb(&slot.counters);
        }
        slot.clear();
        board.moving.store(moving.wrapping_add(2), Release);
    }

    /// What all workers counted, those that left included. No counter is ever less than it was before: a worker's are
    /// seen either in its slot or in the past. But for a board that somebody scribbled on: then they are what they look like.
    pub fn totals(&self) -> Totals {
        let board = self.board();
        let mut totals = Totals::default();
        for _ in 0..TOTALS_TRIES_MAX {
            let before = board.moving.load(Acquire);
            totals.clear();
            totals.add(&board.past);
            for slot in self.slots_in_use().iter().filter(|slot| slot.counts()) {
                totals.add(&slot.counters);
            }
            std::sync::atomic::fence(Acquire);
            if before.is_multiple_of(2) && board.moving.load(Relaxed) == before {
                break;
            }
            // A move takes microseconds.
            std::thread::yield_now();
        }
        totals
    }

    /// What happened to the server as a whole.
    pub fn server(&self) -> &ServerCounts {
        &self.board().server
    }

    /// Whether the whole server stops: nobody is left to hand a connection to.
    pub fn is_closing(&self) -> bool {
        self.board().closing.load(SeqCst) == 1
    }

    pub fn set_closing(&self) {
        self.board().closing.store(1, SeqCst);
    }
}

// SAFETY: zeroed memory is a valid Board, and all of its fields are atomics.
#[expect(unsafe_code, reason = "asserts a property of the layout above")]
unsafe impl crate::sys::Atomics for Board {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::wire::counters::Count;

    fn assign(board: &Scoreboard, slot: u32) -> &Slot {
        board.assign(slot, u64::from(slot) + 1, 1);
        let slot = &board.slots()[slot as usize];
        slot.set_state(WorkerState::Ready);
        slot
    }

    #[test]
    fn what_a_worker_counted_stays_when_it_has_left() {
        let board = Scoreboard::create().unwrap();
        for round in 1..=3 {
            let slot = assign(&board, 0);
            slot.counters.count_request(b"GET", 200);
            assert_eq!(board.totals().requests_total(), round);
            slot.set_state(WorkerState::Draining);
            assert_eq!(board.totals().requests_total(), round);
            board.release(0);
            assert_eq!(board.totals().requests_total(), round);
        }
    }

    #[test]
    fn what_a_worker_counted_before_it_was_ready_never_shows() {
        let board = Scoreboard::create().unwrap();
        board.assign(0, 1, 1);
        let slot = &board.slots()[0];
        slot.counters.count_request(b"GET", 200);
        assert_eq!(board.totals().requests_total(), 0);
        board.release(0);
        assert_eq!(board.totals().requests_total(), 0);
    }

    #[test]
    fn scribble_on_the_board_ends_no_reader() {
        let board = Scoreboard::create().unwrap();
        assign(&board, 0).counters.count_request(b"GET", 200);
        board.board().high_water.store(u32::MAX, SeqCst);
        board.board().moving.store(1, SeqCst);
        assert_eq!(board.slots_in_use().len(), SLOTS_MAX);
        assert_eq!(board.totals().requests_total(), 1);
        let cut = nix::unistd::ftruncate(board.descriptor(), 0);
        assert_eq!(cut, Err(nix::errno::Errno::EPERM));
    }

    /// A reader beside an arbiter that releases slots all the time sees each count once.
    #[test]
    fn a_sum_that_is_read_while_workers_leave_neither_misses_nor_doubles_anything() {
        let board = Scoreboard::create().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                let mut reads = 0;
                while !is_over.load(SeqCst) {
                    let accepted = board.totals().count(Count::Accepted);
                    assert!(
                        accepted >= last,
                        "from {last} to {accepted} at read {reads}"
                    );
                    last = accepted;
                    reads += 1;
                }
                reads
            });
            let rounds = 3_000;
            for round in 0..rounds {
                let slot = round % 3;
                assign(&board, slot).counters.add(Count::Accepted, 1_000);
                assert_eq!(
                    board.totals().count(Count::Accepted),
                    u64::from(round + 1) * 1_000
                );
                board.release(slot);
            }
            is_over.store(true, SeqCst);
            assert!(reader.join().unwrap() > 0);
        });
    }
}
