//! What is in force in a generation and may change while its processes live: the arbiter posts it, generation and
//! workers look at a number in shared memory and take it when they see another one.
//!
//! The page holds text under a sequence lock: a reader gets all of one posting or nothing. Descriptors of the logs
//! cannot lie in memory; they wait in a socket, where everybody who looks gets copies and nobody takes them away.
//! Nobody waits for anybody: who finds a posting half done goes on by the one before, and is rung once it is complete.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::page::Page;
use crate::{
    config::LiveConfig,
    sys::{peek_with_descriptors, receive_with_descriptors, send_with_descriptors, seqpacket_pair},
};

/// Wakes generations and workers after something was posted. It is ignored where nobody handles it, so that it does no
/// harm to a process that has just begun, and apps have no use for it.
pub const LIVE_SIGNAL: Signal = Signal::SIGURG;

/// Bytes of one posting, as JSON. Pages that no posting reached take no memory.
pub const LIVE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Posting {
    config: LiveConfig,
    /// The number of the descriptors that belong to it.
    logs: u64,
}

/// Access log and error log, open.
#[derive(Debug)]
pub struct LogDescriptors {
    pub access: OwnedFd,
    pub error: OwnedFd,
}

/// What the arbiter holds, one for each generation. It alone posts.
#[derive(Debug)]
pub struct LivePage {
    page: Page,
    sender: OwnedFd,
    receiver: OwnedFd,
}

/// What a generation and each of its workers hold.
#[derive(Debug)]
pub struct LiveView {
    page: Page,
    receiver: OwnedFd,
    /// The sequence of the page when it was taken last.
    taken: AtomicU64,
    /// The number of the descriptors that were taken last.
    logs: AtomicU64,
}

/// One posting, whole.
#[derive(Debug)]
pub struct Taken {
    /// Counts the postings from 1.
    pub version: u64,
    pub config: LiveConfig,
    /// Where they changed. An error: this process may not open more files.
    pub logs: Option<io::Result<LogDescriptors>>,
}

/// Why a posting cannot be made or taken.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("the live keys take {bytes} bytes; there is room for {LIVE_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("a posting cannot be encoded or decoded")]
    Json(#[source] serde_json::Error),
    #[error(transparent)]
    Os(#[from] io::Error),
}

impl LivePage {
    /// A page with its first posting.
    pub fn create(config: &LiveConfig, logs: &LogDescriptors) -> Result<Self, LiveError> {
        let (sender, receiver) = seqpacket_pair()?;
        let page = Self {
            page: Page::create()?,
            sender,
            receiver,
        };
        page.post(config, Some(logs))?;
        Ok(page)
    }

    /// Replaces what was posted before; `logs`: the descriptors too. After an error all is as it was.
    pub fn post(
        &self,
        config: &LiveConfig,
        logs: Option<&LogDescriptors>,
    ) -> Result<(), LiveError> {
        let before = match self.page.read() {
            Some((0, _)) | None => 0,
            Some((_, text)) => parsed(&text)?.logs,
        };
        let posting = Posting {
            config: config.clone(),
            logs: before + u64::from(logs.is_some()),
        };
        let text = checked_text(&posting)?;
        if let Some(logs) = logs {
            let descriptors = [logs.access.as_fd(), logs.error.as_fd()];
            let number = posting.logs.to_ne_bytes();
            send_with_descriptors(self.sender.as_fd(), &number, &descriptors)?;
            if before > 0 {
                // The older ones stand before them. Even if this process may not open them, they are gone.
                let receiver = self.receiver.as_fd();
                let _ = receive_with_descriptors(receiver, &mut [0; 8], &mut Vec::new());
            }
        }
        self.page.write(&text);
        Ok(())
    }

    /// The logs that were posted last.
    pub fn logs(&self) -> io::Result<LogDescriptors> {
        look_at_logs(self.receiver.as_fd()).map(|(_, logs)| logs)
    }

    /// Of the last posting.
    pub fn version(&self) -> u64 {
        self.page.sequence() / 2
    }

    /// For [`LiveView::open`], in this order.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.page.descriptor(), self.receiver.as_fd()]
    }

    /// For [`LivePage::resume`], in this order.
    pub fn parts(&self) -> [BorrowedFd<'_>; 3] {
        let [page, receiver] = self.descriptors();
        [page, receiver, self.sender.as_fd()]
    }

    /// Goes on with what another program of the same process had.
    pub fn resume([page, receiver, sender]: [OwnedFd; 3]) -> io::Result<Self> {
        Ok(Self {
            page: Page::open(page)?,
            sender,
            receiver,
        })
    }

    /// Whether it can be posted.
    pub fn check(config: &LiveConfig) -> Result<(), LiveError> {
        let config = config.clone();
        checked_text(&Posting { config, logs: 0 }).map(drop)
    }
}

impl LiveView {
    /// Nothing is taken yet.
    pub fn open(page: OwnedFd, receiver: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            page: Page::open(page)?,
            receiver,
            taken: AtomicU64::new(0),
            logs: AtomicU64::new(0),
        })
    }

    /// Whether there is something to take; one look at shared memory.
    pub fn is_new(&self) -> bool {
        self.page.sequence() != self.taken.load(Relaxed)
    }

    /// Takes a posting that is complete and was not taken yet. One thread at a time.
    pub fn take(&self) -> Result<Option<Taken>, LiveError> {
        let Some((sequence, text)) = self.page.read() else {
            return Ok(None);
        };
        if sequence == self.taken.load(Relaxed) {
            return Ok(None);
        }
        let posting = parsed(&text).inspect_err(|_| {
            // To complain about it once is enough.
            self.taken.store(sequence, Relaxed);
        })?;
        let logs = if posting.logs == self.logs.load(Relaxed) {
            None
        } else {
            match look_at_logs(self.receiver.as_fd()) {
                Ok((number, logs)) if number == posting.logs => Some(Ok(logs)),
                // The next posting is under way.
                Ok(_) => return Ok(None),
                Err(error) => Some(Err(error)),
            }
        };
        self.logs.store(posting.logs, Relaxed);
        self.taken.store(sequence, Relaxed);
        Ok(Some(Taken {
            version: sequence / 2,
            config: posting.config,
            logs,
        }))
    }
}

/// What waits in the socket, and its number; it stays there.
fn look_at_logs(receiver: BorrowedFd<'_>) -> io::Result<(u64, LogDescriptors)> {
    let mut number = [0; 8];
    let mut descriptors = Vec::new();
    peek_with_descriptors(receiver, &mut number, &mut descriptors)?;
    let mut descriptors = descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(access), Some(error)) => {
            Ok((u64::from_ne_bytes(number), LogDescriptors { access, error }))
        }
        _ => Err(io::Error::other("the logs' descriptors are missing")),
    }
}

fn parsed(text: &[u8]) -> Result<Posting, LiveError> {
    serde_json::from_slice(text).map_err(LiveError::Json)
}

fn checked_text(posting: &Posting) -> Result<Vec<u8>, LiveError> {
    let text = serde_json::to_vec(posting).map_err(LiveError::Json)?;
    match text.len() {
        bytes if bytes > LIVE_BYTES_MAX => Err(LiveError::TooLong { bytes }),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        time::Duration,
    };

    use super::*;

    fn config() -> LiveConfig {
        LiveConfig::of_defaults()
    }

    fn keeping(milliseconds: u64) -> LiveConfig {
        let mut config = config();
        config.timeouts.keepalive = Duration::from_millis(milliseconds);
        config
    }

    fn logs() -> (LogDescriptors, File, File) {
        let (access_reader, access) = nix::unistd::pipe().unwrap();
        let (error_reader, error) = nix::unistd::pipe().unwrap();
        let logs = LogDescriptors { access, error };
        (logs, access_reader.into(), error_reader.into())
    }

    fn view(page: &LivePage) -> LiveView {
        let [memory, receiver] = page.descriptors();
        LiveView::open(
            memory.try_clone_to_owned().unwrap(),
            receiver.try_clone_to_owned().unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn a_posting_is_taken_once_by_each_and_logs_come_along_where_they_changed() {
        let page = LivePage::create(&keeping(1), &logs().0).unwrap();
        let (one, other) = (view(&page), view(&page));
        for view in [&one, &other] {
            assert!(view.is_new());
            let taken = view.take().unwrap().unwrap();
            assert_eq!((taken.version, taken.config), (1, keeping(1)));
            assert!(taken.logs.unwrap().is_ok());
            assert!(!view.is_new());
            assert!(view.take().unwrap().is_none());
        }
        page.post(&keeping(2), None).unwrap();
        assert!(one.is_new());
        let taken = one.take().unwrap().unwrap();
        assert_eq!((taken.version, taken.config), (2, keeping(2)));
        assert!(taken.logs.is_none());
        page.post(&keeping(3), Some(&logs().0)).unwrap();
        // One that slept through a posting.
        let taken = other.take().unwrap().unwrap();
        assert_eq!(taken.version, page.version());
        assert!(taken.logs.is_some());
    }

    #[test]
    fn the_logs_that_were_posted_last_are_those_that_are_got_and_the_old_ones_are_let_go() {
        let (old, mut old_access, _) = logs();
        let page = LivePage::create(&config(), &old).unwrap();
        drop(old);
        let (new, mut new_access, mut new_error) = logs();
        page.post(&config(), Some(&new)).unwrap();
        drop(new);
        let taken = view(&page).take().unwrap().unwrap();
        let got = taken.logs.unwrap().unwrap();
        File::from(got.access).write_all(b"access").unwrap();
        File::from(got.error).write_all(b"error").unwrap();
        drop(page);
        let mut text = String::new();
        old_access.read_to_string(&mut text).unwrap();
        new_access.read_to_string(&mut text).unwrap();
        new_error.read_to_string(&mut text).unwrap();
        assert_eq!(text, "accesserror", "and nobody holds an end any more");
    }

    #[test]
    fn the_next_program_goes_on_where_the_last_one_was() {
        let page = LivePage::create(&keeping(1), &logs().0).unwrap();
        let view = view(&page);
        view.take().unwrap();
        let parts = page.parts().map(|part| part.try_clone_to_owned().unwrap());
        drop(page);
        let page = LivePage::resume(parts).unwrap();
        assert_eq!(page.version(), 1);
        page.post(&keeping(2), Some(&logs().0)).unwrap();
        let taken = view.take().unwrap().unwrap();
        assert_eq!((taken.version, taken.config), (2, keeping(2)));
        assert!(taken.logs.is_some());
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let page = LivePage::create(&keeping(1), &logs().0).unwrap();
        let mut long = config();
        long.log.identifier = "x".repeat(LIVE_BYTES_MAX);
        assert!(matches!(
            LivePage::check(&long),
            Err(LiveError::TooLong { .. })
        ));
        assert!(page.post(&long, Some(&logs().0)).is_err());
        let taken = view(&page).take().unwrap().unwrap();
        assert_eq!((taken.version, taken.config), (1, keeping(1)));
    }
}
