//! WebSocket clients: many that echo as fast as they can, or that are open and silent. One thread, epoll, and frames made
//! once, so that no server waits for it.
//!
//! `websocket ADDRESS echo CONNECTIONS SECONDS` prints `REPORT messages microseconds p50 p99 errors`, times in microseconds.
//! `websocket ADDRESS idle CONNECTIONS` prints `OPEN connections` and stays until its standard input ends.

use std::{
    env,
    io::{self, Error, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    resource::{Resource, getrlimit, setrlimit},
};

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
/// Of a message's text; short enough for the shortest head of a frame.
const PAYLOAD_BYTES: usize = 64;
/// What the server sends for each message: head and payload, not masked.
const ECHO_BYTES: usize = 2 + PAYLOAD_BYTES;
/// A server that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection with at most one message under way.
struct Client {
    stream: TcpStream,
    /// Bytes of the echo that are still to come.
    missing: usize,
    sent_at: Instant,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [address, "echo", connections, seconds] => echo(address, connections, seconds),
        [address, "idle", connections] => idle(address, connections),
        _ => Err(Error::other(
            "usage: websocket ADDRESS echo CONNECTIONS SECONDS | websocket ADDRESS idle CONNECTIONS",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "websocket: {error}");
            ExitCode::FAILURE
        }
    }
}

fn echo(address: &str, connections: &str, seconds: &str) -> io::Result<()> {
    let duration = Duration::from_secs(number(seconds)?);
    let mut clients = open(address, number(connections)?)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let message = message();
    let begun = Instant::now();
    for (index, client) in clients.iter_mut().enumerate() {
        client.stream.set_nonblocking(true)?;
        epoll.add(
            &client.stream,
            EpollEvent::new(EpollFlags::EPOLLIN, index as u64),
        )?;
        client.send(&message)?;
    }
    let mut microseconds: Vec<u32> = Vec::with_capacity(4 << 20);
    let mut events = [EpollEvent::empty(); 256];
    let mut errors = 0;
    while begun.elapsed() < duration && errors < clients.len() {
        let ready = epoll.wait(&mut events, EpollTimeout::from(100_u8))?;
        for event in &events[..ready] {
            let client = &mut clients[event.data() as usize];
            match client.receive() {
                Ok(false) => {}
                Ok(true) => {
                    microseconds.push(client.sent_at.elapsed().as_micros() as u32);
                    client.send(&message)?;
                }
                Err(_) => {
                    epoll.delete(&client.stream)?;
                    errors += 1;
                }
            }
        }
    }
    let took = begun.elapsed().as_micros();
    microseconds.sort_unstable();
    let at = |share: usize| microseconds.get(microseconds.len() * share / 100).copied();
    let (p50, p99) = (at(50).unwrap_or(0), at(99).unwrap_or(0));
    let count = microseconds.len();
    writeln!(io::stdout(), "REPORT {count} {took} {p50} {p99} {errors}")
}

fn idle(address: &str, connections: &str) -> io::Result<()> {
    let clients = open(address, number(connections)?)?;
    writeln!(io::stdout(), "OPEN {}", clients.len())?;
    let _until_it_ends = io::stdin().read(&mut [0])?;
    Ok(())
}

/// One after the other, each with its handshake done.
fn open(address: &str, connections: u64) -> io::Result<Vec<Client>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let address: SocketAddr = address.parse().map_err(Error::other)?;
    (0..connections).map(|_| Client::open(address)).collect()
}

impl Client {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(HANDSHAKE.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            return Err(Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        Ok(Self {
            stream,
            missing: 0,
            sent_at: Instant::now(),
        })
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.missing = ECHO_BYTES;
        self.sent_at = Instant::now();
        self.stream.write_all(message)
    }

    /// Whether the echo is complete.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4 * ECHO_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) if count > self.missing => Err(Error::other("more than the echo")),
            Ok(count) => {
                self.missing -= count;
                Ok(self.missing == 0)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A text message in one frame, masked as a client's has to be (RFC 6455, section 5.3).
fn message() -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let payload = [b'x'; PAYLOAD_BYTES];
    let masked = payload.iter().zip(MASK.iter().cycle());
    let mut frame = vec![0x81, 0x80 | PAYLOAD_BYTES as u8];
    frame.extend(MASK);
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(Error::other)
}
