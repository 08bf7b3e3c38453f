//! Lifespan: startup before the first request, shutdown after the last, and apps that know neither.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{setup, start};
use crate::harness::Setup;

const NO_LIFESPAN: &str = "
async def app(scope, receive, send):
    assert scope['type'] == 'http', 'only http'
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'plain'})
";

const FAILING: &str = "
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        raise RuntimeError('no database')
";

const SAYS_FAILED: &str = "
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
";

#[test]
fn startup_and_shutdown_frame_the_requests() {
    let server = start("");
    server.prints("startup");
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    assert!(exit.stdout.contains("shutdown"), "{}", exit.stdout);
}

#[test]
fn an_app_without_a_lifespan_is_served_and_the_log_says_so() {
    let config = "app = 'app:app'";
    let server = Setup::with(config).app(NO_LIFESPAN).start();
    server.says("the app has no lifespan: it raised AssertionError: only http");
    assert_eq!(server.text("/"), "plain");
    let quiet = Setup::with("app = 'app:app'\nlifespan = 'off'")
        .app(NO_LIFESPAN)
        .start();
    assert_eq!(quiet.text("/"), "plain");
    assert!(!quiet.has_said("lifespan"));
    let insisted = Setup::with("app = 'app:app'\nlifespan = 'on'").app(NO_LIFESPAN);
    let exit = insisted.start_and_fail();
    assert_eq!(exit.code, Some(3), "{}", exit.log);
    assert!(exit.log.contains("only http"), "{}", exit.log);
}

#[test]
fn a_startup_that_fails_keeps_the_worker_from_serving() {
    for app in [FAILING, SAYS_FAILED] {
        let exit = Setup::with("app = 'app:app'").app(app).start_and_fail();
        assert_eq!(exit.code, Some(3), "{}", exit.log);
        assert!(exit.log.contains("startup failed"), "{}", exit.log);
        assert!(exit.log.contains("no database"), "{}", exit.log);
    }
}

#[test]
fn a_save_whose_startup_fails_leaves_the_old_workers_serving() {
    let server = setup("").file("broken.py", FAILING).start();
    server.edit("app = 'broken:app'");
    server.says("RuntimeError: no database");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_shutdown_that_hangs_is_bounded() {
    let app = "
import asyncio

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        await asyncio.sleep(60)
";
    let server = Setup::with("app = 'app:app'\n[timeouts]\ngraceful = 1")
        .app(app)
        .start();
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    server.ended();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

const STAYS_ON: &str = include_str!("../apps/stays_on.py");

#[test]
fn requests_that_outlive_the_grace_are_cancelled_and_then_the_app_shuts_down() {
    for event_loop in ["asyncio", "uvloop"] {
        let config = format!("app = 'app:app'\nloop = '{event_loop}'\n[timeouts]\ngraceful = 1");
        let server = Setup::with(&config).app(STAYS_ON).start();
        let mut client = server.client();
        client.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
        client.some().unwrap();
        server.signal(Signal::SIGTERM);
        let exit = server.ended();
        assert_eq!(exit.code, Some(0), "{}", exit.log);
        let place = |text: &str| {
            exit.stdout
                .find(text)
                .unwrap_or_else(|| panic!("no {text}"))
        };
        assert!(place("stream ended") < place("shutdown"), "{}", exit.stdout);
        assert!(!exit.log.contains("the app failed"), "{}", exit.log);
    }
}

#[test]
fn a_quick_stop_shuts_the_app_down_too() {
    let server = Setup::with("app = 'app:app'").app(STAYS_ON).start();
    let mut client = server.client();
    client.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
    client.some().unwrap();
    let start = Instant::now();
    server.signal(Signal::SIGINT);
    let exit = server.ended();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(exit.stdout.contains("shutdown"), "{}", exit.stdout);
}

#[test]
fn a_shutdown_that_begins_late_and_hangs_is_cut_off_before_the_worker_is_killed() {
    let hangs = STAYS_ON.replace(
        r#"        print("shutdown", flush=True)"#,
        "        await asyncio.sleep(3600)",
    );
    let server = Setup::with("app = 'app:app'\n[timeouts]\ngraceful = 3")
        .app(&hangs)
        .start();
    let mut client = server.client();
    client.send("GET /sleep HTTP/1.1\r\nHost: test\r\n\r\n");
    server.prints("sleeps");
    server.signal(Signal::SIGTERM);
    assert_eq!(client.response().text(), "answered");
    let exit = server.ended();
    let told = "the app's lifespan shutdown takes too long and is cut off";
    assert!(exit.log.contains(told), "{}", exit.log);
    assert!(!exit.log.contains("killed"), "{}", exit.log);
}

#[test]
fn what_answers_the_end_with_an_exit_or_not_at_all_leaves_the_worker_its_orderly_end() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = Setup::with(&format!("app = 'app:app'\nloop = '{event_loop}'"))
            .app(STAYS_ON)
            .start();
        assert_eq!(server.text("/exit-when-cancelled"), "answered");
        assert_eq!(server.text("/generator"), "answered");
        let start = Instant::now();
        server.signal(Signal::SIGTERM);
        let exit = server.ended();
        assert!(start.elapsed() < Duration::from_secs(5), "{event_loop}");
        assert!(exit.stdout.contains("shutdown"), "{}", exit.stdout);
        assert!(!exit.log.contains("CRITICAL"), "{}", exit.log);
        assert!(exit.stdout.contains("GET /generator"), "{}", exit.stdout);
    }
}

#[test]
fn an_app_that_cancels_all_tasks_when_it_shuts_down_has_them_end() {
    let app = STAYS_ON.replace(
        r#"        print("shutdown", flush=True)"#,
        "        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        print('shutdown', flush=True)",
    );
    let server = Setup::with("app = 'app:app'").app(&app).start();
    assert_eq!(server.text("/"), "answered");
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert!(exit.stdout.contains("shutdown"), "{}", exit.stdout);
    assert!(!exit.log.contains("CRITICAL"), "{}", exit.log);
}
