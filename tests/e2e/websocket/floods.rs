//! Clients that send faster than the app takes, or nothing that the app would ever see: they wait, and nobody else does.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{handshake, start};
use crate::harness::{Process, Server};

/// Small frames, as a client would mask them.
const TEXT: &[u8] = b"\x81\x8amask0123456789";
const PING: &[u8] = b"\x89\x80mask";
const PONG: &[u8] = b"\x8a\x80mask";

/// A client that sends a frame over and over, as fast as it is taken.
struct Flood {
    is_over: Arc<AtomicBool>,
    client: JoinHandle<()>,
}

impl Flood {
    fn start(server: &Server, path: &str, frame: &[u8]) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.write_all(handshake(path).as_bytes()).unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 101");
        let is_over = Arc::new(AtomicBool::new(false));
        let (frames, is_told) = (frame.repeat(4_096), Arc::clone(&is_over));
        let client = thread::spawn(move || send_until(&is_told, &mut stream, &frames));
        Self { is_over, client }
    }

    fn end(self) {
        self.is_over.store(true, Relaxed);
        self.client.join().unwrap();
    }
}

fn send_until(is_over: &AtomicBool, stream: &mut TcpStream, frames: &[u8]) {
    let patience = Duration::from_millis(50);
    stream.set_write_timeout(Some(patience)).unwrap();
    let mut sent = 0;
    while !is_over.load(Relaxed) {
        match stream.write(&frames[sent..]) {
            Ok(count) => sent = (sent + count) % frames.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("the flood was ended: {error}"),
        }
    }
}

/// Asks again and again; each answer must come soon.
#[track_caller]
fn answers_others_for(server: &Server, duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        let asked = Instant::now();
        assert_eq!(server.text("/"), "[]");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn small_messages_that_the_app_does_not_take_wait_with_their_client() {
    let server = start("");
    assert_eq!(server.text("/"), "[]");
    let worker = Process::find(server.workers()[0]).unwrap();
    let before = worker.peak_memory();
    let flood = Flood::start(&server, "/slow", TEXT);
    answers_others_for(&server, Duration::from_secs(2));
    flood.end();
    let grown = (worker.peak_memory() - before) >> 20;
    assert!(grown < 4, "{grown} MiB");
}

#[test]
fn who_sends_without_a_pause_holds_nobody_up() {
    let server = start("");
    for frame in [PONG, PING, TEXT] {
        let flood = Flood::start(&server, "/sink", frame);
        thread::sleep(Duration::from_millis(200));
        for _ in 0..5 {
            let asked = Instant::now();
            assert!(server.text("/").starts_with('['));
            let took = asked.elapsed();
            assert!(took < Duration::from_secs(1), "{took:?} beside {frame:x?}");
        }
        flood.end();
    }
}
