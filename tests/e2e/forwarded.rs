//! What trusted proxies tell about the client, and who else could.

use crate::harness::{Server, Setup};

const APP: &str = include_str!("apps/client.py");

/// The same for WSGI and ASGI.
const KINDS: [&str; 2] = ["app = 'app:application'", "app = 'app:app'"];

#[track_caller]
fn start(kind: &str, config: &str) -> Server {
    Setup::with(&format!("{kind}\n{config}")).app(APP).start()
}

/// What the app says to a request with these fields, or the status of a refusal.
#[track_caller]
fn told(server: &Server, fields: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: inner:81\r\n{fields}\r\n");
    let response = server.client().request(&request);
    match response.status {
        200 => response.text(),
        status => status.to_string(),
    }
}

/// Without the peer's port, which nobody chose.
#[track_caller]
fn told_by_loopback(server: &Server, fields: &str) -> String {
    let told = told(server, fields);
    match told.split_once("127.0.0.1:") {
        Some((before, _)) => format!("{before}peer"),
        None => told,
    }
}

#[test]
fn a_proxy_on_this_machine_tells_address_and_scheme() {
    for kind in KINDS {
        let server = start(kind, "");
        for (fields, expected) in [
            (
                "X-Forwarded-For: 192.0.2.1\r\n",
                "192.0.2.1 - http inner:81 peer",
            ),
            (
                "X-Forwarded-For: 192.0.2.1:99\r\n",
                "192.0.2.1 99 http inner:81 peer",
            ),
            (
                "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 127.0.0.1\r\n",
                "192.0.2.1 - http inner:81 peer",
            ),
            (
                "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n",
                "192.0.2.1 - http inner:81 peer",
            ),
            (
                "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
                "192.0.2.1 - https inner:81 peer",
            ),
            (
                "X-Forwarded-For: ::ffff:192.0.2.1\r\nX-Forwarded-Ssl: on\r\n",
                "192.0.2.1 - https inner:81 peer",
            ),
            (
                "X-Forwarded-For: 2001:db8::1\r\n",
                "2001:db8::1 - http inner:81 peer",
            ),
            (
                "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
                "400",
            ),
        ] {
            assert_eq!(
                told_by_loopback(&server, fields),
                expected,
                "{kind}: {fields:?}"
            );
        }
        // Nothing that is not believed changes anything: these end with the peer's own address and port.
        for fields in [
            "",
            "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n",
            "Forwarded: for=6.6.6.6;proto=https;host=evil\r\n",
            "X-Forwarded-For: unknown\r\n",
        ] {
            let told = told(&server, fields);
            assert!(told.starts_with("127.0.0.1 "), "{kind}: {fields:?}: {told}");
            assert!(
                told.ends_with(" http inner:81 -"),
                "{kind}: {fields:?}: {told}"
            );
        }
    }
}

#[test]
fn a_stranger_is_not_believed() {
    for kind in KINDS {
        let server = start(
            kind,
            "[proxy]\nforwarded_allow_ips = '10.0.0.0/8'\nforwarded_host = true",
        );
        let fields = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                      Forwarded: for=\"\r\nX-Forwarded-Ssl: off\r\n";
        let told = told(&server, fields);
        assert!(
            told.starts_with("127.0.0.1 ") && told.ends_with(" http inner:81 -"),
            "{kind}: {told}"
        );
    }
}

#[test]
fn where_everyone_is_trusted_only_what_the_peer_added_counts() {
    let server = start(KINDS[0], "[proxy]\nforwarded_allow_ips = '*'");
    let told = told_by_loopback(&server, "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n");
    assert_eq!(told, "192.0.2.1 - http inner:81 peer");
}

#[test]
fn the_standard_header_is_read_where_it_is_asked_for_and_then_alone() {
    for kind in KINDS {
        let server = start(kind, "[proxy]\nforwarded = 'forwarded'");
        for (fields, expected) in [
            (
                "Forwarded: for=6.6.6.6, for=\"192.0.2.1:99\";proto=https, for=127.0.0.1\r\n",
                "192.0.2.1 99 https inner:81 peer",
            ),
            (
                "Forwarded: for=\"[2001:db8::1]\";host=outer\r\n",
                "2001:db8::1 - http inner:81 peer",
            ),
            (
                "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n",
                "192.0.2.1 - http inner:81 peer",
            ),
            ("Forwarded: for=6.6.6.6;x=\", for=192.0.2.1\r\n", "400"),
        ] {
            assert_eq!(
                told_by_loopback(&server, fields),
                expected,
                "{kind}: {fields:?}"
            );
        }
    }
}

#[test]
fn host_and_port_are_taken_where_they_are_asked_for() {
    for kind in KINDS {
        let server = start(kind, "[proxy]\nforwarded_host = true");
        for (fields, host) in [
            ("X-Forwarded-Host: outer\r\n", "outer"),
            (
                "X-Forwarded-Host: outer\r\nX-Forwarded-Port: 8443\r\n",
                "outer:8443",
            ),
            (
                "X-Forwarded-Host: outer:1\r\nX-Forwarded-Port: 8443\r\n",
                "outer:1",
            ),
            (
                "X-Forwarded-Host: outer\r\nX-Forwarded-Port: 80\r\n",
                "outer",
            ),
            ("X-Forwarded-Host: evil, outer\r\n", "outer"),
            ("X-Forwarded-Port: 8443\r\n", "inner:81"),
        ] {
            let told = told(&server, fields);
            assert!(
                told.ends_with(&format!(" http {host} -")),
                "{kind}: {fields:?}: {told}"
            );
        }
        let https =
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\nX-Forwarded-Port: 443\r\n";
        assert!(told(&server, https).ends_with(" https outer -"), "{kind}");
        assert_eq!(told(&server, "X-Forwarded-Host: a b\r\n"), "400");
        // Without a Host of its own, too.
        let request = "GET / HTTP/1.0\r\nX-Forwarded-Host: outer\r\n\r\n";
        let told = server.client().request(request).text();
        assert!(told.ends_with(" http outer -"), "{kind}: {told}");
    }
    let server = start(KINDS[0], "[proxy]\nforwarded_host = true");
    let request = "GET /server HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Host: outer\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!(server.client().request(request).text(), "outer 443");
}

#[test]
fn gunicorns_behaviour_can_be_had() {
    for kind in KINDS {
        let server = start(kind, "[proxy]\nforwarded = 'off'");
        let told = told(
            &server,
            "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
        );
        assert!(
            told.starts_with("127.0.0.1 ") && told.ends_with(" https inner:81 -"),
            "{kind}: {told}"
        );
    }
}

#[test]
fn a_unix_socket_is_trusted_by_its_permissions() {
    for kind in KINDS {
        let server = start(kind, "bind = 'unix:run.sock'");
        assert_eq!(told(&server, ""), "- - http inner:81 -", "{kind}");
        let fields = "X-Forwarded-For: 192.0.2.1:99\r\nX-Forwarded-Proto: https\r\n";
        assert_eq!(
            told(&server, fields),
            "192.0.2.1 99 https inner:81 unix",
            "{kind}"
        );
    }
    let server = start(KINDS[0], "bind = 'unix:run.sock'");
    let request = "GET /server HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!(server.client().request(request).text(), "inner 443");
}

#[test]
fn requests_that_never_reach_the_app_are_logged_with_their_client() {
    let config =
        "[log]\nformat = '%(h)s %(s)s %(U)s'\n[limits]\nbody = 10\n[timeouts]\nbody = '1s'";
    let server = start(KINDS[0], config);
    for (target, status, body) in [
        ("/length", 413, "Content-Length: 11\r\n\r\n"),
        (
            "/chunks",
            413,
            "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n",
        ),
        ("/pause", 408, "Content-Length: 10\r\n\r\n0"),
        ("/rule", 400, "Content-Length: x\r\n\r\n"),
    ] {
        let mut client = server.client();
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n{body}"
        ));
        assert_eq!(client.response().status, status, "{target}");
        server.prints(&format!("192.0.2.1 {status} {target}"));
    }
}

#[test]
fn each_request_of_a_connection_has_the_client_it_tells() {
    for kind in KINDS {
        let server = start(kind, "[log]\nformat = '%(h)s by %(peer)s for %(U)s'");
        let mut client = server.client();
        let request = |target: &str, fields: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
        };
        // Pipelined.
        client.send(
            request("/1", "X-Forwarded-For: 192.0.2.1\r\n")
                + &request("/2", "")
                + &request("/3", "X-Forwarded-For: 192.0.2.3\r\n"),
        );
        let answers: Vec<String> = (0..3).map(|_| client.response().text()).collect();
        assert!(answers[0].starts_with("192.0.2.1 - "), "{answers:?}");
        assert!(
            answers[1].starts_with("127.0.0.1 ") && !answers[1].contains("127.0.0.1 - "),
            "{answers:?}"
        );
        assert!(answers[2].starts_with("192.0.2.3 - "), "{answers:?}");
        server.prints("192.0.2.1 by 127.0.0.1:…for /1");
        server.prints("127.0.0.1 by 127.0.0.1:…for /2");
        server.prints("192.0.2.3 by 127.0.0.1:…for /3");
    }
}
