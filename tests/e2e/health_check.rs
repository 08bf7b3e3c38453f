//! `reload.health_check`: a new worker takes no connection before it has shown that it can serve.

use nix::sys::signal::Signal;

use crate::harness::{APP, Hammer, Server, Setup, phrases::REJECTED};

/// An app whose health is what this says; `pid` and `seen` tell who was asked what.
fn app(version: u32, health: &str) -> String {
    let route = format!(
        "\n\ndef route_healthz(environ, start_response, query):\n    {health}\n\n\ndef route_host(environ, start_response, query):\n    return answer(start_response, seen)\n\n\nseen = ''\n"
    );
    APP.replace("VERSION = \"1\"", &format!("VERSION = \"{version}\"")) + &route
}

const WELL: &str =
    "global seen; seen = environ['HTTP_HOST']; return answer(start_response, 'well')";
const SICK: &str = "return answer(start_response, 'no database', '503 Service Unavailable')";

/// `[reload]` with the check, for a worker class.
fn config(threads: u32, check: &str) -> String {
    format!("threads = {threads}\n[reload]\nhealth_check = {check}")
}

#[test]
fn a_worker_that_is_well_serves_and_was_asked_with_the_host_it_should_be() {
    for threads in [1, 3] {
        let check = "{ path = '/healthz?x=1', host = 'shop.example' }";
        let server = Setup::with(&config(threads, check))
            .app(&app(1, WELL))
            .start();
        assert_eq!(server.text("/host"), "shop.example");
        server.prints("GET /healthz?x=1");
    }
}

#[test]
fn code_that_is_not_well_is_rejected_with_its_answer_and_no_client_notices() {
    for threads in [1, 3] {
        let server = Setup::with(&config(threads, "{ path = '/healthz', tries = 2 }"))
            .app(&app(1, WELL))
            .start();
        let hammer = Hammer::start(server.address(), "/version", 2, 2);
        for sick in [
            (SICK, "503 Service Unavailable: \"no database\" (2 tries)"),
            ("raise RuntimeError('sick')", "500 Internal Server Error"),
        ] {
            server.directory.write("app.py", &app(2, sick.0));
            server.signal(Signal::SIGHUP);
            server.says(&format!("health check failed: … {}", sick.1));
            server.says(&format!("{REJECTED} … failed its health check"));
            assert_eq!(server.text("/version"), "1");
        }
        hammer.lands(50);
        hammer.stop();
        server.directory.write("app.py", &app(3, WELL));
        server.signal(Signal::SIGHUP);
        server.applied();
        assert_eq!(server.text("/version"), "3");
    }
}

#[test]
fn an_app_that_does_not_answer_in_time_is_not_well() {
    let check = "{ path = '/healthz', tries = 1, timeout = '2s' }";
    let server = Setup::with(&config(1, check)).app(&app(1, WELL)).start();
    server.directory.write("app.py", &app(2, "time.sleep(30)"));
    server.signal(Signal::SIGHUP);
    server.says("health check failed: … no answer within 2s");
    server.says(REJECTED);
    assert_eq!(server.text("/version"), "1");
}

#[test]
fn an_app_that_needs_a_moment_is_asked_again() {
    let slow_start =
        "return answer(start_response, 'x', '200 OK' if count('asked') > 2 else '503 Not Yet')";
    let server = Setup::with(&config(1, "'/healthz'"))
        .app(&app(1, slow_start))
        .start();
    assert_eq!(server.text("/counter?name=asked"), "3");
}

#[test]
fn a_first_start_that_is_not_well_ends_as_an_app_that_does_not_boot() {
    let exit = Setup::with(&config(1, "{ path = '/healthz', status = 204, tries = 1 }"))
        .app(&app(1, WELL))
        .start_and_fail();
    assert_eq!(exit.code, Some(3));
    assert!(exit.log.contains("answered 200 OK, not 204: \"well\""));
}

#[test]
fn a_server_that_is_stopped_while_it_asks_stops() {
    let server = Setup::with(&config(2, "'/healthz'"))
        .app(&app(1, "print('asked', flush=True); time.sleep(60)"))
        .spawn();
    server.prints("asked");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_worker_that_takes_the_place_of_a_dead_one_is_asked_too() {
    let server: Server = Setup::with(&config(1, "'/healthz'"))
        .app(&app(1, WELL))
        .start();
    let before = server.worker();
    server.client().send("GET /die HTTP/1.1\r\nHost: a\r\n\r\n");
    server.says("died of signal SIGKILL");
    server.says(" ready");
    assert_ne!(server.worker(), before);
    assert_eq!(server.text("/host"), "localhost");
}
