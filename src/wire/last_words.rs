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

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// Bytes that are kept: the first complaints say most.
const BYTES_MAX: usize = 64 * 1024;

/// The file. What is written to it goes behind what is there.
#[derive(Debug)]
pub struct LastWords(File);

impl LastWords {
    pub fn create() -> io::Result<Self> {
        let file = memfd_create("rgunicorn-last-words", MFdFlags::MFD_CLOEXEC)?;
        // Whoever writes goes on at the end, wherever that is by then.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(Self(file.into()))
    }

    /// Those behind a descriptor that [`LastWords::descriptor`] gave.
    pub fn open(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// One write, so that the words of several workers do not mix. What is too much is dropped, and so is what memory is
    /// lacking for.
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

    /// What a process that crashed wrote: the last one, or nothing.
    pub fn crash(&self) -> String {
        let length = self.0.metadata().map_or(0, |file| file.len());
        let mut bytes = vec![0; BYTES_MAX];
        let start = length.saturating_sub(BYTES_MAX as u64);
        let length = self.0.read_at(&mut bytes, start).unwrap_or(0);
        crash_in(&String::from_utf8_lossy(&bytes[..length])).to_owned()
    }

    /// From here on there is room again.
    pub fn forget(&self) {
        // It fails for files that are sealed, and this one is not.
        let _ = self.0.set_len(0);
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

/// The last crash in a text, which may also hold other things: as Python's faulthandler begins it.
pub fn crash_in(text: &str) -> &str {
    text.rfind("Fatal Python error")
        .map_or("", |at| text[at..].trim_end())
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
        ours.forget();
        assert_eq!(ours.text(), None);
        theirs.add("later", "");
        assert_eq!(ours.text().unwrap(), "later");
    }

    #[test]
    fn a_crash_is_found_behind_whatever_was_said() {
        let words = LastWords::create().unwrap();
        assert_eq!(words.crash(), "");
        (&words.0).write_all(&[b'x'; 3 * BYTES_MAX]).unwrap();
        let crash = b"Fatal Python error: Aborted\n\n  File \"a.py\", line 1\n";
        (&words.0).write_all(crash).unwrap();
        let told = words.crash();
        assert!(told.starts_with("Fatal Python error: Aborted\n"), "{told}");
        assert!(told.ends_with("line 1"), "{told}");
    }
}
