//! `[statsd]`: what a real receiver of datagrams gets.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{DEADLINE, Process, Server, eventually};

/// Hears what a server sends, and adds the counters up.
struct Receiver {
    socket: Socket,
    counters: RefCell<BTreeMap<String, u64>>,
    lines: RefCell<Vec<String>>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Receiver {
    fn new(socket: Socket) -> Self {
        let pause = Some(Duration::from_millis(50));
        match &socket {
            Socket::Udp(socket) => socket.set_read_timeout(pause).unwrap(),
            Socket::Unix(socket) => socket.set_read_timeout(pause).unwrap(),
        }
        Self {
            socket,
            counters: RefCell::default(),
            lines: RefCell::default(),
        }
    }

    fn udp() -> Self {
        Self::new(Socket::Udp(UdpSocket::bind("127.0.0.1:0").unwrap()))
    }

    fn port(&self) -> u16 {
        match &self.socket {
            Socket::Udp(socket) => socket.local_addr().unwrap().port(),
            Socket::Unix(_) => panic!("a UNIX socket has no port"),
        }
    }

    /// Takes what has come.
    fn hear(&self) {
        let mut buffer = [0; 65536];
        let receive = |buffer: &mut [u8]| match &self.socket {
            Socket::Udp(socket) => socket.recv(buffer),
            Socket::Unix(socket) => socket.recv(buffer),
        };
        while let Ok(length) = receive(&mut buffer) {
            for line in std::str::from_utf8(&buffer[..length]).unwrap().lines() {
                let (name, value) = line.split_once(':').unwrap();
                if let Some((count, _)) = value.split_once("|c") {
                    *self
                        .counters
                        .borrow_mut()
                        .entry(name.to_owned())
                        .or_default() += count.parse::<u64>().unwrap();
                }
                self.lines.borrow_mut().push(line.to_owned());
            }
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.hear();
        self.counters.borrow().get(name).copied().unwrap_or(0)
    }

    #[track_caller]
    fn counts(&self, name: &str, wanted: u64) {
        eventually(&format!("{name} is {wanted}"), || {
            self.count(name) == wanted
        });
    }

    /// Waits for a line that begins so.
    #[track_caller]
    fn hears(&self, beginning: &str) -> String {
        self.hears_one(beginning, |_| true)
    }

    /// Waits for a line that begins so and goes on as it should.
    #[track_caller]
    fn hears_one(&self, beginning: &str, should: impl Fn(&str) -> bool) -> String {
        let is_it = |line: &&String| line.strip_prefix(beginning).is_some_and(&should);
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            self.hear();
            let lines = self.lines.borrow();
            if let Some(line) = lines.iter().find(is_it) {
                return line.clone();
            }
        }
        panic!(
            "nothing begins with {beginning:?} as it should: {:#?}",
            self.lines.borrow()
        );
    }
}

#[test]
fn requests_durations_and_workers_are_told_under_gunicorns_names() {
    let receiver = Receiver::udp();
    let config = format!(
        "workers = 2\n[statsd]\nhost = '127.0.0.1:{}'\nprefix = 'site'\ntags = ['env:test', 'a:b']",
        receiver.port()
    );
    let server = Server::start(&config);
    for _ in 0..50 {
        server.text("/");
    }
    assert_eq!(server.get("/error").status, 500);
    receiver.counts("site.gunicorn.requests", 51);
    receiver.counts("site.gunicorn.request.status.200", 50);
    receiver.counts("site.gunicorn.request.status.500", 1);
    receiver.counts("site.gunicorn.log.exception", 1);
    let workers = receiver.hears("site.gunicorn.workers:2|g");
    assert_eq!(workers, "site.gunicorn.workers:2|g|#env:test,a:b");
    receiver.hears("site.gunicorn.backlog:0|h|#env:test,a:b");
    let slow = receiver.count("site.gunicorn.log.error");
    assert_eq!(slow, 0, "what has a traceback is an exception");

    server.text("/sleep?s=0.2");
    receiver.hears_one("site.gunicorn.request.duration:", |rest| {
        let ms = rest.split('|').next().unwrap();
        (200.0..10_000.0).contains(&ms.parse::<f64>().unwrap())
    });
    let lines = receiver.lines.borrow();
    assert!(lines.iter().all(|line| line.ends_with("|#env:test,a:b")));
}

#[test]
fn a_worker_that_is_killed_takes_nothing_along_and_a_change_is_live() {
    let (before, after) = (Receiver::udp(), Receiver::udp());
    let server = Server::start(&format!("[statsd]\nhost = '127.0.0.1:{}'", before.port()));
    for _ in 0..20 {
        server.text("/");
    }
    let worker = server.worker();
    before.counts("gunicorn.requests", 21);
    Process::find(worker).unwrap().signal(Signal::SIGKILL);
    server.says("SIGKILL");
    server.text("/");
    before.counts("gunicorn.requests", 22);
    before.counts("rgunicorn.worker_exits.signal", 1);
    let worker = server.worker();

    server.edit(&format!("[statsd]\nhost = 'localhost:{}'", after.port()));
    server.says("statsd.host 127.0.0.1:… (live); no worker has to be replaced");
    server.says("done");
    assert_eq!(server.worker(), worker);
    // Its own first request may have been the last that the one before heard of.
    eventually("the new one hears of requests", || {
        server.text("/");
        after.count("gunicorn.requests") > 0
    });
    server.edit("");
    server.says("done");
    // The last that is due.
    std::thread::sleep(Duration::from_millis(1_500));
    let told = after.count("gunicorn.requests");
    server.text("/");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(
        after.count("gunicorn.requests"),
        told,
        "it was told to stop"
    );
}

#[test]
fn the_last_requests_are_told_when_the_server_ends_on_a_unix_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.sock");
    let receiver = Receiver::new(Socket::Unix(UnixDatagram::bind(&path).unwrap()));
    let server = Server::start(&format!("[statsd]\nhost = 'unix://{}'", path.display()));
    receiver.hears("gunicorn.workers:1|g");
    receiver.hears("gunicorn.backlog:0|g");
    for _ in 0..7 {
        server.text("/");
    }
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert_eq!(receiver.count("gunicorn.requests"), 7);
    assert_eq!(receiver.count("rgunicorn.worker_exits.stopping"), 1);
}

#[test]
fn a_server_that_cannot_be_found_costs_a_line_in_the_log_and_nothing_else() {
    let server = Server::start("[statsd]\nhost = 'no-such-host.invalid'");
    server.says("WARNING … statsd: no metrics are sent: no-such-host.invalid:8125: ");
    assert_eq!(server.text("/"), "hello from /");
    let missing = Path::new("/no/such/dsd.sock");
    server.edit(&format!("[statsd]\nhost = 'unix:{}'", missing.display()));
    server.says("statsd: no metrics are sent: unix:/no/such/dsd.sock: ");
    assert_eq!(server.text("/"), "hello from /");
}
