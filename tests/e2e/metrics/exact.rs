//! Exact sums: over all workers, those included that were replaced, scaled away or killed, and through upgrades.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::sys::signal::Signal;

use super::scrape::{Samples, address, becomes};
use crate::harness::{APP, Client, Process, Server, Setup, eventually};

const OK: &str = "requests_total{method=\"GET\",status=\"2xx\"}";
/// The last that is counted of a request.
const DURATIONS: &str = "request_duration_seconds_count";

fn ask(server: &Server, count: usize) {
    let mut client = server.client();
    for number in 0..count {
        if number % 3 == 0 {
            client = server.client();
        }
        assert_eq!(client.get("/version").status, 200);
    }
}

#[test]
fn no_request_is_lost_or_doubled_and_no_counter_goes_down_whatever_happens_to_workers() {
    let server = Server::start("workers = 2");
    let is_over = Arc::new(AtomicBool::new(false));
    let scraper = std::thread::spawn({
        let address = address(&server);
        let is_over = Arc::clone(&is_over);
        move || {
            let mut last: Option<Samples> = None;
            let mut scrapes = 0;
            while !is_over.load(Relaxed) {
                let now = Samples::try_at(&address);
                if let (Some(now), Some(last)) = (&now, &last) {
                    now.must_follow(last);
                    scrapes += 1;
                }
                last = now.or(last);
            }
            scrapes
        }
    });
    let end = EndOf(is_over);
    let mut asked = 0;
    let mut more = |count: usize| {
        ask(&server, count);
        asked += count;
        becomes(&server, DURATIONS, asked as f64)
    };
    more(40);
    server.edit("workers = 2\n[env]\nA = '1'");
    server.applied();
    more(40);
    for _ in 0..3 {
        server.from_now();
        // It is not in a request: all of them were counted.
        let worker = server.below().pop().unwrap();
        worker.signal(Signal::SIGKILL);
        server.says("SIGKILL");
        server.says(" ready");
        more(20);
    }
    server.edit("workers = 4\n[env]\nA = '1'");
    server.says("done");
    more(40);
    server.edit("workers = 1\n[env]\nA = '1'");
    server.says("done");
    server.says_times(3, "fewer workers are wanted");
    more(40);
    server.signal(Signal::SIGUSR2);
    server.says("upgrade done");
    let samples = more(40);
    assert_eq!(samples.get(OK), 260.0);
    assert_eq!(samples.sum("responses_total"), 260.0);
    assert_eq!(samples.get("worker_exits_total{reason=\"signal\"}"), 3.0);
    assert_eq!(samples.get("worker_exits_total{reason=\"scaled\"}"), 3.0);
    assert_eq!(samples.get("worker_exits_total{reason=\"replaced\"}"), 2.0);
    assert_eq!(samples.get("reloads_total{outcome=\"done\"}"), 3.0);
    drop(end);
    assert!(scraper.join().unwrap() > 10);
}

/// Ends what goes on until then, also when the test has failed.
struct EndOf(Arc<AtomicBool>);

impl Drop for EndOf {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn every_worker_class_counts() {
    const ASGI: &str = r#"
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"#;
    for (class, threads, app) in [
        ("sync", 1, APP),
        ("gthread", 4, APP),
        ("asgi", 1, ASGI),
        ("gevent", 1, APP),
        ("eventlet", 1, APP),
    ] {
        let attribute = if class == "asgi" { "app:app" } else { "app" };
        let config = format!(
            "app = '{attribute}'\nworker_class = '{class}'\nthreads = {threads}\nworkers = 2"
        );
        let server = Setup::with(&config).app(app).start();
        let crowd: Vec<_> = (0..4).map(|_| server.client()).collect();
        let clients = crowd.into_iter().map(|mut client| {
            std::thread::spawn(move || {
                for _ in 0..25 {
                    assert_eq!(client.get("/").status, 200);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(server.client().post("/", "a body").status, 200);
        let samples = becomes(&server, DURATIONS, 101.0);
        assert_eq!(samples.get(OK), 100.0, "{class}");
        let posts = samples.get("requests_total{method=\"POST\",status=\"2xx\"}");
        assert_eq!(posts, 1.0, "{class}");
        assert_eq!(samples.get("request_wait_seconds_count"), 101.0, "{class}");
        assert_eq!(samples.get("connections_accepted_total"), 5.0, "{class}");
        let threads_told = samples.sum("threads{");
        let wanted = match class {
            "sync" | "gthread" => 2 * threads,
            _ => 0,
        };
        assert_eq!(threads_told, f64::from(wanted), "{class}");
    }
}

#[test]
fn bytes_are_those_on_the_wire() {
    let server = Server::start("");
    let mut client = server.client();
    let request = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
    let response = client.request(request);
    let sent = response.head.len() + "\r\n\r\n".len() + response.body.len();
    let samples = becomes(&server, "sent_bytes_total", sent as f64);
    assert_eq!(samples.get("received_bytes_total"), request.len() as f64);

    // More than a socket takes at once: the rest goes out without the thread.
    let large = client.get("/large?size=20000000");
    let sent = sent + large.head.len() + "\r\n\r\n".len() + large.body.len();
    becomes(&server, "sent_bytes_total", sent as f64);
}

#[test]
fn refused_requests_count_with_their_status_and_not_among_the_durations() {
    let server = Server::start("[limits]\nbody = '1KiB'");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: test\r\n\r\n", 505),
        (
            "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000\r\n\r\n",
            413,
        ),
    ] {
        let mut client: Client = server.client();
        client.send(request);
        assert_eq!(client.response().status, status);
    }
    let samples = becomes(
        &server,
        "requests_total{method=\"PUT\",status=\"4xx\"}",
        1.0,
    );
    for code in [400, 413, 505] {
        assert_eq!(
            samples.get(&format!("requests_refused_total{{code=\"{code}\"}}")),
            1.0
        );
        assert_eq!(
            samples.get(&format!("responses_total{{code=\"{code}\"}}")),
            1.0
        );
    }
    assert_eq!(samples.sum("requests_total{"), 3.0);
    assert_eq!(samples.get("request_duration_seconds_count"), 0.0);
}

#[test]
fn what_a_worker_does_for_its_own_health_check_is_not_counted() {
    let server = Server::start("workers = 2\n[reload]\nhealth_check = '/version'");
    assert_eq!(Samples::of(&server).sum("requests_total"), 0.0);
    assert_eq!(Samples::of(&server).get("received_bytes_total"), 0.0);
    server.text("/");
    becomes(&server, OK, 1.0);
}

#[test]
fn reloads_and_ends_of_workers_count_by_what_became_of_them() {
    let server = Server::start("");
    assert_eq!(
        Samples::of(&server).get("config_last_reload_successful"),
        1.0
    );
    let hash = Samples::of(&server).get("config_hash");
    server.edit("workers = 0");
    server.says("rejected");
    let samples = becomes(&server, "reloads_total{outcome=\"rejected\"}", 1.0);
    assert_eq!(samples.get("config_last_reload_successful"), 0.0);
    assert_eq!(samples.get("config_hash"), hash);
    assert_eq!(samples.get("log_lines_total{level=\"error\"}"), 1.0);
    server
        .directory
        .write("app.py", "raise RuntimeError('broken')");
    server.edit("workers = 2\n[env]\nA = '1'");
    server.says("rejected");
    becomes(&server, "reloads_total{outcome=\"rejected\"}", 2.0);
    server.directory.write("app.py", APP);
    server.edit("");
    server.says("nothing changed");
    let samples = becomes(&server, "reloads_total{outcome=\"unchanged\"}", 1.0);
    assert_eq!(samples.get("config_last_reload_successful"), 1.0);
    assert_eq!(samples.get("generation"), 1.0);
    server.edit("[env]\nA = '2'");
    server.applied();
    let samples = becomes(&server, "reloads_total{outcome=\"done\"}", 1.0);
    assert_eq!(samples.get("generation"), 3.0);
    assert_ne!(samples.get("config_hash"), hash);
    becomes(&server, "worker_exits_total{reason=\"replaced\"}", 1.0);
    server.from_now();
    let worker = Process::find(server.worker()).unwrap();
    worker.signal(Signal::SIGTERM);
    server.says(" ready");
    becomes(&server, "worker_exits_total{reason=\"outside\"}", 1.0);
    eventually("it serves", || server.get("/").status == 200);
}
