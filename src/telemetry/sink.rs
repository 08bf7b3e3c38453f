//! A descriptor that takes whole lines, and the rules by which it may be written without waiting for its reader. Or that
//! of a [`Daemon`], which takes messages.
//!
//! Files are opened with O_APPEND, so one write(2) lands in one piece whichever process makes it. Pipes promise that
//! up to PIPE_BUF bytes only, and only poll(2) tells that such a piece fits; so what goes to a pipe, a terminal or
//! a socket is cut at line ends into pieces of that size, each after a poll. A line that is longer waits for a pipe to have
//! room for all of it, so that no other process writes into its middle; where there is none in time it goes in pieces, too. The
//! descriptor is never made non-blocking: other processes share its open file description (a terminal, a supervisor's pipe).

mod descriptor;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::datagram::{self, Daemon, Message};
use crate::{
    config::{Facility, LogLevel, LogTarget},
    sys,
};
use descriptor::{is_journal, is_regular, open_file, stream};

/// What one write to a pipe may carry to be atomic, in bytes (PIPE_BUF of Linux, pipe(7)).
const PIPE_BUF: usize = 4096;

/// How often it is looked whether a pipe has room for a long line.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Where lines go.
#[derive(Debug)]
pub struct Sink {
    descriptor: OwnedFd,
    /// Set for a file that can be opened again.
    path: Option<PathBuf>,
    owner: Option<Owner>,
    /// A regular file: a write never waits for a reader.
    never_waits: bool,
    /// Each line is a message of its own.
    daemon: Option<Daemon>,
    /// The stream goes to the journal, which looks for a level at the beginning of each line (sd-daemon(3)).
    is_journal: bool,
}

/// User and group that workers run as, where the process that opens their logs runs as another.
pub type Owner = (u32, u32);

/// How a write ended. `written` bytes are gone for good in every case.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) written: usize,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Complete,
    /// The reader does not read; nothing more fits now.
    WouldBlock,
    Failed(io::Error),
}

impl Sink {
    /// Opens the target; `None` for [`LogTarget::Off`]. A file that is made belongs to `owner`, so that workers can open it
    /// again; one that is there stays whose it is. See [`sys::open_log_file`] for the links that are followed then.
    pub fn open(target: &LogTarget, owner: Option<Owner>) -> io::Result<Option<Self>> {
        let descriptor = match target {
            LogTarget::Off => return Ok(None),
            LogTarget::Stdout => stream(&io::stdout())?,
            LogTarget::Stderr => stream(&io::stderr())?,
            LogTarget::File(path) => open_file(path, owner)?.into(),
            LogTarget::Syslog(_) | LogTarget::Journald(_) => match datagram::open(target)? {
                Some(socket) => socket,
                None => return Ok(None),
            },
        };
        Ok(Some(Self::new(descriptor, target, owner)))
    }

    /// In place of a target that cannot be opened now: a daemon of this machine is looked for with each line, what is
    /// meant for a file goes to the standard error output.
    pub fn stand_in(target: &LogTarget, owner: Option<Owner>) -> io::Result<Self> {
        let descriptor = match datagram::unconnected(target)? {
            Some(socket) => socket,
            None => stream(&io::stderr())?,
        };
        Ok(Self::new(descriptor, target, owner))
    }

    /// Takes over a descriptor that was opened for this target, by another process or another program.
    pub fn from_descriptor(
        descriptor: OwnedFd,
        target: &LogTarget,
        owner: Option<Owner>,
    ) -> io::Result<Self> {
        fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Self::new(descriptor, target, owner))
    }

    fn new(descriptor: OwnedFd, target: &LogTarget, owner: Option<Owner>) -> Self {
        let path = match target {
            LogTarget::File(path) => Some(path.clone()),
            _ => None,
        };
        let never_waits = is_regular(descriptor.as_fd());
        let is_stream = matches!(target, LogTarget::Stdout | LogTarget::Stderr);
        Self {
            is_journal: is_stream && is_journal(descriptor.as_fd()),
            descriptor,
            path,
            owner,
            never_waits,
            daemon: Daemon::of(target, env!("CARGO_PKG_NAME"), Facility::User),
        }
    }

    /// What a daemon is to know us by.
    #[must_use]
    pub fn called(mut self, identifier: &str, facility: Facility) -> Self {
        if let Some(daemon) = &mut self.daemon {
            daemon.rename(identifier, facility);
        }
        self
    }

    pub(super) fn daemon(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    pub(super) fn is_journal(&self) -> bool {
        self.is_journal
    }

    /// Opens the file at the path again, after it was moved away. Keeps the number of the descriptor, and keeps
    /// the old file when it fails. `false`: this sink has no path, there was nothing to do.
    pub fn reopen(&mut self) -> io::Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let file = open_file(path, self.owner)?;
        nix::unistd::dup3(&file, &mut self.descriptor, OFlag::O_CLOEXEC)?;
        self.never_waits = is_regular(self.descriptor.as_fd());
        Ok(true)
    }

    /// From now on lines go where they go with `other`. Keeps the number of the descriptor.
    pub(super) fn become_as(&mut self, other: Self) -> io::Result<()> {
        nix::unistd::dup3(&other.descriptor, &mut self.descriptor, OFlag::O_CLOEXEC)?;
        self.never_waits = other.never_waits;
        self.path = other.path;
        self.owner = other.owner;
        self.daemon = other.daemon;
        self.is_journal = other.is_journal;
        Ok(())
    }

    /// Whether it is a regular file, which no reader holds up.
    pub(super) fn never_waits(&self) -> bool {
        self.never_waits
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Writes lines, and waits at most `patience` in all for a reader that is behind.
    pub(super) fn write(&self, lines: &[u8], patience: Duration) -> Written {
        let deadline = Instant::now() + patience;
        match &self.daemon {
            None => self.write_lines(lines, deadline),
            Some(daemon) => self.send_lines(daemon, lines, deadline),
        }
    }

    /// Sends a message to the daemon; there has to be one.
    pub(super) fn send(&self, message: &Message<'_>, patience: Duration) -> Outcome {
        match &self.daemon {
            Some(daemon) => self.send_one(daemon, message, Instant::now() + patience),
            None => Outcome::Failed(io::ErrorKind::Unsupported.into()),
        }
    }

    fn send_lines(&self, daemon: &Daemon, lines: &[u8], deadline: Instant) -> Written {
        let mut written = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let message = Message {
                level: LogLevel::Info,
                text: line.strip_suffix(b"\n").unwrap_or(line),
                fields: &[],
            };
            match self.send_one(daemon, &message, deadline) {
                Outcome::Complete => written += line.len(),
                outcome => return Written { written, outcome },
            }
        }
        Written {
            written,
            outcome: Outcome::Complete,
        }
    }

    fn send_one(&self, daemon: &Daemon, message: &Message<'_>, deadline: Instant) -> Outcome {
        loop {
            match daemon.send(self.descriptor(), message) {
                Ok(()) => return Outcome::Complete,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.wait_for_room(deadline) {
                        Ok(true) if Instant::now() < deadline => {}
                        Ok(_) => return Outcome::WouldBlock,
                        Err(error) => return Outcome::Failed(error),
                    }
                }
                Err(error) => return Outcome::Failed(error),
            }
        }
    }

    fn write_lines(&self, lines: &[u8], deadline: Instant) -> Written {
        let mut written = 0;
        let outcome = loop {
            let rest = &lines[written..];
            if rest.is_empty() {
                break Outcome::Complete;
            }
            let piece = if self.never_waits {
                rest
            } else {
                match self.wait_for_room(deadline) {
                    Ok(true) => self.first_piece(rest, deadline),
                    Ok(false) => break Outcome::WouldBlock,
                    Err(error) => break Outcome::Failed(error),
                }
            };
            match nix::unistd::write(&self.descriptor, piece) {
                Ok(0) => break Outcome::Failed(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(Errno::EINTR) => {}
                // Somebody else made the descriptor non-blocking and its reader was faster than ours to fill.
                Err(Errno::EAGAIN) if Instant::now() >= deadline => break Outcome::WouldBlock,
                Err(Errno::EAGAIN) => {}
                Err(error) => break Outcome::Failed(error.into()),
            }
        };
        Written { written, outcome }
    }

    /// What goes out in one write.
    fn first_piece<'a>(&self, lines: &'a [u8], deadline: Instant) -> &'a [u8] {
        let piece = first_piece(lines);
        if piece.len() == lines.len() || piece.ends_with(b"\n") {
            return piece;
        }
        let line_end = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
        loop {
            match sys::fits_into_pipe(self.descriptor(), line_end) {
                Some(true) => return &lines[..line_end],
                Some(false) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Some(false) | None => return piece,
            }
        }
    }

    fn wait_for_room(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut polled = [PollFd::new(self.descriptor(), PollFlags::POLLOUT)];
            match poll(&mut polled, timeout) {
                // POLLERR and POLLHUP count as room: the write will say what is wrong.
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The most whole lines that fit into one atomic write; a part of a line that does not fit alone.
fn first_piece(lines: &[u8]) -> &[u8] {
    if lines.len() <= PIPE_BUF {
        return lines;
    }
    match memchr::memrchr(b'\n', &lines[..PIPE_BUF]) {
        Some(end) => &lines[..=end],
        None => &lines[..PIPE_BUF],
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{BufRead as _, Read},
        os::unix::fs::FileTypeExt,
        time::Instant,
    };

    use super::*;

    #[test]
    fn a_piece_ends_at_the_last_line_end_that_fits() {
        let mut lines = vec![b'x'; PIPE_BUF + 10];
        assert_eq!(first_piece(&lines).len(), PIPE_BUF, "one long line");
        lines[100] = b'\n';
        lines[PIPE_BUF - 1] = b'\n';
        assert_eq!(first_piece(&lines).len(), PIPE_BUF);
        lines[PIPE_BUF - 1] = b'x';
        assert_eq!(first_piece(&lines).len(), 101);
        assert_eq!(first_piece(&lines[..PIPE_BUF]).len(), PIPE_BUF);
    }

    #[test]
    fn a_long_line_stays_whole_on_a_pipe_that_others_write_to() {
        const LENGTH: usize = 6000;
        let (reader, writer) = io::pipe().unwrap();
        for letter in b'a'..=b'd' {
            let descriptor = writer.try_clone().unwrap().into();
            let sink = Sink::from_descriptor(descriptor, &LogTarget::Stderr, None).unwrap();
            std::thread::spawn(move || {
                let line = [&[letter; LENGTH][..], b"\n"].concat();
                for _ in 0..200 {
                    let result = sink.write(&line, Duration::from_secs(10));
                    assert!(matches!(result.outcome, Outcome::Complete));
                }
            });
        }
        drop(writer);
        let mut lines = 0;
        for line in io::BufReader::new(reader).split(b'\n') {
            let line = line.unwrap();
            assert!(line == vec![line[0]; LENGTH], "line {lines} is mixed");
            lines += 1;
        }
        assert_eq!(lines, 4 * 200);
    }

    #[test]
    fn a_full_pipe_costs_no_more_than_the_patience() {
        let (_reader, writer) = io::pipe().unwrap();
        let sink = Sink::from_descriptor(writer.into(), &LogTarget::Stderr, None).unwrap();
        let begin = Instant::now();
        let result = sink.write(&vec![b'\n'; 1 << 20], Duration::from_millis(30));
        assert!(matches!(result.outcome, Outcome::WouldBlock));
        assert!(result.written >= PIPE_BUF, "wrote {}", result.written);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let sink = Sink::from_descriptor(writer.into(), &LogTarget::Stderr, None).unwrap();
        let result = sink.write(b"a\n", Duration::from_secs(1));
        assert!(matches!(result.outcome, Outcome::Failed(_)));
    }

    #[test]
    fn a_socket_that_nobody_reads_does_not_block() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let sink = Sink::from_descriptor(writer.into(), &LogTarget::Stderr, None).unwrap();
        let lines = vec![b'\n'; 4 << 20];
        let result = sink.write(&lines, Duration::ZERO);
        assert!(matches!(result.outcome, Outcome::WouldBlock));
        drop(sink);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), result.written);
    }

    /// poll(2) says that there is room in one as long as there is room for a byte.
    #[test]
    fn a_terminal_that_nobody_reads_does_not_block() {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let descriptor = stream(&File::from(terminal.slave)).unwrap();
        let sink = Sink::from_descriptor(descriptor, &LogTarget::Stderr, None).unwrap();
        let (told, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..100 {
                let result = sink.write(&[b'x'; 3000], Duration::from_millis(1));
                told.send(result.outcome).unwrap();
            }
        });
        for _ in 0..100 {
            result.recv_timeout(Duration::from_secs(5)).unwrap();
        }
        drop(terminal.master);
    }

    #[test]
    fn a_fifo_that_nobody_reads_is_an_error_and_not_a_hang() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(path.metadata().unwrap().file_type().is_fifo());
        Sink::open(&LogTarget::File(path), None).unwrap_err();
    }

    #[test]
    fn off_is_no_sink() {
        assert!(Sink::open(&LogTarget::Off, None).unwrap().is_none());
    }
}
