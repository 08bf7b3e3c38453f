//! One output stream of the server, line by line, with waiting.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Cheap to clone; all clones see the same lines.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    /// Nobody has it open for writing any more, and all lines are here. Changed under the lock of the lines.
    is_over: AtomicBool,
    changed: Condvar,
}

impl Log {
    /// Reads `stream` to its end on a thread of its own, and keeps a copy in a file for the reader of a failure.
    pub fn follow(stream: impl Read + Send + 'static, mut copy: File) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let _ = copy.write_all(&line);
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.lines().push(text);
                writer.shared.changed.notify_all();
                line.clear();
            }
            let lines = writer.lines();
            writer.shared.is_over.store(true, Relaxed);
            writer.shared.changed.notify_all();
            drop(lines);
        });
        log
    }

    pub fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.lines.lock().unwrap()
    }

    pub fn count(&self) -> usize {
        self.lines().len()
    }

    /// All lines from number `from` on, once at least `count` of them satisfy `wanted`; else `None` at the deadline.
    pub fn wait(
        &self,
        from: usize,
        count: usize,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let start = Instant::now();
        let mut lines = self.lines();
        loop {
            let found: Vec<String> = lines[from.min(lines.len())..]
                .iter()
                .filter(|line| wanted(line))
                .cloned()
                .collect();
            if found.len() >= count {
                return Some(found);
            }
            let left = limit.checked_sub(start.elapsed())?;
            lines = self.shared.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// True once all who could write to it are gone and every line was read; false when that is not so at the deadline.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let is_open = |_: &mut Vec<String>| !self.shared.is_over.load(Relaxed);
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.lines(), limit, is_open);
        !waited.unwrap().1.timed_out()
    }
}
