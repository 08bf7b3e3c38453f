//! Text in shared memory under a sequence lock: the sequence is odd while the text is being written. One process writes;
//! who reads gets the whole text or nothing, and waits for nobody.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};

use super::live::LIVE_BYTES_MAX;
use crate::sys::SharedMemory;

/// Sequence, length, text.
const WORDS: usize = 2 + LIVE_BYTES_MAX / 8;
type Words = [AtomicU64; WORDS];

/// The memory, shared by descriptor.
#[derive(Debug)]
pub(super) struct Page {
    memory: SharedMemory,
}

impl Page {
    pub(super) fn create() -> io::Result<Self> {
        let memory = SharedMemory::create("rgunicorn-live", size_of::<Words>())?;
        Ok(Self { memory })
    }

    pub(super) fn open(descriptor: OwnedFd) -> io::Result<Self> {
        let memory = SharedMemory::open(descriptor, size_of::<Words>())?;
        Ok(Self { memory })
    }

    /// For [`Page::open`], in another process.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.descriptor()
    }

    fn words(&self) -> &Words {
        self.memory.as_ref_of_atomics()
    }

    /// Of the last text, once it is complete; odd before.
    pub(super) fn sequence(&self) -> u64 {
        self.words()[0].load(Acquire)
    }

    /// At most [`LIVE_BYTES_MAX`] bytes; by one process alone.
    pub(super) fn write(&self, text: &[u8]) {
        let [sequence, length, words @ ..] = self.words();
        let odd = sequence.load(Relaxed) | 1;
        sequence.store(odd, Relaxed);
        fence(Release);
        length.store(text.len() as u64, Relaxed);
        for (cell, bytes) in words.iter().zip(text.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            cell.store(u64::from_ne_bytes(word), Relaxed);
        }
        sequence.store(odd + 1, Release);
    }

    /// The text and its sequence; `None` while it is being written.
    pub(super) fn read(&self) -> Option<(u64, Vec<u8>)> {
        let [sequence, length, words @ ..] = self.words();
        let before = sequence.load(Acquire);
        if before % 2 == 1 {
            return None;
        }
        let length = length.load(Relaxed) as usize;
        let bytes = words
            .iter()
            .take(length.div_ceil(8))
            .flat_map(|cell| cell.load(Relaxed).to_ne_bytes());
        let text = bytes.take(length).collect();
        fence(Acquire);
        (sequence.load(Relaxed) == before).then_some((before, text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_reader_never_sees_parts_of_two_postings() {
        let page = Page::create().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (mut whole, mut last) = (0, 0);
                    while !over.load(Relaxed) || whole == 0 {
                        let Some((sequence, text)) = page.read() else {
                            continue;
                        };
                        whole += 1;
                        assert!(sequence >= last, "time goes on");
                        last = sequence;
                        let length = usize::from(text.first().copied().unwrap_or(0)) * 10;
                        assert_eq!(text.len(), length);
                        assert!(text.iter().all(|byte| usize::from(*byte) * 10 == length));
                    }
                });
            }
            for round in 0..50_000_u32 {
                let byte = (round % 200 + 1) as u8;
                page.write(&vec![byte; usize::from(byte) * 10]);
            }
            over.store(true, Relaxed);
        });
    }
}
