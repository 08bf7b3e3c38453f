//! `[hooks.commands]`: programs that are run for events, and what happens when one is wrong, late or dead.

use nix::sys::signal::Signal;

use crate::harness::{DEADLINE, Server, Setup, phrases::APPLIED, within};

/// A program that appends what it was told to a file.
const TELL: &str = "['sh', '-c', 'echo \"$HOOK_EVENT g=$HOOK_GENERATION w=$HOOK_WORKER r=$HOOK_RELOAD $0: $HOOK_REASON\" >> told', '{}']";

fn tell(events: &[&str]) -> String {
    let lines: String = events
        .iter()
        .map(|event| format!("{event} = {}\n", TELL.replace("{}", event)))
        .collect();
    format!("[hooks.commands]\n{lines}")
}

fn told(server: &Server, line: &str) {
    let has_line = || server.directory.read("told").lines().any(|one| one == line);
    let is_there = within(DEADLINE, has_line);
    assert!(
        is_there,
        "no `{line}` in:\n{}",
        server.directory.read("told")
    );
}

#[test]
fn programs_are_run_for_events_with_what_happened_in_their_environment() {
    let commands = tell(&[
        "when_ready",
        "reload_done",
        "reload_failed",
        "worker_died",
        "child_exit",
        "on_exit",
    ]);
    let server = Setup::with(&commands).start();
    told(&server, "when_ready g=1 w= r= when_ready: ");
    server.client().send("GET /die HTTP/1.1\r\nHost: a\r\n\r\n");
    told(
        &server,
        "worker_died g=1 w=1 r= worker_died: signal SIGKILL",
    );
    told(&server, "child_exit g=1 w=1 r= child_exit: signal SIGKILL");
    server.says("worker=2 … ready");
    server.signal(Signal::SIGHUP);
    server.applied();
    told(&server, "when_ready g=2 w= r= when_ready: ");
    told(&server, "reload_done g= w= r=1 reload_done: ");
    told(&server, "child_exit g=1 w=2 r= child_exit: exit code 0");
    server.edit_raw("app = 1");
    told(
        &server,
        "reload_failed g= w= r=2 reload_failed: the configuration has problems",
    );
    server.edit(&format!("threads = 2\napp = 'nowhere'\n{commands}"));
    told(
        &server,
        "reload_failed g=3 w= r=3 reload_failed: worker=4 died of exit code 3",
    );
    server.edit(&format!("workers = 2\n{commands}"));
    told(&server, "reload_done g= w= r=4 reload_done: ");
    server.signal(Signal::SIGTERM);
    server.says("stopped");
    told(&server, "on_exit g= w= r= on_exit: ");
    let deaths = server
        .directory
        .read("told")
        .matches("worker_died g")
        .count();
    assert_eq!(
        deaths, 2,
        "the one that was killed and the one that did not boot"
    );
}

#[test]
fn commands_change_without_new_workers_and_their_output_goes_to_the_error_log() {
    let server = Server::start("");
    let worker = server.worker();
    server.edit("[hooks.commands]\nreload_done = ['echo', 'spoken by a program']");
    server.says(APPLIED);
    assert_eq!(server.worker(), worker);
    server.says("spoken by a program");
}

#[test]
fn programs_that_fail_hang_or_do_not_exist_cost_a_warning() {
    let server = Server::start(
        "[hooks.commands]\nwhen_ready = ['/nowhere/program']\nreload_done = 'false'\non_exit = ['sleep', '60']",
    );
    server.says("hooks.commands.when_ready `/nowhere/program` cannot be run: No such file");
    server.signal(Signal::SIGHUP);
    server.says("hooks.commands.reload_done pid=… ended with exit code 1");
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTERM);
    server.says("hooks.commands.on_exit pid=… was not done after 5s: killed");
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_rollback_runs_its_program() {
    let server = Setup::with(&format!(
        "[reload]\nprobation = '20s'\n{}",
        tell(&["rolled_back", "when_ready"])
    ))
    .start();
    told(&server, "when_ready g=1 w= r= when_ready: ");
    server.signal(Signal::SIGHUP);
    server.applied();
    for _ in 0..2 {
        server.from_now();
        server.client().send("GET /die HTTP/1.1\r\nHost: a\r\n\r\n");
        server.says("died of signal SIGKILL");
        server.says(" ready");
    }
    told(
        &server,
        "rolled_back g=2 w= r=1 rolled_back: 2 workers died or got stuck",
    );
}
