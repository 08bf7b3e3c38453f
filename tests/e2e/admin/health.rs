//! `/healthz`, `/readyz` and `/status`: what is asked most often, and answered whatever the workers do.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::{client, first_worker, get, status};
use crate::harness::{Server, Setup, eventually};

#[test]
fn health_is_answered_while_all_workers_are_busy() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    let mut busy: Vec<_> = (0..2).map(|_| server.client()).collect();
    for client in &mut busy {
        client.send("GET /sleep?s=2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    eventually("both workers sleep", || {
        let status = status(&server);
        let workers = status["workers"].as_array().unwrap();
        workers.iter().all(|worker| {
            let shown = &worker["in_flight"][0];
            shown["request"] == "GET /sleep?s=2" && shown["seconds"].as_f64().unwrap() < 2.0
        })
    });
    let start = Instant::now();
    assert_eq!(get(&server, "/healthz").status, 200);
    let ready = get(&server, "/readyz");
    assert_eq!(
        (ready.status, &ready.json()["workers_ready"]),
        (200, &2.into())
    );
    assert!(start.elapsed() < Duration::from_secs(1));
    for client in &mut busy {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn a_server_that_starts_or_stops_is_alive_and_not_ready() {
    let server = Setup::with("")
        .app("import time\ntime.sleep(1)\nfrom app2 import application\n")
        .file("app2.py", crate::harness::APP)
        .spawn();
    server.says("admin interface at");
    let ready = get(&server, "/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["why"], "the first workers boot");
    assert_eq!(get(&server, "/healthz").status, 200);
    server.says(" serving");
    eventually("it is ready", || get(&server, "/readyz").status == 200);

    let mut slow = server.client();
    slow.send("GET /sleep?s=5 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("it is with the app", || {
        status(&server)["workers"][0]["in_flight"][0].is_object()
    });
    server.signal(Signal::SIGTERM);
    server.says("stopping");
    eventually("it is not ready any more", || {
        get(&server, "/readyz").status == 503
    });
    let ready = get(&server, "/readyz");
    assert_eq!(ready.json()["why"], "the server stops");
    assert_eq!(ready.status, 503);
    assert_eq!(get(&server, "/healthz").status, 200);
    assert_eq!(slow.response().status, 200);
}

#[test]
fn status_tells_generations_and_workers() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    eventually("it tells so", || status(&server)["workers_ready"] == 2);
    for _ in 0..3 {
        server.get("/");
    }
    let told = status(&server);
    assert_eq!(told["state"], "serving");
    assert_eq!(told["pid"], server.arbiter().pid);
    assert_eq!(
        (&told["workers_ready"], &told["workers_wanted"]),
        (&2.into(), &2.into())
    );
    let generation = &told["generations"][0];
    assert_eq!(
        (&generation["generation"], &generation["state"]),
        (&1.into(), &"serving".into())
    );
    assert_eq!(generation["pid"], server.generations()[0].pid);
    let workers = told["workers"].as_array().unwrap();
    let answered = || -> u64 {
        let status = status(&server);
        let workers = status["workers"].as_array().unwrap();
        let counts = workers.iter().map(|worker| worker["requests"].as_u64());
        counts.map(Option::unwrap).sum()
    };
    eventually("all requests are counted", || answered() == 3);
    for worker in workers {
        assert!(worker["memory_bytes"].as_u64().unwrap() > 1_000_000);
        assert_eq!(worker["state"], "ready");
    }
    assert!(
        server
            .below()
            .iter()
            .any(|process| process.pid == first_worker(&told))
    );
    assert_eq!(told["reload"], serde_json::Value::Null);
}

#[test]
fn several_requests_go_over_one_connection_and_head_has_no_body() {
    let server = Server::start("");
    let mut client = client(&server);
    assert_eq!(client.get("/healthz").status, 200);
    let head = client.request("HEAD /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let nothing = client.get("/nothing");
    assert_eq!(nothing.status, 404);
    assert!(nothing.text().contains("GET /status"), "{nothing:?}");
    let wrong = client.post("/status", "some body");
    assert_eq!(
        (wrong.status, wrong.field("allow")),
        (405, Some("GET".to_owned()))
    );
    // Two at once.
    client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(client.response().text().contains("alive"));
    let last = client.response();
    assert!(last.text().contains("ready") && last.says_close());
}
