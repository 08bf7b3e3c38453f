//! The access log of a worker: lines are collected in memory and written in batches, outside the interpreter lock.
//!
//! It never makes a worker wait: a thread that pushes a line is not held up by one that writes to a slow disk, and
//! while a pipe's reader is behind, lines stay here up to [`WAITING_BYTES_MAX`]. Beyond that they are dropped and
//! counted, and once the reader has caught up the error log tells how many.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use super::{
    access_format::{AccessFormat, AccessRecord},
    sink::{Outcome, Sink},
};

/// Lines that wait to be written, in bytes. At the bound new lines are dropped: the old ones tell how it began.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// A batch worth a write, in bytes, where somebody reads along: what a pipe takes in one piece.
const BATCH_BYTES: usize = 4096;
/// The same for a regular file, where a write costs more than the bytes in it.
const FILE_BATCH_BYTES: usize = 16 * BATCH_BYTES;
/// How long a line may wait for company.
const BATCH_AGE_MAX: Duration = Duration::from_millis(20);
/// After a failed write (a full disk) the next try.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a worker that leaves waits for a slow reader.
const FINISH_PATIENCE: Duration = Duration::from_millis(500);
/// Room that is kept for the next lines; what a slow reader made grow is given back.
const ROOM_KEPT_BYTES: usize = 2 * FILE_BATCH_BYTES;

pub struct AccessLog {
    is_on: AtomicBool,
    /// How often what lines say has changed.
    edition: AtomicU64,
    /// `None`: the access log is off.
    output: Mutex<Option<Output>>,
    pending: Mutex<Pending>,
}

/// Lines to come, locked for as long as it takes to format one.
struct Pending {
    format: AccessFormat,
    lines: Vec<u8>,
    /// So many bytes are worth a write.
    batch_bytes: usize,
    /// Bytes that the output has taken over and not written yet.
    left_over: usize,
    /// When the next flush is due; `None` while there is nothing to write.
    due: Option<Instant>,
    lines_dropped: u64,
}

/// The descriptor, locked for as long as a write takes. Taken before `pending` where both are needed.
struct Output {
    sink: Sink,
    /// Lines on their way; the first `written` bytes are out already.
    batch: Vec<u8>,
    written: usize,
    /// The last write failed, and the error log knows.
    is_failing: bool,
}

impl AccessLog {
    pub fn new(sink: Option<Sink>, format: AccessFormat) -> Self {
        Self {
            is_on: AtomicBool::new(sink.is_some()),
            edition: AtomicU64::new(0),
            pending: Mutex::new(Pending {
                format,
                lines: Vec::new(),
                batch_bytes: sink.as_ref().map_or(BATCH_BYTES, batch_bytes),
                left_over: 0,
                due: None,
                lines_dropped: 0,
            }),
            output: Mutex::new(sink.map(Output::new)),
        }
    }

    /// The variables of the WSGI environ that lines show; none when no lines are wanted.
    pub fn environ(&self) -> Vec<String> {
        if self.is_on() {
            lock(&self.pending).format.environ().to_vec()
        } else {
            Vec::new()
        }
    }

    /// Whether lines show the ids of requests.
    pub fn shows_request_ids(&self) -> bool {
        self.is_on() && lock(&self.pending).format.shows_request_ids()
    }

    /// Whether records are wanted at all.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Another number when [`AccessLog::environ`] may tell something else.
    pub fn edition(&self) -> u64 {
        self.edition.load(Acquire)
    }

    /// Lines to come have this form; those that wait keep theirs.
    pub fn set_format(&self, format: AccessFormat) {
        {
            let pending = &mut *lock(&self.pending);
            pending.format = format.in_place_of(&pending.format);
        }
        self.edition.fetch_add(1, Release);
    }

    /// From now on lines go there, or nowhere. Those from before go where they belong, as far as their reader is willing,
    /// and the rest along with the new ones.
    pub fn redirect(&self, sink: Option<Sink>, now: Instant) {
        {
            let output = &mut *lock(&self.output);
            if let Some(output) = output {
                self.write(output, Duration::ZERO, now);
            }
            self.is_on.store(sink.is_some(), Relaxed);
            if let Some(sink) = &sink {
                lock(&self.pending).batch_bytes = batch_bytes(sink);
            }
            match (output, sink) {
                (Some(output), Some(sink)) => {
                    output.sink = sink;
                    output.is_failing = false;
                }
                (output, Some(sink)) => *output = Some(Output::new(sink)),
                (output, None) => {
                    self.give_up_on(output);
                    *output = None;
                }
            }
        }
        self.edition.fetch_add(1, Release);
    }

    /// Takes a line. Makes no system call and, after the first lines, no allocation; asks for the time if nothing waits yet.
    pub fn push(&self, record: &AccessRecord<'_>, now: impl FnOnce() -> Instant) {
        if !self.is_on() {
            return;
        }
        let pending = &mut *lock(&self.pending);
        if !self.is_on() {
            return; // since a moment ago, and nobody would write it
        }
        let before = pending.lines.len();
        pending.format.write(record, &mut pending.lines);
        if pending.left_over + pending.lines.len() > WAITING_BYTES_MAX {
            pending.lines.truncate(before);
            pending.lines_dropped += 1;
        } else if pending.due.is_none() {
            pending.due = Some(now() + BATCH_AGE_MAX);
        }
    }

    /// When to call [`flush`](Self::flush) at the latest; `None` while there is nothing to write.
    pub fn due(&self) -> Option<Instant> {
        lock(&self.pending).due
    }

    /// A full batch, or lines that waited long enough. While a reader is behind, only time counts.
    pub fn should_flush(&self, now: Instant) -> bool {
        let pending = lock(&self.pending);
        let is_batch = pending.lines.len() >= pending.batch_bytes && pending.left_over == 0;
        is_batch || pending.due.is_some_and(|due| due <= now)
    }

    /// Writes as much as the descriptor takes now, unless another thread is at it. Does not wait for a reader; not to
    /// be called with the interpreter lock held, as a disk may be slow.
    pub fn flush(&self, now: Instant) {
        let mut output = match self.output.try_lock() {
            Ok(output) => output,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(output) = &mut *output {
            self.write(output, Duration::ZERO, now);
        }
    }

    /// The last flush of a worker that leaves: what cannot be written now is lost, and told.
    pub fn finish(&self, now: Instant) {
        let output = &mut *lock(&self.output);
        if let Some(output) = output {
            self.write(output, FINISH_PATIENCE, now);
        }
        self.give_up_on(output);
    }

    /// What was not written is lost, and told.
    fn give_up_on(&self, output: &mut Option<Output>) {
        {
            let pending = &mut *lock(&self.pending);
            let on_its_way = output.as_ref().map_or(&[][..], Output::unwritten);
            for lost in [on_its_way, &pending.lines] {
                pending.lines_dropped += memchr::memchr_iter(b'\n', lost).count() as u64;
            }
            pending.lines.clear();
            (pending.left_over, pending.due) = (0, None);
        }
        if let Some(output) = output {
            output.batch.clear();
            output.written = 0;
        }
        self.confess();
    }

    /// Opens the file again after it was moved away (SIGUSR1). Lines from before go to the old file; when opening
    /// fails it stays in use, and the error log says so.
    pub fn reopen(&self, now: Instant) {
        let Some(output) = &mut *lock(&self.output) else {
            return;
        };
        self.write(output, Duration::ZERO, now);
        if let Err(error) = output.sink.reopen() {
            let path = output.sink.path().unwrap_or("".as_ref()).display();
            crate::error!(
                "cannot reopen the access log `{path}`: {error}; the old file stays in use"
            );
        }
    }

    /// Writes what is left over and then what is pending; `patience` is for each of the two.
    fn write(&self, output: &mut Output, patience: Duration, now: Instant) {
        let mut next_try = output.write_batch(patience, now);
        if next_try.is_none() {
            {
                let pending = &mut *lock(&self.pending);
                mem::swap(&mut output.batch, &mut pending.lines);
                pending.left_over = output.batch.len();
                pending.due = None;
            }
            next_try = output.write_batch(patience, now);
        }
        let left_over = output.unwritten().len();
        {
            let pending = &mut *lock(&self.pending);
            pending.left_over = left_over;
            pending.due = next_try.or(pending.due);
        }
        if left_over == 0 {
            self.confess();
        }
    }

    fn confess(&self) {
        let lines = mem::take(&mut lock(&self.pending).lines_dropped);
        if lines > 0 {
            crate::warning!(
                "access_log_lines={lines} reason=\"they could not be written in time\" dropped"
            );
        }
    }
}

impl Output {
    fn new(sink: Sink) -> Self {
        Self {
            sink,
            batch: Vec::new(),
            written: 0,
            is_failing: false,
        }
    }

    fn unwritten(&self) -> &[u8] {
        &self.batch[self.written..]
    }

    /// Writes the batch. When something is left over, says when to try again.
    fn write_batch(&mut self, patience: Duration, now: Instant) -> Option<Instant> {
        let result = self.sink.write(self.unwritten(), patience);
        self.written += result.written;
        match result.outcome {
            Outcome::Complete => {
                self.batch.clear();
                self.batch.shrink_to(ROOM_KEPT_BYTES);
                self.written = 0;
                self.is_failing = false;
                None
            }
            Outcome::WouldBlock => Some(now + BATCH_AGE_MAX),
            Outcome::Failed(error) => {
                if !self.is_failing {
                    crate::error!(
                        "cannot write the access log: {error}; trying again every second"
                    );
                }
                self.is_failing = true;
                if result.written > 0 {
                    self.begin_cut_line_anew();
                }
                Some(now + RETRY_AFTER_FAILURE)
            }
        }
    }

    /// A disk that became full has taken a part of a line: the rest of it would be no line either, and what another worker
    /// writes meanwhile may follow.
    fn begin_cut_line_anew(&mut self) {
        let taken = &self.batch[..self.written];
        match memchr::memrchr(b'\n', taken) {
            Some(end) if end + 1 == taken.len() => {}
            Some(end) => self.written = end,
            None => {
                self.batch.insert(0, b'\n');
                self.written = 0;
            }
        }
    }
}

fn batch_bytes(sink: &Sink) -> usize {
    if sink.never_waits() {
        FILE_BATCH_BYTES
    } else {
        BATCH_BYTES
    }
}

/// A panic between the two locks leaves whole lines behind, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
