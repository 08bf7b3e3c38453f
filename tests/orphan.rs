//! A generation is killed: its workers go on, and become children of the arbiter. A test of its own process, for it reaps
//! every child there is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "generation/config.rs"]
mod config;
#[expect(dead_code, reason = "shared with the tests of generations")]
#[path = "generation/rig.rs"]
mod rig;

use std::os::fd::AsFd;

use nix::sys::signal::Signal;
use rgunicorn::sys::{become_subreaper, describe_exit, reap_any};
use rig::{Project, Rig, wait_readable};

#[test]
fn the_workers_of_a_killed_generation_go_on_and_are_reaped_by_the_arbiter() {
    become_subreaper().unwrap();
    assert_eq!(reap_any(), None);
    let project = Project::with_module("def application(environ, start_response): pass");
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (worker, worker_pidfd) = rig.fork_ready(1);
    let generation = rig.process.pid;
    rig.process.pidfd.signal(Signal::SIGKILL).unwrap();
    wait_readable(rig.process.pidfd.as_fd(), "the end of the generation");
    let (pid, status) = reap_any().unwrap();
    assert_eq!(
        (pid, describe_exit(status)),
        (generation, "signal SIGKILL".to_owned())
    );
    assert_eq!(reap_any(), None);
    worker_pidfd.signal(Signal::SIGTERM).unwrap();
    wait_readable(worker_pidfd.as_fd(), "the end of the worker");
    let (pid, status) = reap_any().unwrap();
    assert_eq!(
        (pid, describe_exit(status)),
        (worker, "exit code 0".to_owned())
    );
}
