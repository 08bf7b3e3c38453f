//! What a generation and its workers complain about before they serve: a memory file that they write and the arbiter
//! holds, so that the traceback of a reload that failed reaches whoever asked for it.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes that are kept: the first complaints say most.
const BYTES_MAX: usize = 64 * 1024;

/// The file. What is written to it goes behind what is there.
#[derive(Debug)]
pub struct LastWords(File);

impl LastWords {
    pub fn create() -> io::Result<Self> {
        let file = memfd_create("rgunicorn-last-words", MFdFlags::MFD_CLOEXEC)?;
        Ok(Self(file.into()))
    }

    /// Those behind a descriptor that [`LastWords::descriptor`] gave.
    pub fn open(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// One write, so that the words of several workers do not mix: all of them share the file's position. What is too much
    /// is dropped, and so is what memory is lacking for.
    pub fn add(&self, line: &str, text_below: &str) {
        let length = self.0.metadata().map_or(u64::MAX, |file| file.len());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let below = text_below.trim_end();
        let mut words = format!("{line}\n{below}").trim_end().to_owned();
        words.push('\n');
        let end = (0..=BYTES_MAX.saturating_sub(length))
            .rev()
            .find(|at| words.is_char_boundary(*at));
        let _lost = (&self.0).write_all(&words.as_bytes()[..end.unwrap_or(0)]);
    }

    /// All of it; `None` when nothing was said.
    pub fn text(&self) -> Option<String> {
        let mut bytes = vec![0; BYTES_MAX];
        let length = self.0.read_at(&mut bytes, 0).ok()?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_wrote_is_read_in_order_and_bounded() {
        let ours = LastWords::create().unwrap();
        assert_eq!(ours.text(), None);
        let theirs = LastWords::open(ours.descriptor().try_clone_to_owned().unwrap());
        theirs.add("worker=1 cannot load", "Traceback\n  é\n");
        ours.add("worker=2 too", "");
        assert_eq!(
            theirs.text().unwrap(),
            "worker=1 cannot load\nTraceback\n  é\nworker=2 too"
        );
        theirs.add("long", &"é".repeat(BYTES_MAX));
        let full = ours.text().unwrap().len();
        assert!((BYTES_MAX - 2..=BYTES_MAX).contains(&full), "{full}");
        theirs.add("more", "");
        assert!(ours.text().unwrap().len() <= BYTES_MAX);
    }
}
