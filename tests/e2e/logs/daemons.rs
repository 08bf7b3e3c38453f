//! Logs that go to a syslog daemon or to the journal: the test is the daemon.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::start_unseen;
use crate::harness::{Client, Process, Setup, can_run, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// A datagram socket that keeps what it received.
struct Daemon {
    socket: UnixDatagram,
    received: Vec<Vec<u8>>,
}

impl Daemon {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self {
            socket,
            received: Vec::new(),
        }
    }

    /// Waits for a message that has all the parts.
    #[track_caller]
    fn hears(&mut self, parts: &[&str]) -> Vec<u8> {
        let begun = Instant::now();
        loop {
            let fits = |message: &&Vec<u8>| {
                let text = String::from_utf8_lossy(message);
                parts.iter().all(|part| text.contains(part))
            };
            if let Some(message) = self.received.iter().find(fits) {
                return message.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "nobody said {parts:?}");
            let mut buffer = vec![0; 1 << 20];
            if let Ok(length) = self.socket.recv(&mut buffer) {
                buffer.truncate(length);
                self.received.push(buffer);
            }
        }
    }

    fn text(&mut self, parts: &[&str]) -> String {
        String::from_utf8(self.hears(parts)).unwrap()
    }
}

/// The fields of a journal entry; a value with line ends is told with its length.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (name, value, rest) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (text(&line[..at]), text(&line[at + 1..]), rest),
            None => {
                let (length, rest) = rest.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                (text(line), text(&rest[..length]), &rest[length + 1..])
            }
        };
        fields.insert(name, value);
        entry = rest;
    }
    fields
}

#[test]
fn both_logs_can_go_to_a_syslog_daemon_of_this_machine() {
    let setup = Setup::with(
        "bind = 'unix:run.sock'\n[log]\nerror = 'syslog:{dir}/dev-log'\naccess = 'syslog:{dir}/dev-log'\n\
         syslog_facility = 'local3'\nidentifier = 'mysite'",
    );
    let mut daemon = Daemon::listen(&setup.path().join("dev-log"));
    let (server, address) = start_unseen(setup);
    // local3 is 19; info is 6, error is 3.
    let ready = daemon.text(&["worker=1", " ready"]);
    assert!(ready.starts_with("<158>"), "{ready}");
    let arbiter = server.arbiter().pid;
    let (head, message) = ready.split_once(": ").unwrap();
    assert!(head.ends_with(&format!(" mysite[{arbiter}]")), "{ready}");
    assert!(message.starts_with("generation=1 worker=1 pid="), "{ready}");
    let mut client = Client::to(&address);
    client.get("/hello?a=\"b\"");
    let access = daemon.text(&["GET /hello"]);
    assert!(
        access.starts_with("<158>") && !access.contains('\n'),
        "{access:?}"
    );
    client.get("/error");
    let failure = daemon.text(&["the app failed on GET /error"]);
    assert!(failure.starts_with("<155>"), "{failure}");
    let last = daemon.text(&["RuntimeError: the app is broken on purpose"]);
    assert!(last.starts_with("<155>") && !last.contains('\n'), "{last}");
    assert_eq!(server.log(), "");
    assert_eq!(server.printed(), "");
}

#[test]
fn a_daemon_that_is_away_holds_up_nothing_and_is_found_again() {
    let setup = Setup::with(
        "bind = 'unix:run.sock'\n[log]\nerror = 'syslog:{dir}/dev-log'\naccess = 'syslog:{dir}/dev-log'\nformat = '%(U)s'",
    );
    let path = setup.path().join("dev-log");
    let mut daemon = Daemon::listen(&path);
    let (_server, address) = start_unseen(setup);
    daemon.hears(&[" serving"]);
    drop(daemon);
    std::fs::remove_file(&path).unwrap();
    let begun = Instant::now();
    let mut client = Client::to(&address);
    for number in 0..100 {
        assert_eq!(client.get(&format!("/away/{number}")).status, 200);
    }
    assert_eq!(client.get("/error").status, 500);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let mut daemon = Daemon::listen(&path);
    Client::to(&address).get("/back");
    daemon.hears(&["/back"]);
    daemon.hears(&["/away/99"]);
    Client::to(&address).get("/error");
    daemon.hears(&["error_log_lines=", "dropped"]);
    daemon.hears(&["the app failed on GET /error"]);
}

/// RFC 3164 readers end the name at the first colon, RFC 5424 readers at the first space.
#[test]
fn the_name_of_the_server_cannot_be_mistaken_for_something_else() {
    for (proc_name, identifier) in [("main:app", "main_app"), ("My Site", "My_Site")] {
        let setup = Setup::with(&format!(
            "bind = 'unix:run.sock'\nproc_name = '{proc_name}'\n[log]\nerror = 'syslog:{{dir}}/dev-log'\naccess = 'off'"
        ));
        let mut daemon = Daemon::listen(&setup.path().join("dev-log"));
        let (server, _) = start_unseen(setup);
        let ready = daemon.text(&["worker=1", " ready"]);
        let (head, _) = ready.split_once(": ").unwrap();
        let arbiter = server.arbiter().pid;
        assert!(
            head.ends_with(&format!(" {identifier}[{arbiter}]")),
            "{ready}"
        );
    }
}

/// While a package manager replaces programs, it may well have stopped the syslog daemon, too.
#[test]
fn an_upgrade_while_the_daemon_is_away_goes_on() {
    let setup = Setup::with("bind = 'unix:run.sock'\n[log]\nerror = 'syslog:{dir}/dev-log'");
    let path = setup.path().join("dev-log");
    let mut daemon = Daemon::listen(&path);
    let (mut server, address) = start_unseen(setup);
    daemon.hears(&[" serving"]);
    drop(daemon);
    std::fs::remove_file(&path).unwrap();
    server.signal(Signal::SIGUSR2);
    let environment = format!("/proc/{}/environ", server.arbiter().pid);
    eventually("another program is there", || {
        let text = std::fs::read_to_string(&environment).unwrap_or_default();
        text.contains("_RGUNICORN_STATE=") || server.has_ended()
    });
    let kill_worker = || {
        let worker: i32 = Client::to(&address).get("/pid").text().parse().unwrap();
        Process::find(worker).unwrap().signal(Signal::SIGKILL);
        eventually("another worker serves", || {
            let mut client = Client::to(&address);
            client.send("GET /pid HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            let answer = client.try_response("GET");
            answer.is_ok_and(|answer| answer.text().parse() != Ok(worker))
        });
    };
    kill_worker();
    let mut daemon = Daemon::listen(&path);
    kill_worker();
    daemon.hears(&["worker=3", " ready"]);
}

#[test]
fn a_daemon_that_does_not_read_holds_up_nothing() {
    let setup = Setup::with(
        "bind = 'unix:run.sock'\n[log]\nerror = 'syslog:{dir}/dev-log'\naccess = 'syslog:{dir}/dev-log'",
    );
    let _daemon = Daemon::listen(&setup.path().join("dev-log"));
    let (_server, address) = start_unseen(setup);
    let begun = Instant::now();
    let mut client = Client::to(&address);
    for _ in 0..300 {
        assert_eq!(client.get("/").status, 200);
    }
    for _ in 0..3 {
        assert_eq!(Client::to(&address).get("/error").status, 500);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_syslog_server_is_told_in_udp_by_rfc_5424() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let config = format!(
        "bind = 'unix:run.sock'\nproc_name = 'mysite'\n[log]\nerror = 'syslog:udp://127.0.0.1:{port}'\nerror_format = 'json'"
    );
    let (_server, _) = start_unseen(Setup::with(&config));
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let words: Vec<&str> = text.splitn(8, ' ').collect();
        assert_eq!(words[0], "<14>1", "{text}");
        assert!(words[1].contains('T') && words[3] == "mysite", "{text}");
        assert_eq!((words[5], words[6]), ("-", "-"), "{text}");
        let object: serde_json::Value = serde_json::from_str(words[7]).unwrap();
        if object["message"].as_str().unwrap().ends_with(" ready") {
            return;
        }
    }
}

#[test]
fn the_journal_gets_levels_fields_and_tracebacks_in_one_entry() {
    let setup = Setup::with(
        "bind = 'unix:run.sock'\n[log]\nerror = 'journald:{dir}/journal'\naccess = 'journald:{dir}/journal'\nrequest_id = true",
    );
    let mut daemon = Daemon::listen(&setup.path().join("journal"));
    let (_server, address) = start_unseen(setup);
    let ready = fields(&daemon.hears(&["worker=1", " ready"]));
    assert_eq!(ready["PRIORITY"], "6");
    assert_eq!(ready["SYSLOG_IDENTIFIER"], "app");
    assert_eq!(ready["RGUNICORN_ROLE"], "arbiter");
    assert_eq!(ready["RGUNICORN_WORKER"], "1");
    let request = "GET /error HTTP/1.1\r\nHost: test\r\nX-Request-ID: a-1\r\n\r\n";
    Client::to(&address).request(request);
    let failure = fields(&daemon.hears(&["the app failed on GET /error"]));
    assert_eq!(failure["PRIORITY"], "3");
    assert_eq!(failure["REQUEST_ID"], "a-1");
    assert_eq!(failure["RGUNICORN_ROLE"], "worker");
    let message = &failure["MESSAGE"];
    assert!(
        message.starts_with("request_id=a-1 the app failed on GET /error\nTraceback"),
        "{message}"
    );
    assert!(message.ends_with("on purpose"), "{message}");
    let access = fields(&daemon.hears(&["\"GET /error HTTP/1.1\" 500"]));
    assert_eq!(access["PRIORITY"], "6");
}

#[test]
fn a_daemon_that_is_not_there_is_told_at_the_start_and_rejects_a_reload() {
    let exit = Setup::with("[log]\nerror = 'syslog:{dir}/nowhere'").start_and_fail();
    assert_eq!(exit.code, Some(1));
    assert!(
        exit.log.contains("`log.error`") || exit.log.contains("the error log"),
        "{}",
        exit.log
    );
    let server = crate::harness::Server::start("");
    server.edit("[log]\naccess = 'journald:{dir}/nowhere'");
    server.says("reload … rejected … log.access");
    assert_eq!(server.text("/"), "hello from /");
}

/// The server sees a file of its directory as that of /etc. `None` where that cannot be.
fn with_its_own(setup: Setup, name: &str) -> Option<Setup> {
    let file = setup.path().join(name);
    let script = format!("mount --bind \"$0\" /etc/{name} && exec \"$@\"");
    let command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        &script,
        file.to_str().unwrap(),
    ];
    can_run(&command).then(|| setup.inside(command))
}

#[test]
fn a_name_server_that_does_not_answer_is_not_waited_for_long() {
    // An address of this process alone.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.86.{high}.{}", low.clamp(1, 254));
    let Ok(_silent) = UdpSocket::bind((address.as_str(), 53)) else {
        eprintln!("a name server's port needs root here: skipped");
        return;
    };
    let setup = Setup::with("").file("resolv.conf", &format!("nameserver {address}\n"));
    let Some(setup) = with_its_own(setup, "resolv.conf") else {
        return;
    };
    let server = setup.start();
    server.edit("[log]\naccess = 'syslog:udp://logs.example:514'");
    let begun = Instant::now();
    server.says("reload … rejected … log.access … `logs.example` was not found within 2 seconds");
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_log_server_that_moved_is_found_by_the_arbiter_too_when_logs_are_reopened() {
    let before = UdpSocket::bind("127.86.0.2:0").unwrap();
    let port = before.local_addr().unwrap().port();
    let after = UdpSocket::bind(("127.86.0.3", port)).unwrap();
    let hears = |socket: &UdpSocket, what: &str| {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 8192];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains(what) {
                return;
            }
        }
    };
    let config =
        format!("bind = 'unix:run.sock'\n[log]\nerror = 'syslog:udp://logs.example:{port}'");
    let setup = Setup::with(&config).file("hosts", "127.86.0.2 logs.example\n");
    let hosts = setup.path().join("hosts");
    let Some(setup) = with_its_own(setup, "hosts") else {
        return;
    };
    let (server, _address) = start_unseen(setup);
    hears(&before, " ready");
    std::fs::write(&hosts, "127.86.0.3 logs.example\n").unwrap();
    server.signal(Signal::SIGUSR1);
    hears(&after, "logs reopened");
}

#[test]
fn a_stream_that_is_the_journal_says_levels() {
    // As systemd does it: the variable names the file behind the standard error output.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stderr");
    let script = r#"exec 2>"$0"; JOURNAL_STREAM="$(stat -L -c %d:%i /proc/self/fd/2)" exec "$@""#;
    let setup =
        Setup::with("bind = 'unix:run.sock'").inside(["sh", "-c", script, path.to_str().unwrap()]);
    let (_server, address) = start_unseen(setup);
    let log = || std::fs::read_to_string(&path).unwrap();
    eventually("ready", || log().contains(" ready"));
    Client::to(&address).get("/error");
    eventually("failed", || log().contains("on purpose"));
    for line in log().lines() {
        assert!(
            line.starts_with("<6>[") || line.starts_with("<3>"),
            "{line}"
        );
    }
}
