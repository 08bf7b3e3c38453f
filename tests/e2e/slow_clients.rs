//! Slow clients cost no thread, and run into their own time limits. Every server here has one thread in one worker.

use std::time::Duration;

use crate::harness::{APP, Client, Server, Setup, eventually};

const ASGI: &str = include_str!("apps/asgi.py");

/// Sends a head byte by byte until the server has had enough.
fn trickle(client: &mut Client, bytes: &str) {
    for byte in bytes.as_bytes() {
        client.send([*byte]);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn assert_serves_others(server: &Server) {
    assert_eq!(
        server.text("/"),
        "hello from /",
        "others are served meanwhile"
    );
}

#[track_caller]
fn assert_given_up(slow: &mut Client) {
    let response = slow.response();
    assert_eq!(response.status, 408);
    assert!(response.says_close());
    slow.expect_closed();
}

#[test]
fn a_head_that_does_not_end_is_answered_408_and_closed() {
    let server = Server::start("[timeouts]\nheader = '1s'");
    let mut slow = server.client();
    slow.send("GET / HTTP/1.1\r\nHost: te");
    assert_serves_others(&server);
    assert_given_up(&mut slow);
}

#[test]
fn a_head_that_trickles_gets_no_more_time() {
    let server = Server::start("[timeouts]\nheader = '1s'");
    let mut slow = server.client();
    trickle(&mut slow, "GET / HTTP/1.1\r\nHo");
    assert_eq!(slow.response().status, 408);
}

#[test]
fn a_connection_on_which_nothing_is_sent_is_closed() {
    let server = Server::start("[timeouts]\nheader = '1s'");
    let answer = server.client().rest().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
}

#[test]
fn a_body_that_stops_is_answered_408_and_the_app_is_not_called() {
    let server = Server::start("[timeouts]\nbody = '1s'");
    let mut slow = server.client();
    slow.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    assert_serves_others(&server);
    assert_given_up(&mut slow);
    assert_eq!(server.text("/counter?name=/echo"), "0");
}

#[test]
fn a_body_that_goes_on_has_all_the_time_it_needs() {
    let server = Server::start("[timeouts]\nbody = '1s'\nheader = '1s'");
    let mut slow = server.client();
    slow.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 14\r\n\r\n");
    trickle(&mut slow, "fourteen bytes");
    assert_eq!(slow.response().text(), "fourteen bytes");
}

#[test]
fn a_body_that_is_there_does_not_run_out_of_time_while_the_app_is_busy() {
    let server = Server::start("[timeouts]\nbody = '1s'");
    let sizes = [100_000, 200_000, 500_000, 3_000_000];
    let mut uploads: Vec<Client> = sizes.iter().map(|_| server.client()).collect();
    for (client, size) in uploads.iter_mut().zip(sizes) {
        client.send(format!(
            "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\nx"
        ));
    }
    let mut busy = server.client();
    busy.send("GET /sleep?s=3 HTTP/1.1\r\nHost: test\r\n\r\n");
    for (client, size) in uploads.iter_mut().zip(sizes) {
        client.send("x".repeat(size - 1));
    }
    for client in &mut uploads {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(busy.response().status, 200);
}

#[test]
fn a_request_that_is_there_does_not_run_out_of_time_while_the_app_is_busy() {
    for class in ["", "threads = 2"] {
        let server = Server::start(&format!(
            "{class}\n[timeouts]\nkeepalive = '2s'\nheader = '2s'"
        ));
        let get = "GET /sleep?s=2.5 HTTP/1.1\r\nHost: test\r\n\r\n";
        let mut idle = server.client();
        assert_eq!(idle.get("/").status, 200);
        // Several at once, of which only the first are with the app: the others wait unread, too.
        let mut busy: Vec<Client> = (0..3).map(|_| server.client()).collect();
        for client in &mut busy {
            client.send(get);
        }
        std::thread::sleep(Duration::from_millis(500));
        idle.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(idle.response().status, 200, "{class}");
        for mut client in busy {
            assert_eq!(client.response().status, 200, "{class}");
        }
    }
}

#[test]
fn what_came_in_time_is_served_after_an_app_that_blocked_the_loop() {
    let timeouts = "app = 'app:app'\n[timeouts]\nkeepalive = '1s'\nheader = '1s'\nbody = '1s'";
    let server = Setup::with(timeouts).app(ASGI).start();
    let mut idle = server.client();
    assert_eq!(idle.get("/").status, 200);
    let mut half = server.client();
    half.send("GET / HTTP/1.1\r\nHo");
    let mut busy = server.busy_with("/block?s=2.5");
    idle.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    half.send("st: test\r\n\r\n");
    assert_eq!(busy.response().status, 200);
    assert_eq!(idle.response().status, 200);
    assert_eq!(half.response().status, 200);
}

#[test]
fn a_connection_is_kept_alive_from_its_response_on_after_an_app_that_blocked_the_loop() {
    let config = "app = 'app:app'\nworker_class = 'asgi'\ntimeouts.keepalive = '2s'";
    let server = Setup::with(config).app(ASGI).start();
    let mut client = server.client();
    assert_eq!(client.get("/block?s=2.5").text(), "blocked");
    // The loop turns, and looks at what is due.
    assert_eq!(server.text("/"), "hello from /");
    client.expect_silence(Duration::from_millis(200));
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn a_body_that_came_in_time_is_received_after_an_app_that_blocked_the_loop() {
    let server = Setup::with("app = 'app:app'\n[timeouts]\nbody = '1s'")
        .app(ASGI)
        .start();
    let framings = [
        ("Content-Length: 6", "abc", "def"),
        (
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n",
            "3\r\ndef\r\n0\r\n\r\n",
        ),
    ];
    let mut uploads: Vec<Client> = framings.iter().map(|_| server.client()).collect();
    for (client, (framing, beginning, _)) in uploads.iter_mut().zip(framings) {
        client.send(format!(
            "POST /echo HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{beginning}"
        ));
    }
    let mut stuck = server.client();
    stuck.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc");
    std::thread::sleep(Duration::from_millis(300));
    let mut busy = server.busy_with("/block?s=2.5");
    for (client, (.., rest)) in uploads.iter_mut().zip(framings) {
        client.send(rest);
    }
    assert_eq!(busy.response().status, 200);
    for client in &mut uploads {
        assert_eq!(client.response().text(), "abcdef");
    }
    assert_given_up(&mut stuck);
}

#[test]
fn an_app_in_a_loop_may_take_longer_than_its_client_may() {
    let timeouts = "app = 'app:app'\n[timeouts]\nkeepalive = '1s'\nheader = '1s'\nbody = '1s'";
    let server = Setup::with(timeouts).app(ASGI).start();
    let mut client = server.client();
    // The first request of a connection, and a further one; neither has a body, and the app asks for none.
    for _ in 0..2 {
        assert_eq!(client.get("/sleep?s=2.5").text(), "slept");
    }
}

#[test]
fn a_client_that_read_in_time_gets_everything_after_an_app_that_blocked_the_loop() {
    let server = Setup::with("app = 'app:app'\n[timeouts]\nwrite = '1s'")
        .app(ASGI)
        .start();
    // A response that is complete, and one that its app still makes.
    for target in ["/large?size=30000000", "/flood?size=30015488"] {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        std::thread::sleep(Duration::from_millis(300));
        let mut busy = server.busy_with("/block?s=2.5");
        let response = client.response();
        assert!(response.body.len() >= 30_000_000, "{target}");
        assert_eq!(busy.response().status, 200);
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_the_response_closed() {
    let server = Server::start("[timeouts]\nwrite = '1s'");
    let mut slow = server.client();
    slow.send("GET /large?size=50000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_serves_others(&server);
    eventually("the response is closed", || {
        server.text("/counter?name=closed+large") == "1"
    });
    // The response was closed when it was complete; who does not take it is dropped after `timeouts.write`.
    std::thread::sleep(Duration::from_secs(3));
    // What the kernels had buffered comes, then the end.
    assert!(slow.rest_until_closed().len() < 50_000_000);
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let server = Server::start("[timeouts]\nwrite = '1s'");
    let mut slow = server.client();
    slow.send("GET /large?size=8000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut received = 0;
    while received < 8_000_000 {
        received += slow.some().unwrap().len();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_hundred_slow_clients_cost_no_thread() {
    let server = Server::start("");
    let worker = crate::harness::Process::find(server.worker()).unwrap();
    let threads = worker.threads();
    let mut slow: Vec<Client> = (0..200).map(|_| server.client()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.send(match number % 20 {
            0..=6 => "",
            7..=12 => "GET / HT",
            13..=18 => "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc",
            _ => "GET /large?size=9000000 HTTP/1.1\r\nHost: test\r\n\r\n",
        });
    }
    for _ in 0..20 {
        assert_eq!(server.text("/"), "hello from /");
    }
    assert_eq!(worker.threads(), threads);
}

#[test]
fn a_kept_alive_connection_that_idles_is_closed_without_a_word() {
    let server = Server::start("[timeouts]\nkeepalive = '1s'");
    let mut client = server.client();
    assert_eq!(client.get("/").text(), "hello from /");
    client.expect_closed();
}

#[test]
fn without_keepalive_every_response_says_so() {
    let server = Server::start("[timeouts]\nkeepalive = 0");
    let mut client = server.client();
    assert!(client.get("/").says_close());
    client.expect_closed();
}

#[test]
fn at_the_limit_of_connections_new_ones_wait() {
    let server = Server::start("[limits]\nconnections = 4");
    let mut held: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut held {
        assert_eq!(client.get("/").text(), "hello from /");
    }
    let mut waits = server.client();
    waits.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    waits.expect_silence(Duration::from_millis(300));
    assert_eq!(
        held[0].get("/").text(),
        "hello from /",
        "those inside are served"
    );
    drop(held);
    assert_eq!(waits.response().text(), "hello from /");
}

#[test]
fn a_worker_without_descriptors_serves_those_it_has_and_lets_others_wait() {
    let few = "import os, resource
used = len(os.listdir('/proc/self/fd'))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, used + 20))
";
    let server = Setup::with("").app(&format!("{few}{APP}")).start();
    let mut clients: Vec<Client> = (0..40).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    server.says("cannot accept: Too many open files");
    // In the order in which they came; each makes room for another.
    for mut client in clients {
        assert_eq!(client.response().text(), "hello from /");
    }
    assert_eq!(server.text("/"), "hello from /");
}
