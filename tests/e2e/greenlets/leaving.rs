//! A worker that leaves, and its successor.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{CLASSES, app, send, setup, start};
use crate::harness::{eventually, phrases::REJECTED};

#[test]
fn term_finishes_what_is_in_flight_and_runs_what_was_registered_at_exit() {
    let app = app("
import atexit, pathlib
atexit.register(lambda: pathlib.Path('left').write_text('in order'))
");
    for class in CLASSES {
        let server = setup(class, "").app(&app).start();
        let left = server.directory.path().join("left");
        let mut idle = server.client();
        idle.get("/");
        let mut client = server.busy_with("/sleep?s=1");
        server.signal(Signal::SIGTERM);
        let response = client.response();
        assert_eq!(response.text(), "slept", "{class}");
        assert!(response.says_close(), "{class}");
        idle.expect_closed();
        eventually("the handler has run", || left.exists());
        assert_eq!(server.ended().code, Some(0), "{class}");
    }
}

#[test]
fn a_reload_lets_requests_in_flight_finish_and_keeps_idle_connections() {
    for class in CLASSES {
        let server = start(class, "");
        let before = server.worker();
        let mut idle = server.client();
        idle.get("/");
        let mut busy = server.busy_with("/sleep?s=1.5");
        server.signal(Signal::SIGHUP);
        server.says("ready");
        assert_eq!(busy.response().text(), "slept", "{class}");
        server.applied();
        assert_ne!(idle.get("/pid").text(), before.to_string(), "{class}");
        assert_ne!(busy.get("/pid").text(), before.to_string(), "{class}");
    }
}

#[test]
fn int_and_quit_end_it_at_once() {
    for class in CLASSES {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            let server = start(class, "");
            let _client = server.busy_with("/sleep?s=60");
            let begun = Instant::now();
            server.signal(signal);
            assert_eq!(server.ended().code, Some(0), "{class} {signal}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{class} {signal}");
        }
    }
}

#[test]
fn after_max_requests_a_worker_is_replaced() {
    for class in CLASSES {
        let server = start(class, "[limits]\nmax_requests = 20");
        let before = server.worker();
        let mut client = server.client();
        for _ in 0..60 {
            assert_eq!(client.get("/").status, 200, "{class}");
        }
        eventually("another worker answers", || server.worker() != before);
    }
}

#[test]
fn a_health_check_is_answered_by_a_greenlet() {
    let app = app("
def route_healthz(environ, start_response, query):
    time.sleep(0.05)
    return answer(start_response, 'well', '200 OK' if VERSION == '1' else '503 Service Unavailable')
");
    for class in CLASSES {
        let server = setup(class, "[reload]\nhealth_check = { path = '/healthz' }")
            .app(&app)
            .start();
        let before = server.worker();
        server
            .directory
            .write("app.py", &app.replace("VERSION = \"1\"", "VERSION = \"2\""));
        server.signal(Signal::SIGHUP);
        server.says(REJECTED);
        assert_eq!(server.worker(), before, "{class}");
    }
}

#[test]
fn an_exit_in_a_greenlet_of_the_apps_own_lets_the_worker_leave_in_order() {
    let app = app("
def route_exit(environ, start_response, query):
    if hub == 'gevent':
        from gevent import spawn
    else:
        from eventlet import spawn
    for _ in range(3):
        spawn(sys.exit, 5)
    time.sleep(0.5)
    return answer(start_response, 'answered')
");
    for class in CLASSES {
        let app = format!("{app}\nhub = '{class}'\n");
        let server = setup(class, "").app(&app).start();
        let worker = server.worker();
        let mut other = server.client();
        send(&mut other, "/sleep?s=1");
        let mut client = server.client();
        send(&mut client, "/exit");
        assert_eq!(client.response().text(), "answered", "{class}");
        assert_eq!(other.response().text(), "slept", "{class}");
        server.says("leaves, after its requests: the app raised SystemExit: 5 outside of them");
        eventually("another serves", || server.worker() != worker);
        assert!(!server.log().contains("cannot serve"), "{}", server.log());
    }
}
