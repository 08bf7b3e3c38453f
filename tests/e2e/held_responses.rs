//! Responses that wait for company: they all go out, in order, and none waits for a call that lasts.

use std::time::{Duration, Instant};

use crate::harness::{Client, Server, Setup};

/// Its iterable has a `close`, as a framework's.
const APP: &str = r#"
import time

class Closing(list):
    def close(self):
        if self[0] == b'/closes-slowly':
            time.sleep(SECONDS)

SECONDS = 2

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/blocks':
        time.sleep(SECONDS)
    body = path.encode('latin-1')
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return Closing([body])
"#;
/// Nothing that is sent before the long call ends needs as long as that.
const IN_TIME: Duration = Duration::from_millis(1800);
const ROUNDS: usize = 3;

fn server(config: &str) -> Server {
    let config = format!("app = 'app:application'\n{config}");
    let server = Setup::with(&config).app(APP).start();
    assert_eq!(server.text("/warm"), "/warm");
    server
}

/// Sends a request on each of the clients: the first wakes the worker, the others come together meanwhile.
fn send(clients: &mut [Client], targets: &[&str]) -> Instant {
    for (client, target) in clients.iter_mut().zip(targets) {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    Instant::now()
}

fn clients(server: &Server, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/warm").text(), "/warm");
    }
    clients
}

#[test]
fn a_response_does_not_wait_for_the_next_call_if_that_blocks() {
    for config in ["", "threads = 2"] {
        let server = server(config);
        let targets = ["/1", "/2", "/3", "/blocks", "/5", "/6", "/7"];
        let mut clients = clients(&server, targets.len());
        for _ in 0..ROUNDS {
            let sent = send(&mut clients, &targets);
            for (client, target) in clients.iter_mut().zip(targets) {
                assert_eq!(client.response().text(), target);
                let is_before = target < "/4";
                assert!(!is_before || sent.elapsed() < IN_TIME, "{target} waited");
            }
        }
    }
}

#[test]
fn a_response_does_not_wait_for_its_own_close_if_that_lasts() {
    let server = server("");
    let targets = ["/1", "/2", "/closes-slowly", "/4", "/5"];
    let mut clients = clients(&server, targets.len());
    for _ in 0..ROUNDS {
        let sent = send(&mut clients, &targets);
        for (number, (client, target)) in clients.iter_mut().zip(targets).enumerate() {
            assert_eq!(client.response().text(), target);
            assert!(number > 2 || sent.elapsed() < IN_TIME, "{target} waited");
        }
    }
}

#[test]
fn pipelined_responses_in_company_keep_their_order() {
    let server = server("");
    let mut clients = clients(&server, 16);
    for _ in 0..ROUNDS {
        for client in &mut clients {
            let request = |number| format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n");
            client.send((0..8).map(request).collect::<String>());
        }
        for client in &mut clients {
            for number in 0..8 {
                assert_eq!(client.response().text(), format!("/{number}"));
            }
        }
    }
}

#[test]
fn a_response_in_company_ends_its_connection_if_it_says_so() {
    let server = server("");
    let mut clients = clients(&server, 16);
    for client in &mut clients {
        client.send("GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    }
    for client in &mut clients {
        let response = client.response();
        assert_eq!(response.text(), "/last");
        assert!(response.says_close());
        client.expect_closed();
    }
}

#[test]
fn a_client_that_leaves_before_its_response_goes_out_harms_no_other() {
    let server = server("");
    for _ in 0..ROUNDS {
        let mut clients = clients(&server, 16);
        send(&mut clients, &["/some"; 16]);
        for (number, mut client) in clients.into_iter().enumerate() {
            if number % 2 == 0 {
                client.reset();
            } else {
                assert_eq!(client.response().text(), "/some");
            }
        }
    }
    assert_eq!(server.text("/after"), "/after");
}
