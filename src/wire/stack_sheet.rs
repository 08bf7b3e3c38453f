//! The sheet on which a worker writes its Python stacks: a memory file of its own, from before its fork on. The arbiter
//! holds it too, so what a worker wrote is there after it has died.
//!
//! The first page holds counters that both sides map; text follows, written through the descriptor, because that is all
//! that Python's faulthandler asks for. The file's position is one for all who inherited the descriptor: it is where the text
//! ends, and whoever asks for stacks puts it back to the start of the text.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use nix::unistd::{Whence, lseek};

use crate::sys::SharedMemory;

/// Where the text begins, bytes: one page, the least that can be mapped.
const TEXT_AT: u64 = 4096;
/// As much text as is read, bytes. faulthandler's own bounds (100 threads of 100 frames) are near it.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The counters by their place in the first page.
type Counters = [AtomicU64; 6];
/// CLOCK_MONOTONIC nanoseconds until which somebody has the sheet for himself; 0: nobody has.
const LEASED_UNTIL: usize = 0;
/// 1 once the worker answers the signal.
const READY: usize = 1;
/// Dumps of all threads that are complete.
const THREADS_DONE: usize = 2;
/// Dumps of tasks and greenlets: wanted, and complete.
const TASKS_WANTED: usize = 3;
const TASKS_DONE: usize = 4;
/// 1 in a worker whose tasks or greenlets can be looked at.
const HAS_LOOP: usize = 5;

/// A sheet: counters that both sides map, and the text behind them.
pub struct StackSheet {
    counters: SharedMemory,
}

/// The sheet for oneself, until it is dropped or its time is over.
pub struct Lease<'a> {
    sheet: &'a StackSheet,
    until_ns: u64,
}

impl StackSheet {
    pub fn create() -> io::Result<Self> {
        let counters = SharedMemory::create("rgunicorn-stacks", TEXT_AT as usize)?;
        let sheet = Self { counters };
        sheet.clear()?;
        Ok(sheet)
    }

    /// The sheet behind a descriptor that [`StackSheet::descriptor`] gave.
    pub fn open(descriptor: OwnedFd) -> io::Result<Self> {
        let counters = SharedMemory::open(descriptor, TEXT_AT as usize)?;
        Ok(Self { counters })
    }

    /// Text is written to it.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.counters.descriptor()
    }

    fn counter(&self, which: usize) -> &AtomicU64 {
        &self.counters.as_ref_of_atomics::<Counters>()[which]
    }

    /// Takes the sheet for oneself for at most so long. `None`: somebody else has it.
    pub fn lease(&self, now_ns: u64, lasts_ns: u64) -> Option<Lease<'_>> {
        let word = self.counter(LEASED_UNTIL);
        let before = word.load(SeqCst);
        let until_ns = now_ns.saturating_add(lasts_ns).max(1);
        let is_free = before <= now_ns;
        let taken = is_free
            && word
                .compare_exchange(before, until_ns, SeqCst, SeqCst)
                .is_ok();
        taken.then_some(Lease {
            sheet: self,
            until_ns,
        })
    }

    /// Forgets the text; the next one begins where it did.
    pub fn clear(&self) -> io::Result<()> {
        lseek(self.descriptor(), TEXT_AT as libc::off_t, Whence::SeekSet)?;
        Ok(())
    }

    /// What was written, as much of it as [`TEXT_BYTES_MAX`] holds.
    pub fn text(&self) -> io::Result<String> {
        let end = lseek(self.descriptor(), 0, Whence::SeekCur)?;
        let length = u64::try_from(end).unwrap_or(0).saturating_sub(TEXT_AT);
        let file = File::from(self.descriptor().try_clone_to_owned()?);
        let mut bytes = vec![0; length.min(TEXT_BYTES_MAX as u64) as usize];
        file.read_exact_at(&mut bytes, TEXT_AT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Told by the worker.
    pub fn set_ready(&self) {
        self.counter(READY).store(1, SeqCst);
    }

    /// Whether the worker answers the signal; one that does not would die of it.
    pub fn is_ready(&self) -> bool {
        self.counter(READY).load(SeqCst) == 1
    }

    /// Told by a worker that serves in a loop.
    pub fn set_has_loop(&self) {
        self.counter(HAS_LOOP).store(1, SeqCst);
    }

    /// Whether a dump of tasks can be expected.
    pub fn has_loop(&self) -> bool {
        self.counter(HAS_LOOP).load(SeqCst) == 1
    }

    /// A dump of all threads is complete. Async-signal-safe.
    pub fn count_threads(&self) {
        self.counter(THREADS_DONE).fetch_add(1, SeqCst);
    }

    /// How many dumps of all threads there were.
    pub fn threads_done(&self) -> u64 {
        self.counter(THREADS_DONE).load(SeqCst)
    }

    /// Asks for tasks or greenlets, where the worker has such; returns the number to wait for in [`Self::tasks_done`].
    pub fn want_tasks(&self) -> u64 {
        self.counter(TASKS_WANTED).fetch_add(1, SeqCst) + 1
    }

    /// The number of a dump of tasks that is wanted and not there; asked by the worker's loop in every turn.
    pub fn tasks_due(&self) -> Option<u64> {
        let wanted = self.counter(TASKS_WANTED).load(SeqCst);
        (wanted != self.tasks_done()).then_some(wanted)
    }

    pub fn tasks_done(&self) -> u64 {
        self.counter(TASKS_DONE).load(SeqCst)
    }

    pub fn set_tasks_done(&self, number: u64) {
        self.counter(TASKS_DONE).store(number, SeqCst);
    }

    /// Adds to the text.
    pub fn append(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let written = nix::unistd::write(self.descriptor(), rest)?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

impl AsFd for StackSheet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor()
    }
}

impl std::fmt::Debug for StackSheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackSheet")
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Somebody may have taken over what lasted too long.
        let word = self.sheet.counter(LEASED_UNTIL);
        let _ = word.compare_exchange(self.until_ns, 0, SeqCst, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_writes_the_other_reads_until_it_is_cleared() {
        let sheet = StackSheet::create().unwrap();
        let other = StackSheet::open(sheet.descriptor().try_clone_to_owned().unwrap()).unwrap();
        sheet.append("File \"a.py\"\n").unwrap();
        sheet.append("é\n").unwrap();
        assert_eq!(other.text().unwrap(), "File \"a.py\"\né\n");
        other.clear().unwrap();
        sheet.append("again\n").unwrap();
        assert_eq!(other.text().unwrap(), "again\n");
        assert!(!other.is_ready());
        sheet.set_ready();
        assert!(other.is_ready());
    }

    #[test]
    fn a_sheet_is_one_persons_until_he_gives_it_back_or_takes_too_long() {
        let sheet = StackSheet::create().unwrap();
        let lease = sheet.lease(100, 50).unwrap();
        assert!(sheet.lease(120, 50).is_none());
        let second = sheet.lease(150, 50).unwrap();
        drop(lease);
        assert!(sheet.lease(160, 50).is_none(), "the second is still at it");
        drop(second);
        assert!(sheet.lease(160, 50).is_some());
    }

    #[test]
    fn tasks_are_due_until_the_dump_that_was_asked_for_is_there() {
        let sheet = StackSheet::create().unwrap();
        assert_eq!(sheet.tasks_due(), None);
        let number = sheet.want_tasks();
        assert_eq!(sheet.tasks_due(), Some(number));
        sheet.set_tasks_done(number);
        assert_eq!((sheet.tasks_due(), sheet.tasks_done()), (None, number));
    }
}
