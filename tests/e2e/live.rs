//! Live keys: a saved edit changes what the workers do, not which workers they are, and no request notices.

mod logs;

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{APP, Client, Hammer, Process, Server, Setup, eventually, within};

const ASGI_APP: &str = include_str!("apps/asgi.py");

/// A way to run workers, and a request of the app that takes longer than anybody waits.
struct Class {
    name: &'static str,
    config: &'static str,
    endless: &'static str,
}

const CLASSES: [Class; 4] = [
    Class {
        name: "sync",
        config: "worker_class = 'sync'",
        endless: "/spin?s=60",
    },
    Class {
        name: "gthread",
        config: "worker_class = 'gthread'\nthreads = 3",
        endless: "/spin?s=60",
    },
    Class {
        name: "asgi",
        config: "worker_class = 'asgi'\napp = 'app:app'",
        endless: "/sleep?s=60",
    },
    Class {
        name: "gevent",
        config: "worker_class = 'gevent'",
        endless: "/sleep?s=60",
    },
];

impl Class {
    fn start(&self, config: &str) -> Live {
        let config = format!("{}\nworkers = 2\n{config}", self.config);
        let app = match self.name {
            "asgi" => ASGI_APP,
            _ => APP,
        };
        let server = Setup::with(&config).app(app).start();
        server.says_times(2, " ready");
        Live {
            class: self.config,
            workers: workers(&server),
            hammer: RefCell::new(Some(Hammer::start(server.address(), "/pid", 2, 1))),
            server,
        }
    }
}

/// A server under load, whose workers must stay.
struct Live {
    class: &'static str,
    server: Server,
    workers: Vec<i32>,
    hammer: RefCell<Option<Hammer>>,
}

impl Live {
    /// Saves an edit of one key, and waits until it is in force in every worker.
    #[track_caller]
    fn change(&self, key: &str, config: &str) -> &Server {
        self.server
            .edit(&format!("{}\nworkers = 2\n{config}", self.class));
        let line = self.server.says("reload= … changed: ");
        assert!(line.contains(key), "{line}");
        assert!(!line.contains("(roll)"), "{line}");
        self.server.says("reload= … done in ");
        assert_eq!(workers(&self.server), self.workers, "{key}");
        &self.server
    }

    /// No request failed, and nobody was replaced.
    #[track_caller]
    fn end(self) {
        let hammer = self.hammer.take().unwrap();
        hammer.lands(5);
        hammer.stop();
        assert_eq!(workers(&self.server), self.workers);
        assert!(!self.server.log().contains("rolling"));
    }
}

/// Process ids in ascending order.
fn workers(server: &Server) -> Vec<i32> {
    let children = server.generations().into_iter().flat_map(Process::children);
    let mut pids: Vec<i32> = children.map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

fn status(server: &Server, request: &str) -> u16 {
    server.client().request(request).status
}

/// Sends the beginning of a request, and nothing more: the answer to that.
fn begun(server: &Server, beginning: &str) -> u16 {
    let mut client = server.client();
    client.send(beginning);
    client.response().status
}

#[test]
fn limits_of_requests() {
    for class in &CLASSES {
        let live = class.start("");
        let post =
            "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n12345678901234567890";
        assert_eq!(status(&live.server, post), 200, "{}", class.name);
        let server = live.change("limits.body", "[limits]\nbody = 10");
        assert_eq!(status(server, post), 413, "{}", class.name);

        let lines = format!("X: {}\r\n", "x".repeat(4000)).repeat(2);
        let large = format!(
            "GET / HTTP/1.1\r\nHost: test\r\n{lines}X: {}\r\n\r\n",
            "x".repeat(200)
        );
        assert_eq!(status(&live.server, &large), 200, "{}", class.name);
        let server = live.change("limits.head", "[limits]\nhead = '8KiB'");
        assert_eq!(status(server, &large), 431, "{}", class.name);

        let field = "x".repeat(100);
        let fields = format!("GET / HTTP/1.1\r\nHost: test\r\nX-A: {field}\r\n\r\n");
        assert_eq!(status(server, &fields), 200, "{}", class.name);
        let server = live.change("limits.header_size", "[limits]\nheader_size = 64");
        assert_eq!(status(server, &fields), 431, "{}", class.name);
        assert_eq!(status(server, post), 200, "{}: body", class.name);

        let server = live.change("limits.headers", "[limits]\nheaders = 2");
        assert_eq!(status(server, &fields), 200, "{}", class.name);
        let more = "GET / HTTP/1.1\r\nHost: test\r\nA: 1\r\nB: 2\r\n\r\n";
        assert_eq!(status(server, more), 431, "{}", class.name);

        let line = format!("GET /{field} HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(status(server, &line), 200, "{}", class.name);
        let server = live.change("limits.request_line", "[limits]\nrequest_line = 64");
        assert_eq!(status(server, &line), 414, "{}", class.name);
        live.end();
    }
}

#[test]
fn a_request_that_has_begun_keeps_the_limits_it_began_with() {
    let live = CLASSES[0].start("");
    let mut client = live.server.client();
    let field = "x".repeat(100);
    client.send("GET / HTTP/1.1\r\nHost: te");
    within(Duration::from_millis(100), || false);
    let server = live.change("limits.header_size", "[limits]\nheader_size = 64");
    client.send(format!("st\r\nX-A: {field}\r\n\r\n"));
    assert_eq!(client.response().status, 200);
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: test\r\nX-A: {field}\r\n\r\n"
    ));
    assert_eq!(client.response().status, 431, "but the next one does not");
    assert_eq!(server.text("/"), "hello from /");
    live.end();
}

#[test]
fn timeouts_of_connections() {
    for class in &CLASSES {
        let live = class.start("");
        let server = live.change("timeouts.header", "[timeouts]\nheader = '1s'");
        assert_eq!(begun(server, "GET / HTTP/1.1\r\nHo"), 408, "{}", class.name);

        let server = live.change("timeouts.body", "[timeouts]\nbody = '1s'");
        let half = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc";
        assert_eq!(begun(server, half), 408, "{}", class.name);

        let server = live.change("timeouts.keepalive", "[timeouts]\nkeepalive = '1s'");
        let mut idle = server.client();
        idle.get("/");
        let since = Instant::now();
        idle.expect_closed();
        assert!(since.elapsed() < Duration::from_secs(5), "{}", class.name);

        let server = live.change("timeouts.keepalive", "[timeouts]\nkeepalive = 0");
        assert!(server.get("/").says_close(), "{}", class.name);
        let server = live.change("timeouts.keepalive", "");
        assert!(!server.get("/").says_close(), "{}", class.name);

        let server = live.change("timeouts.request", "[timeouts]\nrequest = '1s'");
        assert_eq!(server.get(class.endless).status, 504, "{}", class.name);
        live.end();
    }
}

#[test]
fn how_long_a_client_may_not_read() {
    for class in &CLASSES {
        let live = class.start("");
        let server = live.change("timeouts.write", "[timeouts]\nwrite = '1s'");
        let mut slow = server.client();
        slow.send("GET /large?size=50000000 HTTP/1.1\r\nHost: test\r\n\r\n");
        // What the kernels had buffered comes, then the end.
        within(Duration::from_secs(3), || false);
        let received = slow.rest_until_closed().len();
        assert!(received < 50_000_000, "{}", class.name);
        live.end();
    }
}

#[test]
fn how_many_connections_a_worker_takes() {
    for class in &CLASSES {
        let live = class.start("");
        live.hammer.take().unwrap().stop();
        live.change("limits.connections", "[limits]\nconnections = 1");
        let mut first: Vec<Client> = (0..2).map(|_| live.server.client()).collect();
        for client in &mut first {
            assert_eq!(client.get("/").status, 200, "{}", class.name);
            // One that idles would be closed for the third.
            client.send("GET / HTTP/1.1\r\n");
        }
        let mut third = live.server.client();
        third.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        third.expect_silence(Duration::from_millis(500));
        let is_full =
            "[WARNING] … worker= … has as many connections as `limits.connections` allows, 1;";
        live.server.says_times(2, is_full);
        live.change("limits.connections", "[limits]\nconnections = 2");
        assert_eq!(third.response().status, 200, "{}", class.name);
        for client in &mut first {
            let response = client.request("Host: test\r\n\r\n");
            assert_eq!(response.status, 200, "{}: kept", class.name);
        }
        let told = live.server.log().matches("as many connections as").count();
        assert_eq!(told, 2, "{}: once a minute", class.name);
    }
}

#[test]
fn after_how_many_requests_a_worker_is_replaced() {
    let server = Server::start("");
    for _ in 0..10 {
        server.text("/");
    }
    let before = workers(&server);
    server.edit("[limits]\nmax_requests = 5");
    server.says("limits.max_requests 0 -> 5 (live)");
    server.says("done in");
    assert_eq!(workers(&server), before);
    server.text("/");
    server.says("worker=1 … reached limits.max_requests");
    server.says("worker=2 … ready");
    server.says("worker=1 … left");
    for _ in 0..5 {
        server.text("/");
    }
    server.says("worker=2 … reached limits.max_requests");
    assert!(!server.log().contains("generation=2"));
}

#[test]
fn the_health_check_of_workers_to_come() {
    let server = Server::start("");
    server.edit("[reload]\nhealth_check = '/error'");
    server.says("reload.health_check … (live)");
    server.says("done in");
    server.signal(Signal::SIGTTIN);
    server.says("worker=2 health check failed");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_worker_that_comes_later_begins_with_what_is_in_force() {
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n123";
    for class in &CLASSES {
        let live = class.start("[log]\nformat = 'old %(s)s'");
        let config = "[log]\nformat = 'new %(s)s'\naccess = 'access.log'\n[limits]\nbody = 2";
        let server = live.change("limits.body", config);
        live.hammer.take().unwrap().stop();
        for (number, pid) in live.workers.iter().enumerate() {
            server.from_now();
            Process::find(*pid).unwrap().signal(Signal::SIGKILL);
            server.says(&format!("worker={} … ready", 3 + number));
        }
        assert_eq!(status(server, post), 413, "{}", class.name);
        eventually("its line is in the file", || {
            server.directory.read("access.log").contains("new 413")
        });
    }
}

#[test]
fn a_hundred_edits_in_a_row_under_load() {
    for class in &CLASSES {
        let live = class.start("[reload]\ndebounce = '10ms'\n[log]\naccess = 'off'");
        for round in 0..100 {
            let size = 1000 + round;
            let target = ["off", "access.log", "other.log"][round % 3];
            live.server.edit(&format!(
                "{}\nworkers = 2\n[reload]\ndebounce = '10ms'\n[log]\naccess = '{target}'\n[limits]\nbody = {size}",
                class.config
            ));
            within(Duration::from_millis(15), || false);
        }
        let config = "[reload]\ndebounce = '10ms'\n[log]\naccess = 'off'\n[limits]\nbody = 2";
        let server = live.change("limits.body", config);
        let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n123";
        // What was said may have been about the edit before.
        eventually(&format!("{} goes by the last edit", class.name), || {
            status(server, post) == 413
        });
        live.end();
    }
}

#[test]
fn an_edit_during_a_roll_is_for_the_new_workers_alone() {
    let slow = format!("import time\ntime.sleep(5)\n{APP}");
    let server = Server::start("");
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n123";
    server.directory.write("app.py", &slow);
    server.edit("proc_name = 'new'");
    server.says("rolling generation=2");
    server.edit("proc_name = 'new'\n[limits]\nbody = 2");
    server.says("limits.body 100MiB -> 2B (live)");
    assert_eq!(
        status(&server, post),
        200,
        "the old worker serves on as before"
    );
    server.says("reload=2 done in … generation=2");
    eventually("the old worker is gone", || server.generations().len() == 1);
    assert_eq!(status(&server, post), 413);
    assert!(!server.log().contains("generation=3"));
}

#[test]
fn what_comes_back_from_probation_has_what_it_had() {
    let probation = "\n[reload]\nprobation = '30s'";
    let server = Server::start(&format!("preload = true{probation}"));
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n123";
    server.edit(&format!(
        "preload = true\n{probation}\n[limits]\nbody = 1000"
    ));
    server.says("done in");
    server.edit(&format!(
        "preload = true\nproc_name = 'new'{probation}\n[limits]\nbody = 1000"
    ));
    server.says("on probation");
    server.edit(&format!(
        "preload = true\nproc_name = 'new'{probation}\n[limits]\nbody = 2"
    ));
    server.says("limits.body 1000B -> 2B (live)");
    server.says("done in");
    assert_eq!(status(&server, post), 413);
    let from = server.log().len();
    for _ in 0..2 {
        eventually("a worker of the new generation dies", || {
            let pid = Client::try_to(&server.address())
                .ok()
                .and_then(|mut client| {
                    client.send("GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                    client.try_response("GET").ok()?.text().parse().ok()
                });
            let process = pid.and_then(Process::find);
            process
                .map(|process| process.signal(Signal::SIGKILL))
                .is_some()
        });
        eventually("it is noticed", || {
            server.log()[from..].contains(" died of ")
        });
    }
    server.says("rolled back: … not in force: … limits.body 1000B -> 2B (live)");
    server.says("rolled back in");
    assert_eq!(status(&server, post), 200);
}

#[test]
fn an_edit_after_an_upgrade_reaches_the_workers_from_before() {
    let live = CLASSES[0].start("");
    live.server.signal(Signal::SIGUSR2);
    live.server.says("upgrade done");
    let config = "[limits]\nbody = 2\n[log]\naccess = 'access.log'\nformat = '%(s)s'";
    let server = live.change("limits.body", config);
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n123";
    assert_eq!(status(server, post), 413);
    eventually("its line is in the file", || {
        server.directory.read("access.log").contains("413")
    });
    live.end();
}

#[test]
fn a_change_of_workers_and_of_a_limit_is_one_change() {
    let server = Server::start("");
    let before = workers(&server);
    server.edit("workers = 2\n[limits]\nbody = 2");
    server.says("workers 1 -> 2 (scale), limits.body 100MiB -> 2B (live)");
    server.says("done in");
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n123";
    for _ in 0..8 {
        assert_eq!(status(&server, post), 413);
    }
    let after = workers(&server);
    assert!(after.contains(&before[0]) && after.len() == 2);
}

#[test]
fn a_worker_whose_app_is_busy_takes_it_all_the_same() {
    let server = Server::start("");
    let since = Instant::now();
    let mut busy = server.busy_with("/sleep?s=6");
    server.edit("[timeouts]\nheader = '1s'");
    server.says("done in");
    assert!(since.elapsed() < Duration::from_secs(6), "the app slept on");
    assert_eq!(begun(&server, "GET / HT"), 408);
    assert_eq!(busy.response().text(), "slept");
}
