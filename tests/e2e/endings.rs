//! What the app leaves behind when its worker is done: threads and processes that Python waits for at its end.

use nix::sys::signal::Signal;

use crate::harness::{Server, Setup};

const APP: &str = r#"
import multiprocessing, os, threading, time

def leave(what):
    if what == "thread":
        threading.Thread(target=time.sleep, args=(60,), name="consumer").start()
    if what == "process":
        # A child that its worker does not outlive, whatever becomes of the test.
        multiprocessing.Process(target=wait_for, args=(os.getpid(),), name="helper").start()

def wait_for(worker):
    while os.getppid() == worker:
        time.sleep(0.1)

if "LEAVE" in os.environ:
    leave(os.environ["LEAVE"])

def application(environ, start_response):
    leave(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]
"#;

fn serve(config: &str) -> Setup {
    Setup::with(&format!(
        "app = 'app:application'\n{config}\n[timeouts]\ngraceful = '3s'"
    ))
    .app(APP)
}

fn stop(server: Server) -> String {
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    exit.log
}

#[test]
fn what_a_worker_waits_for_is_told() {
    for (config, left, told) in [
        ("threads = 2", "thread", "thread consumer; "),
        ("", "process", " (helper); "),
    ] {
        let server = serve(config).start();
        server.text(&format!("/?{left}"));
        let log = stop(server);
        let line = log.lines().find(|line| line.contains("still runs: "));
        let line = line.unwrap_or_else(|| panic!("{left}\n{log}"));
        assert!(line.contains("worker=1 is done and waits for"), "{line}");
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn what_a_generation_waits_for_is_told() {
    let server = serve("preload = true")
        .environment("LEAVE", "process")
        .start();
    let log = stop(server);
    assert!(log.contains("generation=1 is done and waits for"), "{log}");
}

#[test]
fn nothing_is_told_where_nothing_is_left() {
    let app = r#"
from concurrent.futures import ThreadPoolExecutor

POOL = ThreadPoolExecutor(4)

def application(environ, start_response):
    result = POOL.submit(lambda: b"done").result()
    start_response("200 OK", [("Content-Length", "4")])
    return [result]
"#;
    let server = Setup::with("app = 'app:application'").app(app).start();
    assert_eq!(server.text("/"), "done");
    let log = stop(server);
    assert!(log.contains(" left after"), "{log}");
    assert!(!log.contains("still runs"), "{log}");
}
