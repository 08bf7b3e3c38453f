//! No client keeps a worker from the others, however it sends: each gets its turn, and so do signals and the loop.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{Address, Client, DEADLINE, Hammer, Server, Setup, eventually};

/// Each way to run an app.
const CLASSES: [&str; 5] = [
    "",
    "threads = 4",
    "worker_class = 'gevent'",
    "worker_class = 'eventlet'",
    "worker_class = 'asgi'",
];

const ASGI: &str = "
import time

async def application(scope, receive, send):
    assert scope['type'] == 'http'
    until = time.monotonic() + 0.0003
    while time.monotonic() < until:
        pass
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'5')]})
    await send({'type': 'http.response.body', 'body': b'hello'})
";

/// In one slow call of a thread, another one leads and waits for events.
const SLOW: &str = "threads = 4\n";

/// Between two requests nobody needs so long, however busy the machine is; who starves needs for ever.
const SOON: Duration = Duration::from_secs(5);

/// A client that never waits for an answer before it sends the next request, until it is dropped. It reads all answers.
struct Pipeliner {
    socket: TcpStream,
    /// Bytes of answers.
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeliner {
    /// Returns when it gets answers.
    fn start(server: &Server, target: &str) -> Self {
        let Address::Tcp(address) = server.address() else {
            unreachable!("the harness binds a port")
        };
        let socket = TcpStream::connect(address).unwrap();
        let (mut reader, mut writer) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
        let requests = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(1_000);
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        let threads = vec![
            thread::spawn(move || while writer.write_all(requests.as_bytes()).is_ok() {}),
            thread::spawn(move || {
                let mut buffer = [0; 64 * 1024];
                while let Ok(bytes @ 1..) = reader.read(&mut buffer) {
                    count.fetch_add(bytes as u64, Relaxed);
                }
            }),
        ];
        let pipeliner = Self {
            socket,
            received,
            threads,
        };
        pipeliner.goes_on();
        pipeliner
    }

    /// Waits for more answers.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.received.load(Relaxed);
        eventually("a client that pipelines is answered", || {
            self.received.load(Relaxed) > before
        });
    }
}

impl Drop for Pipeliner {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn start(config: &str) -> Server {
    let setup = Setup::with(config);
    match config.contains("asgi") {
        true => setup.app(ASGI).start(),
        false => setup.start(),
    }
}

#[test]
fn a_client_that_pipelines_without_end_keeps_nobody_out_and_no_signal() {
    for config in CLASSES {
        let server = start(config);
        // So that the client keeps up; too short a call to be slow.
        let pipeliner = Pipeliner::start(&server, "/spin?s=0.0003");
        let begun = Instant::now();
        let mut client = server.client();
        for _ in 0..3 {
            assert_eq!(client.get("/").status, 200);
        }
        assert!(begun.elapsed() < SOON, "{config}: {:?}", begun.elapsed());
        pipeliner.goes_on();

        // The default of `timeouts.graceful` is longer than a test waits.
        server.signal(Signal::SIGTERM);
        assert_eq!(server.ended().code, Some(0), "{config}");
    }
}

#[test]
fn clients_that_pipeline_slow_requests_wait_in_line_with_the_others() {
    for config in ["", "threads = 2", "workers = 2"] {
        let server = start(config);
        let pipeliners: Vec<Pipeliner> = (0..8)
            .map(|_| Pipeliner::start(&server, "/sleep?s=0.01"))
            .collect();
        let begun = Instant::now();
        let mut client = server.client();
        for _ in 0..10 {
            assert_eq!(client.get("/sleep?s=0.01").text(), "slept");
        }
        assert!(begun.elapsed() < SOON, "{config}: {:?}", begun.elapsed());
        pipeliners.iter().for_each(Pipeliner::goes_on);
    }
}

#[test]
fn a_client_that_pipelines_has_its_turn_among_many_others() {
    for config in ["", "threads = 2", "workers = 2"] {
        let server = start(config);
        let hammer = Hammer::start(server.address(), "/sleep?s=0.01", 16, 0);
        let pipeliner = Pipeliner::start(&server, "/sleep?s=0.01");
        for _ in 0..5 {
            pipeliner.goes_on();
        }
        drop(pipeliner);
        hammer.stop();
    }
}

#[test]
fn both_of_two_addresses_have_their_turn() {
    let server = start(
        "bind = ['127.0.0.1:0', '127.0.0.1:0']
        workers = 2",
    );
    let [first, second] = <[Address; 2]>::try_from(server.addresses()).unwrap();
    for (quiet, busy) in [(&first, &second), (&second, &first)] {
        let hammer = Hammer::start(busy.clone(), "/sleep?s=0.02", 48, 0);
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(Client::to(quiet).get("/").status, 200);
        }
        assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
        hammer.stop();
    }
}

#[test]
fn a_file_goes_out_when_its_call_is_over_although_another_thread_leads() {
    let app = "
import time, sys

def application(environ, start_response):
    time.sleep(0.05)
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
";
    let server = Setup::with(SLOW).app(app).start();
    let mut client = server.client();
    let begun = Instant::now();
    for _ in 0..8 {
        assert_eq!(client.get("/").text(), app);
    }
    // Each used to wait for the leader to look around by itself, a second later.
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn room_for_a_connection_is_used_at_once_although_another_thread_leads() {
    let config = format!("{SLOW}limits.connections = 2");
    let server = start(&config);
    let mut idle = server.client();
    assert_eq!(idle.get("/").status, 200);
    // Else it would be closed for the others.
    idle.send("GET / HTTP/1.1\r\n");
    let mut waited = Duration::ZERO;
    for _ in 0..8 {
        let mut leaving = server.client();
        leaving.send("GET /sleep?s=0.1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let mut next = server.client();
        next.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(leaving.response().text(), "slept");
        let begun = Instant::now();
        assert_eq!(next.response().status, 200);
        waited += begun.elapsed();
    }
    assert!(waited < SOON / 2, "{waited:?}");
}
