//! What a worker is at: its Python stacks, asked for from outside and left behind by a crash.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rgunicorn::{
    arbiter::{StackProbe, StacksError},
    config::WorkerClass,
    sys::{PidFd, describe_exit},
};

use crate::rig::{Project, Rig};

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a thread that waits in a place of its own.
const BUSY: &str = "
import threading, time

def wait_for_godot():
    time.sleep(1000)

threading.Thread(target=wait_for_godot, daemon=True).start()

def application(environ, start_response):
    pass
";

const TASKS: &str = "
import asyncio

async def wait_for_godot():
    await asyncio.sleep(1000)

async def application(scope, receive, send):
    application.task = asyncio.create_task(wait_for_godot(), name='vladimir')
    await receive()
    await send({'type': 'lifespan.startup.complete'})
    await receive()
";

fn probe(rig: &Rig, worker: u64, pidfd: &PidFd) -> StackProbe {
    let pidfd = std::os::fd::AsFd::as_fd(pidfd)
        .try_clone_to_owned()
        .unwrap();
    StackProbe::new(
        worker,
        PidFd::received(pidfd),
        Arc::clone(&rig.sheets[&worker]),
    )
}

#[test]
fn a_worker_that_is_asked_shows_all_its_threads_as_often_as_one_likes() {
    let project = Project::with_module(BUSY);
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork_ready(1);
    let probe = probe(&rig, 1, &pidfd);
    for _ in 0..20 {
        let text = probe.take(PATIENCE).unwrap();
        assert_eq!(text.matches("in wait_for_godot").count(), 1, "{text}");
        assert!(text.contains("hread 0x"), "{text}");
        assert!(!text.contains("Task"), "{text}");
    }
    pidfd.signal(Signal::SIGTERM).unwrap();
    assert_eq!(describe_exit(rig.expect_exit(1)), "exit code 0");
    let gone = probe.take(PATIENCE).unwrap_err();
    assert!(matches!(gone, StacksError::NoSuchWorker(1)), "{gone}");
    assert_eq!(rig.retire(), 0);
}

#[test]
fn a_worker_that_holds_the_interpreter_for_ever_shows_where() {
    // A regular expression that backtracks holds the interpreter for hours. It boots at the import.
    let project = Project::with_module("import re\nre.match('(a+)+$', 'a' * 60 + 'b')\n");
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork(1);
    let probe = probe(&rig, 1, &pidfd);
    let start = Instant::now();
    let text = loop {
        assert!(start.elapsed() < PATIENCE, "it does not get there");
        match probe.take(PATIENCE) {
            Ok(text) if text.contains("site_app.py\", line 2") => break text,
            Ok(_) | Err(StacksError::TooYoung(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(text.contains("most recent call first"), "{text}");
    pidfd.signal(Signal::SIGKILL).unwrap();
    rig.expect_exit(1);
    assert_eq!(rig.retire(), 0);
}

#[test]
fn a_loop_adds_its_tasks_with_all_that_they_wait_in() {
    let project = Project::with_module(TASKS);
    let mut config = project.config("site_app");
    config.worker_class = WorkerClass::Asgi;
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    let (_, pidfd) = rig.fork_ready(1);
    let text = probe(&rig, 1, &pidfd).take(PATIENCE).unwrap();
    let task = text
        .split("Task vladimir")
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"));
    let order: Vec<_> = ["in sleep", "in wait_for_godot"]
        .map(|part| task.find(part))
        .into();
    assert!(order[0].is_some() && order[0] < order[1], "{text}");
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn a_worker_that_is_stopped_does_not_answer_and_it_is_said_so() {
    let project = Project::with_module(BUSY);
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork_ready(1);
    pidfd.signal(Signal::SIGSTOP).unwrap();
    let probe = probe(&rig, 1, &pidfd);
    let error = probe.take(Duration::from_millis(200)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "worker=1 did not write its stacks within 200ms: it may be stopped, or wait for a disk"
    );
    pidfd.signal(Signal::SIGCONT).unwrap();
    assert!(probe.take(PATIENCE).unwrap().contains("wait_for_godot"));
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn a_crash_leaves_its_stacks_on_the_sheet() {
    let project = Project::with_module(&format!("{BUSY}import os\nos.abort()\n"));
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    rig.fork(1);
    assert!(describe_exit(rig.expect_exit(1)).starts_with("signal SIGABRT"));
    let text = rig.sheets[&1].text().unwrap();
    assert!(text.starts_with("Fatal Python error: Aborted"), "{text}");
    assert!(text.contains("site_app.py\", line 12"), "{text}");
    assert_eq!(project.error_log(), "");
    assert_eq!(rig.retire(), 0);
}
