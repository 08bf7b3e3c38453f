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
