//! What the tests stand on: a server in its own directory, a client that believes nothing, a crowd that hammers.
//!
//! Nothing here knows how rgunicorn works inside. It sees what an operator sees: the command line, the config file,
//! the log, the sockets, the process table. Every wait is for a fact, with a deadline; a test sleeps only while nothing is to
//! happen, or where nothing tells that it has.

mod browser;
mod client;
mod debian;
mod directory;
mod guardian;
mod hammer;
mod in_time;
mod interpreters;
mod log;
mod made_once;
mod manager;
mod nginx;
pub mod phrases;
mod process;
mod save;
mod server;
mod setup;
mod system_python;
mod venv;

use std::{
    path::Path,
    time::{Duration, Instant},
};

pub use browser::Browser;
pub use client::{Address, Client, Response, loopback};
pub use debian::debian;
pub use directory::{Directory, install, install_script};
pub use hammer::Hammer;
pub use in_time::{InTime, can_run, wait_in_time};
pub use interpreters::{Interpreter, interpreters};
pub use log::Log;
pub use manager::Manager;
pub use nginx::Nginx;
pub use process::{Process, descendants};
pub use save::Save;
pub use server::{Exit, Server};
pub use setup::Setup;
pub use system_python::system_python;
pub use venv::{gunicorn, venv_bin, venv_python};

/// How long anything that must happen may take, on a busy machine with two cores.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The app most tests use: a route for each thing an app can do, on the standard library alone.
pub const APP: &str = include_str!("../apps/app.py");

/// The build directory, where what is made once for all tests is kept.
pub fn target() -> &'static Path {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    assert!(target.is_absolute(), "{}", target.display());
    target
}

/// Waits until `fact` is true.
#[track_caller]
pub fn eventually(what: &str, fact: impl FnMut() -> bool) {
    assert!(within(DEADLINE, fact), "did not come true in time: {what}");
}

/// True as soon as `fact` is; false when it was not within `limit`.
pub fn within(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if fact() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(POLL_PAUSE);
    }
}

/// Between two looks at a fact that nothing announces.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// A TCP port of the loopback address that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
