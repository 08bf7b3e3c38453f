//! What the app produced and the socket did not take yet.
//!
//! Bytes of the app are kept by reference, files by descriptor; what a streaming app produces faster than its client
//! reads is kept in memory up to a bound and in an unlinked temporary file beyond it, so that a slow reader holds no
//! thread.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::{fd::BorrowedFd, unix::fs::FileExt},
};

use crate::sys::net;

/// Bytes of the app that stay alive without a copy until they are sent.
pub type Payload = Box<dyn AsRef<[u8]> + Send>;

/// Bytes of one connection that wait in memory before they go to a file.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes handed to the kernel in one call from a file.
const FILE_STEP: usize = 256 * 1024;
/// Bytes sent to one client before others have their turn: one that reads as fast as we send would keep them out.
pub(super) const TURN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How far a send came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    All,
    /// The socket takes no more now.
    UntilFull,
    /// It takes nothing now.
    Nothing,
    /// It would take more, and no event will tell of it.
    AsMuchAsAllowed,
}

enum Chunk {
    Bytes { bytes: Vec<u8>, sent: usize },
    Shared { payload: Payload, sent: usize },
    File { file: File, at: u64, end: u64 },
}

/// An ordered queue of what is still to be sent.
#[derive(Default)]
pub struct Output {
    chunks: VecDeque<Chunk>,
    /// Bytes in `Chunk::Bytes`.
    in_memory: usize,
    /// Bytes that went out and were not taken note of yet.
    sent: u64,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether sending it reads a file, which must not happen while the interpreter is held.
    pub fn reads_files(&self) -> bool {
        self.chunks
            .iter()
            .any(|chunk| matches!(chunk, Chunk::File { .. }))
    }

    /// Bytes that went out since this was last asked.
    pub fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// Notes bytes that went out past the queue.
    pub fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Bytes that are still to be sent.
    pub fn waiting(&self) -> u64 {
        self.chunks.iter().map(Chunk::waiting).sum()
    }

    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.in_memory += bytes.len();
        if let Some(Chunk::Bytes { bytes: last, sent }) = self.chunks.back_mut() {
            // What is out need not be kept; moving the rest pays when it is the smaller part.
            if *sent > last.len() / 2 {
                last.drain(..*sent);
                self.in_memory -= *sent;
                *sent = 0;
            }
            last.extend_from_slice(bytes);
        } else {
            self.chunks.push_back(Chunk::Bytes {
                bytes: bytes.to_vec(),
                sent: 0,
            });
        }
    }

    /// Adds bytes of a streaming app; once too much waits in memory, they go to a file.
    pub fn push_streamed(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(Chunk::File { file, end, .. }) = self.chunks.back_mut() {
            file.write_all_at(bytes, *end)?;
            *end += bytes.len() as u64;
        } else if self.in_memory + bytes.len() <= MEMORY_BYTES_MAX {
            self.push_bytes(bytes);
        } else {
            let file = super::spool::file()?;
            file.write_all_at(bytes, 0)?;
            self.chunks.push_back(Chunk::File {
                file,
                at: 0,
                end: bytes.len() as u64,
            });
        }
        Ok(())
    }

    /// Adds the rest of `payload`, of which `sent` bytes went out already.
    pub fn push_payload(&mut self, payload: Payload, sent: usize) {
        self.chunks.push_back(Chunk::Shared { payload, sent });
    }

    /// Adds the bytes from `at` to `end` of a file.
    pub fn push_file(&mut self, file: File, at: u64, end: u64) {
        self.chunks.push_back(Chunk::File { file, at, end });
    }

    /// Adds what another queue holds.
    pub fn append(&mut self, mut other: Self) {
        self.in_memory += other.in_memory;
        self.sent += other.sent;
        self.chunks.append(&mut other.chunks);
    }

    /// Sends until all is out, the socket takes no more, or `most` bytes went.
    pub(super) fn send(&mut self, most: u64, socket: BorrowedFd<'_>) -> io::Result<Sent> {
        let before = self.sent;
        let mut has_progressed = false;
        while let Some(chunk) = self.chunks.front_mut() {
            if self.sent - before >= most {
                return Ok(Sent::AsMuchAsAllowed);
            }
            match chunk.send(socket) {
                Ok(count) => {
                    has_progressed = true;
                    self.sent += count as u64;
                    if chunk.advance(count)?
                        && let Some(Chunk::Bytes { bytes, .. }) = self.chunks.pop_front()
                    {
                        self.in_memory -= bytes.len();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(match has_progressed {
                        true => Sent::UntilFull,
                        false => Sent::Nothing,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::All)
    }
}

impl Chunk {
    /// Sends what the socket takes now, or a step of it.
    fn send(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        match self {
            Self::Bytes { bytes, sent } => net::send(socket, &bytes[*sent..], net::Next::Unknown),
            Self::Shared { payload, sent } => {
                net::send(socket, &(**payload).as_ref()[*sent..], net::Next::Unknown)
            }
            Self::File { file, at, end } => {
                let count = usize::try_from(*end - *at)
                    .unwrap_or(usize::MAX)
                    .min(FILE_STEP);
                net::send_file(socket, file, *at, count)
            }
        }
    }

    fn waiting(&self) -> u64 {
        match self {
            Self::Bytes { bytes, sent } => (bytes.len() - sent) as u64,
            Self::Shared { payload, sent } => ((**payload).as_ref().len() - sent) as u64,
            Self::File { at, end, .. } => end - at,
        }
    }

    /// Notes that bytes went out; tells whether these were the last ones.
    fn advance(&mut self, count: usize) -> io::Result<bool> {
        match self {
            Self::Bytes { bytes, sent } => {
                *sent += count;
                Ok(*sent == bytes.len())
            }
            Self::Shared { payload, sent } => {
                *sent += count;
                Ok(*sent == (**payload).as_ref().len())
            }
            // The file became shorter than promised: the response cannot be completed.
            Self::File { .. } if count == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::File { at, end, .. } => {
                *at += count as u64;
                Ok(at >= end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::AsFd, os::unix::net::UnixStream, thread};

    use super::*;

    #[test]
    fn a_client_that_reads_as_fast_as_we_send_does_not_keep_others_out() {
        const FILE_BYTES: u64 = 4 * TURN_BYTES_MAX;
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILE_BYTES).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let reader = thread::spawn(move || theirs.read_to_end(&mut Vec::new()).unwrap());

        let mut output = Output::default();
        output.push_bytes(b"head");
        output.push_file(file, 0, FILE_BYTES);
        while output.send(TURN_BYTES_MAX, ours.as_fd()).unwrap() != Sent::All {
            assert!(output.take_sent() < TURN_BYTES_MAX + FILE_STEP as u64);
        }
        assert!(output.is_empty());
        drop(ours);
        assert_eq!(reader.join().unwrap() as u64, FILE_BYTES + 4);
    }

    #[test]
    fn a_socket_that_takes_nothing_is_no_progress() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut output = Output::default();
        output.push_bytes(&[b'x'; 8 << 20]);
        let mut send = || output.send(u64::MAX, ours.as_fd()).unwrap();
        assert_eq!((send(), send()), (Sent::UntilFull, Sent::Nothing));
    }
}
