//! A request that is with the app, as a worker shows it in its slot of the scoreboard: written by the thread that runs it, read
//! by anybody.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// Bytes of method and target shown for a request in flight; a longer one is cut.
pub const PATH_SHOWN_MAX: usize = 112;

/// A request that is with the app.
#[repr(C, align(64))]
pub struct InFlight {
    /// Odd while the entry changes.
    sequence: AtomicU32,
    /// Bytes of `text` in use; 0 when there is no request.
    length: AtomicU32,
    /// CLOCK_MONOTONIC nanoseconds.
    started: AtomicU64,
    /// Whole words: this is written for every request.
    text: [AtomicU64; PATH_SHOWN_MAX / 8],
}

impl InFlight {
    /// Shows a request. Called by the thread that owns the entry, before the app is.
    pub fn begin(&self, now_ns: u64, method: &[u8], target: &[u8]) {
        let sequence = self.sequence.load(Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Relaxed);
        fence(Release);
        self.started.store(now_ns, Relaxed);
        let mut text = [0; PATH_SHOWN_MAX];
        let mut length = 0;
        for part in [method, b" ", target] {
            let shown = part.len().min(PATH_SHOWN_MAX - length);
            text[length..length + shown].copy_from_slice(&part[..shown]);
            length += shown;
        }
        let words = text[..length.next_multiple_of(8)].chunks_exact(8);
        for (cell, word) in self.text.iter().zip(words) {
            let word = word.try_into().expect("chunks of eight");
            cell.store(u64::from_ne_bytes(word), Relaxed);
        }
        self.length.store(length as u32, Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Release);
    }

    /// The app has returned.
    pub fn end(&self) {
        self.length.store(0, Release);
    }

    /// The request shown here: when it started (CLOCK_MONOTONIC nanoseconds) and `METHOD target`, cut to
    /// [`PATH_SHOWN_MAX`]. `None` when there is none or it changes just now.
    pub fn read(&self) -> Option<(u64, String)> {
        let before = self.sequence.load(Acquire);
        let length = self.length.load(Acquire) as usize;
        if before % 2 == 1 || length == 0 {
            return None;
        }
        let started = self.started.load(Relaxed);
        let words = self
            .text
            .iter()
            .flat_map(|cell| cell.load(Relaxed).to_ne_bytes());
        let text: Vec<u8> = words.take(length).collect();
        fence(Acquire);
        let unchanged = self.sequence.load(Relaxed) == before;
        unchanged.then(|| (started, String::from_utf8_lossy(&text).into_owned()))
    }

    /// Shows no request, and none was ever shown.
    pub(super) fn clear(&self) {
        self.sequence.store(0, Relaxed);
        self.length.store(0, Relaxed);
    }
}
