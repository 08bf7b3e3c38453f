//! Commands for a server that does not answer, or cannot be reached in the usual way.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::support::{run, run_in, socket, status, two_workers};
use crate::harness::{Server, Setup, eventually};

/// Far below what a busy server is given.
const SOON: Duration = Duration::from_secs(8);

#[track_caller]
fn gives_up_soon(server: &Server, arguments: &[&str]) {
    let begin = Instant::now();
    let ran = run(server, arguments);
    assert!(
        begin.elapsed() < SOON,
        "{arguments:?}: {:?}",
        begin.elapsed()
    );
    assert_eq!(ran.code, Some(5), "{arguments:?}: {}", ran.stderr);
    let pid = server.arbiter().pid;
    for part in [
        format!("the server with pid {pid} is stopped"),
        format!("`kill -CONT {pid}`"),
    ] {
        assert!(ran.stderr.contains(&part), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_server_that_is_stopped_is_told_as_that() {
    let server = two_workers();
    let path = socket(&server);
    let path = path.to_str().unwrap();
    server.arbiter().signal(Signal::SIGSTOP);
    for arguments in [
        &["status"][..],
        &["status", "--socket", path],
        &["reload"],
        &["stop"],
        &["stacks"],
        &["top", "--once"],
    ] {
        gives_up_soon(&server, arguments);
    }
    server.arbiter().signal(Signal::SIGCONT);
    eventually("it answers", || run(&server, &["status"]).code == Some(0));
}

#[test]
fn so_it_is_where_too_many_ask_already() {
    let server = two_workers();
    let path = socket(&server);
    server.arbiter().signal(Signal::SIGSTOP);
    let crowd: Vec<UnixStream> = std::iter::from_fn(|| connect_at_once(&path)).collect();
    assert!(!crowd.is_empty());
    gives_up_soon(&server, &["status"]);
    server.arbiter().signal(Signal::SIGCONT);
}

/// `None` when the queue is full.
fn connect_at_once(path: &std::path::Path) -> Option<UnixStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd as _;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let own = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    connect(own.as_raw_fd(), &UnixAddr::new(path).unwrap()).ok()?;
    Some(own.into())
}

#[test]
fn a_socket_with_the_longest_path_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let room = 107 - folder.path().as_os_str().len() - "/.sock".len();
    let path = folder.path().join(format!("{}.sock", "x".repeat(room)));
    let server = Server::start(&format!("[admin]\nsocket = '{}'", path.display()));
    assert_eq!(socket(&server).as_os_str().len(), 107);
    let ran = run(&server, &["status"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn stop_waits_for_a_server_that_has_another_pid_where_it_runs() {
    let setup = Setup::with("[admin]\nsocket = 'admin.sock'");
    let Some(setup) = setup.as_process_1() else {
        return;
    };
    let server = setup.start();
    server.says("workers=1 serving");
    assert_eq!(status(&server)["pid"], 1);
    let arbiter = server.arbiter().children()[0];
    let path = socket(&server);
    let arguments = [
        "stop",
        "--timeout",
        "20",
        "--socket",
        path.to_str().unwrap(),
    ];
    let ran = run_in(server.directory.path(), &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!arbiter.is_alive());
}

#[test]
fn a_server_that_dies_amid_a_command_is_told() {
    let server = Server::start("[timeouts]\ngraceful = '1s'");
    let arbiter = server.arbiter();
    server
        .directory
        .write("app.py", "import time\ntime.sleep(60)\n");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        arbiter.signal(Signal::SIGKILL);
    });
    let ran = run(&server, &["reload"]);
    killer.join().unwrap();
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("whether it still runs"),
        "{}",
        ran.stderr
    );
}
