//! What is written, where, and in which form.

mod daemons;
mod files;
mod json;
mod live;
mod output;
mod own_answers;
mod request_id;
mod slow;

use crate::harness::{Address, Client, Server, Setup, eventually};

/// A server whose error log need not be in the form that the harness reads: it listens on a UNIX socket. `[log]` is the
/// last table that the config may begin.
#[track_caller]
fn start_unseen(setup: Setup) -> (Server, Address) {
    let server = setup.spawn();
    let address = Address::Unix(server.directory.path().join("run.sock"));
    eventually("it serves", || Client::try_to(&address).is_ok());
    (server, address)
}

/// A request with all that the access log can tell, and the line that was written for it.
fn line(format: &str) -> String {
    let server = Server::start(&format!("[log]\nformat = '''{format}'''"));
    server.client().request(
        "GET /a%20b?q=1 HTTP/1.1\r\nHost: test\r\nReferer: http://from/\r\nUser-Agent: agent \"x\"\r\n\
         Authorization: Basic bWU6c2VjcmV0\r\nX-Id: 7\r\n\r\n",
    );
    server.prints("")
}

#[test]
fn the_access_log_is_combined_and_on_stdout_unless_told_otherwise() {
    let server = Server::start("");
    server.client().request(
        "GET /x HTTP/1.1\r\nHost: test\r\nReferer: http://from/\r\nUser-Agent: browser\r\n\r\n",
    );
    let line = server.prints("/x");
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.ends_with("] \"GET /x HTTP/1.1\" 200 13 \"http://from/\" \"browser\""),
        "{line}"
    );
}

#[test]
fn common_ends_with_the_size() {
    let line = line("common");
    assert!(line.starts_with("127.0.0.1 - me ["), "{line}");
    assert!(
        line.ends_with("] \"GET /a%20b?q=1 HTTP/1.1\" 200 15"),
        "{line}"
    );
}

#[test]
fn json_is_one_object_per_line() {
    let line = line("json");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = object.to_string();
    for part in [
        "127.0.0.1",
        "GET",
        "/a%20b",
        "200",
        "agent \\\"x\\\"",
        "http://from/",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn gunicorns_atoms_say_what_gunicorns_say() {
    let line = line(
        "%(h)s %(l)s %(u)s|%(r)s|%(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %(b)s|%(f)s|%({x-id}i)s %({content-length}o)s %({REQUEST_METHOD}e)s %({nothing}i)s",
    );
    assert_eq!(
        line,
        "127.0.0.1 - me|GET /a%20b?q=1 HTTP/1.1|GET /a b q=1 HTTP/1.1 200 15 15|http://from/|7 15 GET -"
    );
}

#[test]
fn environ_variables_are_found_whatever_their_case() {
    let line = line("%({remote_addr}e)s %({REMOTE_ADDR}e)s %({WSGI.url_scheme}e)s %({none}e)s");
    assert_eq!(line, "127.0.0.1 127.0.0.1 http -");
}

#[test]
fn a_template_that_is_an_object_makes_json_of_what_clients_send() {
    let server = Server::start(
        r#"[log]
format = '{"path": "%(U)s", "agent": "%(a)s", "request": "%(r)s"}'"#,
    );
    server.client().request(
        "GET /a%C3%A9%0a%FF HTTP/1.1\r\nHost: test\r\nUser-Agent: caf\u{e9} \"x\" \\\r\n\r\n",
    );
    let object: serde_json::Value = serde_json::from_str(&server.prints("")).unwrap();
    assert_eq!(object["path"], "/a\u{e9}\n\u{fffd}");
    assert_eq!(object["agent"], "caf\u{e9} \"x\" \\");
    assert_eq!(object["request"], "GET /a%C3%A9%0a%FF HTTP/1.1");
}

#[test]
fn nothing_a_client_sends_can_break_a_line() {
    let line = line("%(a)s");
    assert!(
        line == r#"agent \"x\""# || line == r"agent \x22x\x22",
        "{line}"
    );
}

#[test]
fn the_time_a_request_took_is_told_in_four_units() {
    let server = Server::start("[log]\nformat = '%(T)s %(M)s %(D)s %(L)s %(p)s'");
    server.text("/sleep?s=0.2");
    let line = server.prints("");
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words[at].parse::<f64>().unwrap();
    assert_eq!(number(0), 0.0);
    assert!((200.0..2000.0).contains(&number(1)), "{line}");
    assert!((200_000.0..2_000_000.0).contains(&number(2)), "{line}");
    assert!((0.2..2.0).contains(&number(3)), "{line}");
    assert_eq!(
        words[4],
        format!("<{}>", server.workers().first().unwrap_or(&server.worker()))
    );
}

#[test]
fn the_access_log_can_be_off() {
    let server = Server::start("[log]\naccess = 'off'");
    server.text("/");
    server.text("/");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.ended().stdout, "");
}

#[test]
fn requests_that_are_refused_and_apps_that_fail_are_in_the_access_log() {
    let server = Server::start("[log]\nformat = '%(s)s %(m)s'");
    server.get("/error");
    server.prints("500 GET");
    server.client().request("GET / HTTP/1.1\r\n\r\n");
    server.prints("400");
}

#[test]
fn both_logs_can_be_files() {
    let server = Setup::with("[log]\naccess = 'access.log'\nerror = 'error.log'").spawn();
    eventually("ready", || {
        server.directory.read("error.log").contains(" ready")
    });
    let log = server.directory.read("error.log");
    let address = log.split("listening at http://").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap().parse().unwrap();
    let mut client = crate::harness::Client::to(&crate::harness::Address::Tcp(address));
    client.get("/x");
    eventually("logged", || {
        server.directory.read("access.log").contains("GET /x")
    });
    client.get("/error");
    eventually("logged", || {
        server.directory.read("error.log").contains("on purpose")
    });
}

#[test]
fn error_log_lines_have_gunicorns_form() {
    let server = Server::start("");
    let line = server.says("listening at");
    let (time, rest) = line.strip_prefix('[').unwrap().split_once("] [").unwrap();
    assert_eq!(time.len(), "2026-11-21 02:42:56 +0000".len(), "{line}");
    let expected = format!(
        "{}] [INFO] listening at http://127.0.0.1:",
        server.arbiter().pid
    );
    assert!(rest.starts_with(&expected), "{line}");
    let ready = server.says(" ready");
    for key in ["generation=1", "worker=1", "pid="] {
        assert!(ready.contains(key), "{ready}");
    }
}

#[test]
fn the_level_silences_what_matters_less() {
    let server = Setup::with("bind = 'unix:run.sock'\n[log]\nlevel = 'error'").spawn();
    let path = server.directory.path().join("run.sock");
    let address = crate::harness::Address::Unix(path);
    eventually("it serves", || {
        crate::harness::Client::try_to(&address).is_ok()
    });
    let mut client = crate::harness::Client::to(&address);
    assert_eq!(client.get("/").text(), "hello from /");
    assert!(!server.log().contains("[INFO]"), "{}", server.log());
    client.get("/error");
    server.says("RuntimeError: the app is broken on purpose");
}

#[test]
fn every_request_is_logged_once_also_around_a_reload_and_a_stop() {
    let server = Server::start("[log]\nformat = '%(U)s'");
    for number in 0..20 {
        server.text(&format!("/{number}"));
        if number % 5 == 0 {
            server.signal(nix::sys::signal::Signal::SIGHUP);
        }
    }
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let mut lines: Vec<i32> = server
        .ended()
        .stdout
        .lines()
        .map(|line| line[1..].parse().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..20).collect::<Vec<_>>());
}

/// Of the request itself, however it ended, and never of another that its thread served.
#[test]
fn variables_of_the_environ_in_the_access_log_are_those_of_the_request() {
    let app = "
def application(environ, start_response):
    if environ['PATH_INFO'] == '/alice':
        environ['REMOTE_USER'] = 'alice'
    if environ['PATH_INFO'] == '/bob-fails':
        environ['REMOTE_USER'] = 'bob'
    if environ['PATH_INFO'].endswith('fails'):
        raise ValueError
    start_response('200 OK', [])
    return [b'ok']

def exit_before(worker, request):
    if request.path == '/hook':
        raise SystemExit
";
    let config =
        "[hooks]\npre_request = 'app:exit_before'\n[log]\nformat = '%(U)s by %({REMOTE_USER}e)s'";
    for class in ["sync", "gevent"] {
        let server = Setup::with(&format!("worker_class = '{class}'\n{config}"))
            .app(app)
            .start();
        for (target, user) in [
            ("/fails", "-"),
            ("/bob-fails", "bob"),
            ("/hook", "-"),
            ("/", "-"),
        ] {
            assert_eq!(server.text("/alice"), "ok");
            server.get(target);
            let line = server.prints(&format!("{target} by "));
            assert_eq!(line, format!("{target} by {user}"), "{class}");
            server.from_now();
        }
    }
}
