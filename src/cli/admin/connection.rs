//! A connection to an admin socket whose every wait has an end: a server that is stopped is noticed soon, one that does not
//! answer in time.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, open},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt},
        socket::{socket, sockopt},
        stat::Mode,
        time::TimeVal,
    },
};

use super::client::AskError;
use crate::sys;

/// Between two looks whether the server is stopped.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks in a row have to find it so: a debugger stops a process for moments.
const LOOKS_STOPPED: u32 = 2;

pub(super) struct Connection {
    stream: UnixStream,
    /// Whom to look at; `None` where it cannot be seen from here.
    pid: Option<u32>,
    deadline: Instant,
}

impl Connection {
    /// To the socket at `path`, for `patience` in all. `pid` is whose it is, where that is known already.
    pub(super) fn open(
        path: &Path,
        pid: Option<u32>,
        patience: Duration,
    ) -> Result<Self, AskError> {
        let deadline = Instant::now() + patience;
        let stream = connect_to(path).map_err(|source| match (source.kind(), pid) {
            // The queue of those who want to be accepted is full.
            (ErrorKind::WouldBlock, Some(pid)) if sys::is_stopped(pid) => AskError::Stopped(pid),
            (ErrorKind::WouldBlock, _) => AskError::Late,
            _ => {
                let path = path.to_owned();
                AskError::Connect { path, source }
            }
        })?;
        let pid = peer(&stream).or(pid);
        Ok(Self {
            stream,
            pid,
            deadline,
        })
    }

    /// The process at the other end, by its number here: in a container it has another.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What the socket's buffer takes at once; no request is longer.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), AskError> {
        self.stream.write_all(bytes).map_err(broken)
    }

    /// Appends the next bytes; an end is an error.
    pub(super) fn receive(&mut self, into: &mut Vec<u8>) -> Result<(), AskError> {
        let mut piece = [0; 16 * 1024];
        let mut looks_stopped = 0;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AskError::Late);
            }
            let wait = left.min(LOOK_EVERY);
            self.stream.set_read_timeout(Some(wait)).map_err(broken)?;
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(AskError::Broken("it ended too early".to_owned())),
                Ok(count) => {
                    into.extend_from_slice(&piece[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let stopped = self.pid.filter(|pid| sys::is_stopped(*pid));
                    looks_stopped = stopped.map_or(0, |_| looks_stopped + 1);
                    if let Some(pid) = stopped.filter(|_| looks_stopped == LOOKS_STOPPED) {
                        return Err(AskError::Stopped(pid));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

fn broken(error: io::Error) -> AskError {
    match error.kind() {
        ErrorKind::WouldBlock => AskError::Late,
        _ => AskError::Broken(error.to_string()),
    }
}

/// Waits as long as a look lasts where the queue of those who want to be accepted is full, and for each send.
fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let own = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let wait = TimeVal::new(LOOK_EVERY.as_secs().cast_signed(), 0);
    setsockopt(&own, sockopt::SendTimeout, &wait)?;
    match UnixAddr::new(path) {
        Ok(address) => connect(own.as_raw_fd(), &address)?,
        // Longer than an address can be, as with what leads to the server's root before it.
        Err(_) => {
            let file: OwnedFd = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            let short = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            connect(own.as_raw_fd(), &UnixAddr::new(&short)?)?;
        }
    }
    Ok(own.into())
}

/// The process that listens; 0 is one in another namespace.
fn peer(stream: &UnixStream) -> Option<u32> {
    let credentials = getsockopt(stream, sockopt::PeerCredentials).ok()?;
    u32::try_from(credentials.pid())
        .ok()
        .filter(|pid| *pid != 0)
}
