//! Where it listens, who may ask, and who cannot hurt it.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    time::Duration,
};

use nix::sys::signal::Signal;

use super::support::{client, get, socket, status};
use crate::harness::{Address, Client, Server, Setup, eventually, free_port};

const TOKEN: &str = "0123456789abcdef";

/// A server with TCP, and where that is.
fn with_tcp(more: &str) -> (Server, Address) {
    let port = free_port();
    let server = Server::start(&format!(
        "[admin]\naddress = '127.0.0.1:{port}'\ntoken = '{TOKEN}'\n{more}"
    ));
    (server, Address::Tcp(([127, 0, 0, 1], port).into()))
}

fn ask(address: &Address, method: &str, path: &str, fields: &str) -> u16 {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n");
    Client::to(address).request(&request).status
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn two_instances_of_one_file_have_a_socket_each_and_leave_nothing() {
    let (first, second) = (Server::start(""), Server::start(""));
    let sockets = [socket(&first), socket(&second)];
    assert_ne!(sockets[0], sockets[1]);
    for (server, socket) in [(&first, &sockets[0]), (&second, &sockets[1])] {
        assert_eq!(status(server)["pid"], server.arbiter().pid);
        let mode = fs::metadata(socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop((first, second));
    assert!(!sockets[0].exists() && !sockets[1].exists());
}

#[test]
fn the_socket_of_a_server_that_was_killed_goes_with_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let setup = Setup::with("").environment("XDG_RUNTIME_DIR", folder.path());
        setup.start()
    };
    let (killed, lives) = (start(), start());
    let place = |server: &Server| {
        let name = format!("rgunicorn-{}.sock", server.arbiter().pid);
        folder.path().join(name)
    };
    let (stale, used) = (place(&killed), place(&lives));
    killed.signal(Signal::SIGKILL);
    killed.ended();
    assert!(stale.exists() && used.exists());
    let next = start();
    assert!(!stale.exists());
    for server in [&lives, &next] {
        assert!(place(server).exists());
        assert_eq!(status(server)["pid"], server.arbiter().pid);
    }
}

#[test]
fn a_page_of_another_site_changes_nothing_at_the_unix_socket_under_any_name() {
    let server = Server::start("");
    let ask = |host: &str, origin: &str| {
        let request = format!(
            "POST /log-level?level=debug HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n"
        );
        client(&server).request(&request).status
    };
    assert_eq!(ask("localhost:9000", "http://evil.example"), 403);
    // Its own name, made to resolve to the forwarded port.
    assert_eq!(ask("evil.example:9000", "http://evil.example:9000"), 403);
    assert_eq!(ask("localhost:9000", "http://localhost:9000"), 200);
}

#[test]
fn a_page_whose_name_was_made_to_resolve_here_reads_nothing_at_the_unix_socket() {
    let server = Server::start("");
    // A browser names no origin when a page reads from where it came from itself.
    let read = |path: &str, host: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client(&server).request(&request).status
    };
    for path in ["/", "/status", "/events", "/config", "/healthz", "/nothing"] {
        assert_eq!(read(path, "evil.example:9000"), 403, "{path}");
    }
    for host in [
        "localhost",
        "localhost:9000",
        "127.0.0.1:9000",
        "[::1]",
        "x",
        "",
    ] {
        assert_eq!(read("/status", host), 200, "{host:?}");
    }
}

#[test]
fn a_path_of_ones_own_is_replaced_when_stale_and_left_when_in_use() {
    let config = "[admin]\nsocket = 'admin.sock'";
    let setup = Setup::with(config);
    let path = setup.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "stale");
    let server = setup.start();
    assert_eq!(socket(&server), path);
    assert_eq!(get(&server, "/healthz").status, 200);

    let setup = Setup::with(config);
    let living = UnixListener::bind(setup.path().join("admin.sock")).unwrap();
    let second = setup.start();
    let line = second.says("no admin interface on a UNIX socket");
    assert!(line.contains("is already in use"), "{line}");
    assert_eq!(second.get("/").status, 200, "it serves without");
    drop(living);
}

#[test]
fn a_socket_that_cannot_be_made_is_a_warning() {
    let server = Server::start("[admin]\nsocket = '/proc/no/such/admin.sock'");
    server.says("[WARNING] no admin interface on a UNIX socket");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn the_sockets_follow_the_file_without_a_new_worker() {
    let server = Server::start("");
    let before = socket(&server);
    let worker = server.worker();
    server.edit("[admin]\nsocket = 'admin-{pid}.sock'");
    server.says("reload=1 done");
    let pid = server.arbiter().pid;
    let after = server.directory.path().join(format!("admin-{pid}.sock"));
    assert_eq!(socket(&server), after);
    eventually("the old one is gone", || !before.exists());
    eventually("the status tells", || {
        status(&server)["reload"]["outcome"] == "done"
    });
    server.edit("[admin]\nsocket = 'off'");
    server.says("reload=2 done");
    eventually("it is off", || !after.exists());
    assert_eq!(server.worker(), worker);
}

#[test]
fn the_address_moves_between_those_that_overlap() {
    let (server, address) = with_tcp("");
    let Address::Tcp(place) = address else {
        unreachable!("with_tcp gives no other");
    };
    let port = place.port();
    for (number, host) in [(1, "0.0.0.0"), (2, "127.0.0.1")] {
        server.edit(&format!(
            "[admin]\naddress = '{host}:{port}'\ntoken = '{TOKEN}'"
        ));
        server.says(&format!("reload={number} done"));
        server.says(&format!("admin interface at http://{host}:{port}"));
        assert_eq!(ask(&address, "GET", "/healthz", ""), 200);
    }
}

#[test]
fn a_stranger_needs_the_token() {
    let (server, address) = with_tcp("");
    assert_eq!(ask(&address, "GET", "/healthz", ""), 200);
    eventually("it is ready", || ask(&address, "GET", "/readyz", "") == 200);
    for fields in [
        String::new(),
        bearer("0123456789abcdeg"),
        bearer(""),
        "Authorization: Basic YTpi\r\n".to_owned(),
    ] {
        assert_eq!(ask(&address, "GET", "/status", &fields), 401, "{fields}");
        assert_eq!(ask(&address, "POST", "/stop", &fields), 401, "{fields}");
        assert_eq!(ask(&address, "GET", "/nothing", &fields), 401, "{fields}");
    }
    assert_eq!(ask(&address, "GET", "/status", &bearer(TOKEN)), 200);
    assert_eq!(ask(&address, "GET", "/nothing", &bearer(TOKEN)), 404);
    assert!(!server.log().contains(TOKEN));
}

#[test]
fn what_is_open_is_for_reading_and_by_address_only() {
    let (_server, address) = with_tcp("open = ['/status', '/stop']");
    assert_eq!(ask(&address, "GET", "/status", ""), 200);
    assert_eq!(ask(&address, "POST", "/stop", ""), 401);
    // A page whose name was made to resolve to this machine.
    let rebound = "GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(Client::to(&address).request(rebound).status, 403);
    // A page of another site, with whatever it may know.
    let origin = format!("Origin: http://evil.example\r\n{}", bearer(TOKEN));
    assert_eq!(ask(&address, "POST", "/stop", &origin), 403);
}

#[test]
fn a_probe_that_names_no_host_is_answered() {
    let (_server, address) = with_tcp("");
    let probe = |path: &str| {
        let mut client = Client::to(&address);
        client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        client.response().status
    };
    assert_eq!(probe("/healthz"), 200);
    eventually("it is ready", || probe("/readyz") == 200);
    assert_eq!(probe("/status"), 401);
}

#[test]
fn the_token_comes_from_the_environment_or_a_file_too() {
    let port = free_port();
    let config = format!("[admin]\naddress = '127.0.0.1:{port}'");
    let address = Address::Tcp(([127, 0, 0, 1], port).into());
    let server = Setup::with(&config)
        .environment("RGUNICORN_ADMIN_TOKEN", TOKEN)
        .start();
    assert_eq!(ask(&address, "GET", "/status", &bearer(TOKEN)), 200);
    drop(server);
    let server = Setup::with(&format!("{config}\ntoken_file = 'token'"))
        .file("token", "fedcba9876543210\n")
        .start();
    assert_eq!(ask(&address, "GET", "/status", &bearer(TOKEN)), 401);
    assert_eq!(
        ask(&address, "GET", "/status", &bearer("fedcba9876543210")),
        200
    );
    drop(server);
    let exit = Setup::with(&config).start_and_fail();
    assert!(
        exit.log.contains("`admin.address` needs a token"),
        "{}",
        exit.log
    );
}

#[test]
fn hostile_clients_hurt_nobody() {
    let (server, address) = with_tcp("");
    // Two hundred that ask for nothing, or slowly.
    let crowd: Vec<Client> = (0..200)
        .map(|number| {
            let mut client = Client::to(&address);
            client.send(if number % 2 == 0 { "" } else { "GET /stat" });
            client
        })
        .collect();
    assert_eq!(get(&server, "/healthz").status, 200);
    assert_eq!(
        ask(&address, "GET", "/healthz", ""),
        200,
        "the latest comer is heard"
    );
    assert!(server.arbiter().open_files().unwrap() < 150);
    drop(crowd);
    for hostile in [
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X: y\r\n".repeat(1000)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
            "x".repeat(100_000)
        ),
        "\u{16}\u{3}\u{1}".to_owned(),
        "POST /stop HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n".to_owned(),
    ] {
        let mut client = client(&server);
        client.send(&hostile);
        let answer = client.response_or_end();
        assert!(answer.is_none_or(|answer| answer.status >= 400));
    }
    assert_eq!(get(&server, "/readyz").status, 200);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn strangers_that_do_not_read_their_answers_keep_nobody_out() {
    let (_server, address) = with_tcp("");
    // More than the buffers on the way hold, in one read of the server's.
    let pages = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(220);
    let crowd: Vec<Client> = (0..32)
        .map(|_| {
            let mut client = Client::to(&address);
            client.send(&pages);
            // The server is in the midst of answering, and stays there.
            assert!(!client.some().unwrap().is_empty());
            client
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(ask(&address, "GET", "/healthz", ""), 200);
    }
    drop(crowd);
}

#[test]
fn a_body_that_trickles_in_is_not_waited_for() {
    let server = Server::start("");
    let mut slow = UnixStream::connect(socket(&server)).unwrap();
    let head = "POST /stop HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    let ended = crate::harness::within(Duration::from_secs(15), || {
        slow.write_all(b"1\r\nx\r\n").is_err()
    });
    assert!(ended);
}

#[test]
fn a_client_that_says_nothing_is_not_waited_for() {
    let server = Server::start("");
    let mut silent = client(&server);
    silent.send("GET /status HT");
    silent.expect_closed();
}
