//! The thread that sends metrics to a statsd server. The arbiter does not do it itself: to resolve a name may take long,
//! and nothing here is worth a wake-up of the arbiter.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Duration,
};

use super::{clock, core::Moment};
use crate::{
    admin::Backlogs,
    config::{self, StatsdHost},
    info, sys,
    telemetry::statsd::Reporter,
    warning,
    wire::Scoreboard,
};

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A name may come to mean another address.
const OPEN_EVERY: Duration = Duration::from_secs(60);
/// After a name could not be resolved, or a socket not be made.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// What the last report may take when the server ends; it is lost if a name is being resolved just then.
const GOODBYE_MAX: Duration = Duration::from_millis(200);
/// Resolving a name takes the most of it.
const STACK_BYTES: usize = 512 * 1024;

/// Nothing is sent before [`Statsd::apply`] says so.
#[derive(Default)]
pub(super) struct Statsd {
    settings: config::Statsd,
    running: Option<Running>,
}

/// Ends with a last report when it is dropped.
struct Running {
    /// Closed to end the thread.
    life: Option<Sender<()>>,
    /// Closed once it has ended.
    end: Receiver<()>,
}

impl Statsd {
    pub(super) fn apply(
        &mut self,
        settings: &config::Statsd,
        board: &Scoreboard,
        backlogs: Backlogs,
    ) {
        if self.settings == *settings {
            return;
        }
        self.settings = settings.clone();
        self.running = None;
        if let Some(host) = settings.host.clone() {
            match start(settings, host, board, backlogs) {
                Ok(running) => self.running = Some(running),
                Err(problem) => {
                    warning!("statsd: no metrics are sent: {problem}; the next reload tries again");
                    self.settings = config::Statsd::default();
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.life = None;
        let _ended_or_late = self.end.recv_timeout(GOODBYE_MAX);
    }
}

fn start(
    settings: &config::Statsd,
    host: StatsdHost,
    board: &Scoreboard,
    backlogs: Backlogs,
) -> io::Result<Running> {
    let board = board.another()?;
    let mut reporter = Reporter::new(&settings.prefix, &settings.tags, &board);
    let (life, until) = channel();
    let (ended, end) = channel();
    let thread = std::thread::Builder::new()
        .name("rg-statsd".to_owned())
        .stack_size(STACK_BYTES);
    sys::without_signals(|| {
        thread.spawn(move || {
            let _closed_at_the_end: Sender<()> = ended;
            let mut line = Line::new(host);
            loop {
                let is_over =
                    until.recv_timeout(REPORT_EVERY) == Err(RecvTimeoutError::Disconnected);
                line.send(&reporter.report(&board, backlogs.waiting()));
                if is_over {
                    return;
                }
            }
        })
    })?;
    Ok(Running {
        life: Some(life),
        end,
    })
}

/// The way to the server, which may not be there yet, or no longer.
struct Line {
    host: StatsdHost,
    socket: Option<Socket>,
    open_again: Moment,
    /// What is wrong was told.
    is_told: bool,
}

/// Not connected: a server that is away for a moment, or makes its socket anew, is then no error of ours.
enum Socket {
    Udp(UdpSocket, SocketAddr),
    Unix(UnixDatagram, PathBuf),
}

impl Line {
    fn new(host: StatsdHost) -> Self {
        Self {
            host,
            socket: None,
            open_again: clock::now(),
            is_told: false,
        }
    }

    /// What cannot be sent now is lost, as datagrams are.
    fn send(&mut self, datagrams: &[Vec<u8>]) {
        self.open_if_due();
        let Some(socket) = &self.socket else {
            return;
        };
        for datagram in datagrams {
            let _sent_or_lost = match socket {
                Socket::Udp(socket, address) => socket.send_to(datagram, address),
                Socket::Unix(socket, path) => socket.send_to(datagram, path),
            };
        }
    }

    fn open_if_due(&mut self) {
        let now = clock::now();
        if now < self.open_again {
            return;
        }
        let after = match open(&self.host) {
            Ok(socket) => {
                if self.is_told {
                    info!("statsd: metrics are sent to {}", self.host);
                }
                self.is_told = false;
                self.socket = Some(socket);
                OPEN_EVERY
            }
            Err(problem) => {
                // The address that was found before may still be right.
                if self.socket.is_none() && !self.is_told {
                    warning!(
                        "statsd: no metrics are sent: {}: {problem}; trying again every {}s",
                        self.host,
                        TRY_AGAIN_AFTER.as_secs()
                    );
                    self.is_told = true;
                }
                TRY_AGAIN_AFTER
            }
        };
        self.open_again = now + after;
    }
}

fn open(host: &StatsdHost) -> io::Result<Socket> {
    match host {
        StatsdHost::Udp { host, port } => open_udp(host, *port),
        StatsdHost::Unix(path) => open_unix(path),
    }
}

fn open_udp(host: &str, port: u16) -> io::Result<Socket> {
    let address = (host, port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other("the name has no address"))?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    Ok(Socket::Udp(socket, address))
}

fn open_unix(path: &Path) -> io::Result<Socket> {
    path.metadata()?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(Socket::Unix(socket, path.to_owned()))
}
