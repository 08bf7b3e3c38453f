//! Bodies of requests: whole, large, slow, wrong, unwanted.

use super::{counter, start};
use crate::harness::eventually;

#[test]
fn bodies_arrive_however_they_are_sent() {
    let server = start("");
    let mut client = server.client();
    let large = "0123456789".repeat(100_000);
    assert_eq!(client.post("/echo", "small").text(), "small");
    assert_eq!(client.post("/echo", &large).text(), large);
    let chunked = client.request(
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(chunked.text(), "abcde");
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn a_large_upload_takes_little_memory() {
    const BYTES: usize = 200 << 20;
    let server = start("[limits]\nbody = '1GiB'");
    let mut client = server.client();
    client.send(format!(
        "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..BYTES >> 20 {
        client.send(&piece);
    }
    let answer = client.response().json();
    assert_eq!(answer["bytes"], BYTES);
    assert!(answer["rss"].as_u64().unwrap() < 80 << 20, "{answer}");
}

#[test]
fn continue_is_sent_when_the_app_asks_for_the_body() {
    let server = start("");
    let head = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut client = server.client();
    client.send(head("/echo"));
    assert_eq!(client.some().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().text(), "body");
    let unread = server.client().request(&head("/unread"));
    assert_eq!((unread.status, unread.interim.len()), (200, 0));
    assert!(unread.says_close(), "the body may still come");
}

#[test]
fn a_body_that_nobody_reads_costs_the_connection_only_where_it_is_not_there_yet() {
    let server = start("");
    let mut client = server.client();
    for body in [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = client.request(&format!("POST /unread HTTP/1.1\r\nHost: test\r\n{body}"));
        assert!(answer.status == 200 && !answer.says_close(), "{body}");
    }
    assert_eq!(client.get("/").text(), "hello from /");
    let half =
        "POST /unread HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n";
    assert!(client.request(half).says_close(), "the rest may still come");
}

#[test]
fn an_app_that_answers_before_the_body_is_there_is_heard() {
    let server = start("[limits]\nbody = '100MiB'");
    let mut client = server.client();
    client.send("POST /unread HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "did not look");
    assert!(response.says_close());
}

#[test]
fn a_body_that_is_wrong_is_refused_and_the_app_is_told() {
    let server = start("[limits]\nbody = '1KiB'\n[timeouts]\nbody = 1");
    let chunked = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        (format!("{chunked}zz\r\n"), 400),
        (
            format!("{chunked}{:x}\r\n{}\r\n0\r\n\r\n", 5000, "x".repeat(5000)),
            413,
        ),
        (format!("{chunked}5\r\nab"), 408),
    ];
    for (number, (request, status)) in cases.iter().enumerate() {
        let mut client = server.client();
        client.send(request);
        assert_eq!(client.response().status, *status, "{request:.80}");
        eventually("the app was told", || {
            counter(&server, "cut") == (number + 1).to_string()
        });
    }
    let mut client = server.client();
    client.send(format!("{chunked}5\r\nab"));
    client.finish_sending();
    assert_eq!(client.response().status, 400);
    assert_eq!(counter(&server, "complete"), "0");
}

#[test]
fn a_client_that_has_finished_sending_has_its_body_read_however_late() {
    let server = start("");
    let mut client = server.client();
    client.send("POST /late-read?s=1 HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
    client.finish_sending();
    assert_eq!(client.response().text(), "body");
    assert_eq!(counter(&server, "cut"), "0");
}
