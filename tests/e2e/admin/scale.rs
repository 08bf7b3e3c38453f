//! `rgunicorn scale` when the workers do not come up: what it says, how soon, and what the server does then.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::support::{run, status, two_workers};
use crate::harness::{APP, DEADLINE, Process, Server, Setup, eventually};

const BROKEN: &str = "import half_copied\n";

#[track_caller]
fn assert_two_serve(server: &Server) {
    eventually("two serve, and two are wanted", || {
        let status = status(server);
        status["workers_ready"] == 2
            && status["workers_wanted"] == 2
            && status["workers"].as_array().unwrap().len() == 2
    });
    assert_eq!(server.text("/version"), "1");
}

#[test]
fn more_workers_that_cannot_boot_are_told_with_their_traceback_and_taken_back() {
    let server = two_workers();
    let before = server.workers();
    server.directory.write("app.py", BROKEN);
    let began = Instant::now();
    let ran = run(&server, &["scale", "4"]);
    assert!(began.elapsed() < DEADLINE);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    for part in [
        "ModuleNotFoundError: No module named 'half_copied'",
        "app.py\", line 1",
        "\n\nscale to 4 rejected: worker=",
        " died of exit code 3; back to 2 workers\n",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    server.says(
        "[ERROR] generation=1 more workers could not boot: worker=… died of exit code 3; … workers=2 wanted again",
    );
    assert_two_serve(&server);
    assert_eq!(server.workers(), before, "nobody was replaced");

    let ran = run(&server, &["scale", "3", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["outcome"], "rejected");
    assert_eq!(last["workers"], 2);
    let problems = last["problems"].as_str().unwrap();
    assert_eq!(problems.matches("Traceback").count(), 1, "{problems}");

    server.directory.write("app.py", APP);
    let ran = run(&server, &["scale", "4"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_worker_that_hangs_while_it_boots_is_told_after_the_time_for_it() {
    let server = Setup::with("workers = 2\n[timeouts]\nboot = '5s'").start();
    server.says("workers=2 serving");
    server
        .directory
        .write("app.py", "import time\ntime.sleep(600)\n");
    let ran = run(&server, &["scale", "3"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let told = " not ready after 5.";
    let end = "s (timeouts.boot); back to 2 workers\n";
    assert!(
        ran.stderr.contains(told) && ran.stderr.ends_with(end),
        "{}",
        ran.stderr
    );
    assert_two_serve(&server);
}

#[test]
fn fewer_workers_of_which_one_cannot_be_replaced_are_tried_again_and_that_is_told() {
    let server = Server::start("workers = 3");
    server.says("workers=3 serving");
    server.directory.write("app.py", BROKEN);
    for victim in &server.workers()[1..] {
        Process::find(*victim).unwrap().signal(Signal::SIGKILL);
    }
    server.says("2 starts in a row failed");
    let shown = run(&server, &["status"]).stdout;
    let trouble = "\ntrouble   worker=";
    assert!(
        shown.contains(trouble) && shown.contains("; the server tries again in "),
        "{shown}"
    );
    let ran = run(&server, &["scale", "2"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let told = " died of exit code 3; the server tries again in ";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    server.directory.write("app.py", APP);
    assert_two_serve(&server);
    assert!(!run(&server, &["status"]).stdout.contains(trouble));
}

#[test]
fn one_more_by_signal_is_taken_back_too() {
    let server = two_workers();
    server.directory.write("app.py", BROKEN);
    server.signal(Signal::SIGTTIN);
    server.says("more workers could not boot: worker=… workers=2 wanted again");
    assert_two_serve(&server);
}
