//! The access log of a worker: lines are collected in memory and written in batches, outside the interpreter lock.
//!
//! It never makes a worker wait: while a pipe's reader is behind, lines stay here up to [`PENDING_BYTES_MAX`]; beyond
//! that they are dropped and counted, and once the reader has caught up the error log tells how many.

use std::time::{Duration, Instant};

use super::{
    access_format::{AccessFormat, AccessRecord},
    sink::{Outcome, Sink},
};

/// Lines that wait for a slow reader, in bytes. At the bound new lines are dropped: the old ones tell how it began.
const PENDING_BYTES_MAX: usize = 1 << 20;
/// A batch worth a write, in bytes: what a pipe takes in one piece.
const BATCH_BYTES: usize = 4096;
/// How long a line may wait for company.
const BATCH_AGE_MAX: Duration = Duration::from_millis(20);
/// After a failed write (a full disk) the next try.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a worker that leaves waits for a slow reader.
const FINISH_PATIENCE: Duration = Duration::from_millis(500);

pub struct AccessLog {
    /// `None`: the access log is off.
    sink: Option<Sink>,
    format: AccessFormat,
    /// Lines; the first `written` bytes are out already.
    pending: Vec<u8>,
    written: usize,
    /// When the next flush is due; `None` while there is nothing to write.
    due: Option<Instant>,
    /// The last write did not take everything: a full batch is no reason to try again before `due`.
    is_held_up: bool,
    /// The last write failed, and the error log knows.
    is_failing: bool,
    lines_dropped: u64,
}

impl AccessLog {
    pub fn new(sink: Option<Sink>, format: AccessFormat) -> Self {
        Self {
            sink,
            format,
            pending: Vec::new(),
            written: 0,
            due: None,
            is_held_up: false,
            is_failing: false,
            lines_dropped: 0,
        }
    }

    /// Whether records are wanted at all.
    pub fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    pub fn format(&self) -> &AccessFormat {
        &self.format
    }

    /// Takes a line. Makes no system call and, after the first lines, no allocation.
    pub fn push(&mut self, record: &AccessRecord<'_>, now: Instant) {
        if self.sink.is_none() {
            return;
        }
        let before = self.pending.len();
        self.format.write(record, &mut self.pending);
        if self.pending.len() - self.written > PENDING_BYTES_MAX {
            self.pending.truncate(before);
            self.lines_dropped += 1;
        } else if self.due.is_none() {
            self.due = Some(now + BATCH_AGE_MAX);
        }
    }

    /// When to call [`flush`](Self::flush) at the latest; `None` while there is nothing to write.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn should_flush(&self, now: Instant) -> bool {
        let is_batch = self.pending.len() - self.written >= BATCH_BYTES && !self.is_held_up;
        is_batch || self.due.is_some_and(|due| due <= now)
    }

    /// Writes as much as the descriptor takes now. Does not wait for a reader; not to be called with the interpreter
    /// lock held, as a disk may be slow.
    pub fn flush(&mut self, now: Instant) {
        self.flush_within(Duration::ZERO, now);
    }

    /// The last flush of a worker that leaves.
    pub fn finish(&mut self, now: Instant) {
        self.flush_within(FINISH_PATIENCE, now);
        self.confess();
    }

    /// Opens the file again after it was moved away (SIGUSR1). Lines from before go to the old file; when opening
    /// fails it stays in use, and the error log says so.
    pub fn reopen(&mut self, now: Instant) {
        self.flush(now);
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.reopen()
        {
            let path = sink.path().unwrap_or("".as_ref()).display();
            crate::error!(
                "cannot reopen the access log `{path}`: {error}; the old file stays in use"
            );
        }
    }

    fn flush_within(&mut self, patience: Duration, now: Instant) {
        let Some(sink) = &self.sink else { return };
        let lines = &self.pending[self.written..];
        if lines.is_empty() {
            return;
        }
        let result = sink.write(lines, patience);
        self.written += result.written;
        match result.outcome {
            Outcome::Complete => {
                self.pending.clear();
                // What a slow reader made grow is given back.
                self.pending.shrink_to(BATCH_BYTES * 16);
                self.written = 0;
                (self.due, self.is_held_up, self.is_failing) = (None, false, false);
                self.confess();
            }
            Outcome::WouldBlock => self.hold_up(now + BATCH_AGE_MAX),
            Outcome::Failed(error) => {
                if !self.is_failing {
                    crate::error!(
                        "cannot write the access log: {error}; trying again every second"
                    );
                }
                self.is_failing = true;
                self.hold_up(now + RETRY_AFTER_FAILURE);
            }
        }
    }

    fn hold_up(&mut self, until: Instant) {
        self.due = Some(until);
        self.is_held_up = true;
        // Moving the rest to the front pays once half of the buffer is out.
        if self.written > self.pending.len() / 2 {
            self.pending.drain(..self.written);
            self.written = 0;
        }
    }

    fn confess(&mut self) {
        let lines = std::mem::take(&mut self.lines_dropped);
        if lines > 0 {
            crate::warning!(
                "access_log_lines={lines} reason=\"they could not be written in time\" dropped"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{PipeReader, Read},
        path::PathBuf,
    };

    use super::*;
    use crate::config::{LogFormat, LogTarget};

    fn push(log: &mut AccessLog, path: &[u8], now: Instant) {
        let nothing = |_: &str| None;
        let record = AccessRecord {
            remote_address: "",
            method: b"GET",
            target: path,
            path,
            query: b"",
            protocol: "HTTP/1.1",
            status: 200,
            bytes: 0,
            duration: Duration::ZERO,
            finished_us: 0,
            request_header: &nothing,
            response_header: &nothing,
            environ: &nothing,
        };
        log.push(&record, now);
    }

    fn paths() -> AccessFormat {
        AccessFormat::of(&LogFormat::Atoms("%(U)s".to_owned())).unwrap()
    }

    fn into_a_pipe() -> (AccessLog, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let sink = Sink::from_descriptor(writer.into(), &LogTarget::Stdout).unwrap();
        (AccessLog::new(Some(sink), paths()), reader)
    }

    fn into_a_file() -> (AccessLog, PathBuf, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let sink = Sink::open(&LogTarget::File(path.clone()), None).unwrap();
        (AccessLog::new(sink, paths()), path, directory)
    }

    #[test]
    fn lines_wait_for_company_but_not_for_long() {
        let (mut log, path, _directory) = into_a_file();
        let now = Instant::now();
        assert!(!log.should_flush(now) && log.due().is_none());
        push(&mut log, b"/a", now);
        push(&mut log, b"/b", now + BATCH_AGE_MAX / 2);
        assert!(!log.should_flush(now + BATCH_AGE_MAX / 2));
        assert!(log.should_flush(now + BATCH_AGE_MAX));
        log.flush(now + BATCH_AGE_MAX);
        assert!(log.due().is_none());
        assert_eq!(fs::read_to_string(path).unwrap(), "/a\n/b\n");
    }

    #[test]
    fn a_full_batch_is_written_at_once() {
        let (mut log, path, _directory) = into_a_file();
        let now = Instant::now();
        push(&mut log, &[b'x'; BATCH_BYTES - 2], now);
        assert!(!log.should_flush(now));
        push(&mut log, b"y", now);
        assert!(log.should_flush(now));
        log.flush(now);
        assert_eq!(fs::read(path).unwrap().len(), BATCH_BYTES - 1 + 2);
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nothing_and_loses_only_what_is_beyond_the_bound() {
        let (mut log, mut reader) = into_a_pipe();
        let mut now = Instant::now();
        let line = [b'x'; 1023];
        let mut pushed = 0;
        while log.lines_dropped == 0 {
            push(&mut log, &line, now);
            log.flush(now);
            pushed += 1;
            now += BATCH_AGE_MAX;
        }
        assert!(log.pending.len() - log.written <= PENDING_BYTES_MAX);
        assert!(
            !log.should_flush(now - BATCH_AGE_MAX),
            "a held-up log is tried on time, not in a loop"
        );

        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            text
        });
        while log.due().is_some() {
            std::thread::yield_now();
            log.flush(now);
        }
        assert_eq!(log.lines_dropped, 0, "told once drained");
        assert!(log.pending.capacity() <= BATCH_BYTES * 16);
        drop(log);
        let text = reading.join().unwrap();
        assert_eq!(text.len(), (pushed - 1) * 1024);
        assert!(text.chunks(1024).all(|written| written[..1023] == line));
    }

    #[test]
    fn workers_that_share_a_pipe_do_not_mix_their_lines() {
        let (reader, writer) = std::io::pipe().unwrap();
        let writers: Vec<_> = (b'a'..=b'd')
            .map(|letter| {
                let writer = writer.try_clone().unwrap().into();
                std::thread::spawn(move || {
                    let sink = Sink::from_descriptor(writer, &LogTarget::Stdout).unwrap();
                    let mut log = AccessLog::new(Some(sink), paths());
                    for count in 0..2000 {
                        push(&mut log, &vec![letter; 1 + count % 200], Instant::now());
                        if count % 50 == 0 {
                            log.flush(Instant::now());
                        }
                    }
                    while log.due().is_some() {
                        log.finish(Instant::now());
                    }
                })
            })
            .collect();
        drop(writer);
        let text = std::io::read_to_string(reader).unwrap();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        assert_eq!(text.lines().count(), 4 * 2000);
        assert!(
            text.lines()
                .all(|line| line.chars().all(|c| line.starts_with(c)))
        );
    }

    #[test]
    fn after_a_rotation_lines_go_to_the_new_file() {
        let (mut log, path, directory) = into_a_file();
        let now = Instant::now();
        push(&mut log, b"/before", now);
        let moved = directory.path().join("access.log.1");
        fs::rename(&path, &moved).unwrap();
        log.reopen(now);
        push(&mut log, b"/after", now);
        log.flush(now);
        assert_eq!(fs::read_to_string(moved).unwrap(), "/before\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "/after\n");
    }

    #[test]
    fn a_file_that_cannot_be_reopened_stays_in_use() {
        let (mut log, path, directory) = into_a_file();
        let moved = directory.path().join("access.log.1");
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        let now = Instant::now();
        log.reopen(now);
        push(&mut log, b"/still", now);
        log.flush(now);
        assert_eq!(fs::read_to_string(moved).unwrap(), "/still\n");
    }

    #[test]
    fn a_write_that_fails_is_tried_again_and_not_in_a_loop() {
        let full = LogTarget::File("/dev/full".into());
        let mut log = AccessLog::new(Sink::open(&full, None).unwrap(), paths());
        let now = Instant::now();
        push(&mut log, b"/a", now);
        log.flush(now);
        assert!(log.is_failing && !log.should_flush(now + BATCH_AGE_MAX));
        assert!(log.should_flush(now + RETRY_AFTER_FAILURE));
    }

    #[test]
    fn an_access_log_that_is_off_keeps_nothing() {
        let mut log = AccessLog::new(None, paths());
        push(&mut log, b"/a", Instant::now());
        assert!(!log.is_on() && log.pending.is_empty() && log.due().is_none());
    }
}
