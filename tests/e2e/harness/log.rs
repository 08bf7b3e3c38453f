//! One output stream of the server, line by line, with waiting.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

/// Cheap to clone; all clones see the same lines.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
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
                writer.shared.1.notify_all();
                line.clear();
            }
        });
        log
    }

    pub fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.0.lock().unwrap()
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
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}
