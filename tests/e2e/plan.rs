//! `rgunicorn plan`: what a save would do, told by the words of the reload log, and nothing done.

use std::process::{Command, Output};

use crate::harness::{InTime, Server, Setup, phrases::APPLIED};

fn plan(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    plan_in(server.directory.path(), arguments)
}

fn plan_in(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_rgunicorn"))
        .arg("plan")
        .args(arguments)
        .current_dir(folder)
        .output_in_time()
        .unwrap();
    let told = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code(), told)
}

/// The file as it is on disk, with something replaced.
fn draft(server: &Server, from: &str, to: &str) {
    let text = server.directory.read("rgunicorn.toml");
    assert!(text.contains(from), "{text}");
    server.directory.write("new.toml", &text.replace(from, to));
}

fn started() -> Server {
    let server = Server::start("workers = 2\npreload = false\n[env]\nKEY = 'hush'");
    server.says("workers=2 serving");
    server
}

#[test]
fn a_file_that_is_in_force_would_change_nothing() {
    let server = started();
    let (code, told) = plan(&server, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with(&format!(
        "pid={} generation=1 serves\n",
        server.arbiter().pid
    )));
    assert!(told.ends_with("nothing would change\n"), "{told}");
}

#[test]
fn a_draft_is_told_key_by_key_with_what_it_costs_and_nothing_happens() {
    let server = started();
    let workers = server.generations()[0].children();
    draft(&server, "workers = 2", "workers = 5");
    let (code, told) = plan(&server, &["new.toml"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("\n  workers 2 -> 5 (scale)\n"), "{told}");
    assert!(told.contains("\n3 workers would start, about "), "{told}");
    draft(&server, "preload = false", "preload = true");
    let (code, told) = plan(&server, &["-c", "rgunicorn.toml", "new.toml"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("\n  preload false -> true (roll)\n"),
        "{told}"
    );
    assert!(
        told.contains("a new generation rolled in: 2 workers, 1 at a time, about "),
        "{told}"
    );
    assert!(told.contains("MiB more"), "{told}");
    draft(&server, "'hush'", "'hush!'");
    let (_, told) = plan(&server, &["new.toml"]);
    assert!(
        told.contains("env.KEY (hidden) -> (hidden) (roll)"),
        "{told}"
    );
    assert_eq!(server.generations()[0].children(), workers);
    assert!(!server.has_said("reload="));
}

#[test]
fn what_is_wrong_with_a_draft_is_shown() {
    let server = started();
    draft(&server, "workers = 2", "worker = 2");
    let (code, told) = plan(&server, &["new.toml"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("did you mean `workers`?"), "{told}");
    assert_eq!(plan(&server, &["missing.toml"]).0, Some(1));
}

#[test]
fn the_flags_and_the_environment_that_count_are_the_servers() {
    let server = Setup::plain()
        .arguments(&["-c", "rgunicorn.toml", "-w", "3"])
        .environment("RGUNICORN_THREADS", "2")
        .start();
    server.says("workers=3 serving");
    let (code, told) = plan(&server, &[]);
    assert_eq!(code, Some(0), "{told}");
    let text = server.directory.read("rgunicorn.toml") + "\n[timeouts]\nboot = '20s'\n";
    server.directory.write("new.toml", &text);
    let (code, told) = plan(&server, &["new.toml"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("timeouts.boot 60s -> 20s (live)\nno worker would be replaced"),
        "{told}"
    );
}

#[test]
fn it_follows_what_is_in_force() {
    let server = started();
    server.edit("workers = 1\npreload = true");
    server.says(APPLIED);
    let (code, told) = plan(&server, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("generation=2 serves"), "{told}");
    // Rejected, so the file and what runs differ.
    server.edit("workers = 1\npreload = true\nthreads = 2\npython = '/nowhere/python'");
    server.says("rejected");
    server.edit_raw(
        &server
            .directory
            .read("rgunicorn.toml")
            .replace("/nowhere", "/nowhere/else"),
    );
    let (code, told) = plan(&server, &[]);
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn what_the_machine_would_not_let_happen_is_told_and_left_alone() {
    let server = started();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    std::fs::create_dir(server.directory.path().join("folder")).unwrap();
    draft(&server, "127.0.0.1:0", &address.to_string());
    let (code, told) = plan(&server, &["new.toml"]);
    assert_eq!(code, Some(1), "{told}");
    let end = format!("would be rejected: cannot listen: `{address}` is already in use\n");
    assert!(told.ends_with(&end), "{told}");
    drop(taken);
    assert_eq!(plan(&server, &["new.toml"]).0, Some(2));

    draft(&server, "[env]", "[log]\naccess = 'folder'\n[env]");
    let (code, told) = plan(&server, &["new.toml"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("folder` cannot be opened: is a directory"),
        "{told}"
    );
}

#[test]
fn a_command_that_is_not_understood_cannot_be_taken_for_changes() {
    let server = started();
    for wrong in [&["--no-such-flag"][..], &["--pid", "x"], &["a", "b", "c"]] {
        assert_eq!(plan(&server, wrong).0, Some(1), "{wrong:?}");
    }
    let (code, told) = plan(&server, &["--help"]);
    assert_eq!(code, Some(0));
    assert!(
        told.contains("Exit codes:\n  0  nothing would change"),
        "{told}"
    );
}

#[test]
fn without_a_server_it_says_so() {
    let setup = Setup::plain();
    setup.path();
    let (code, told) = plan_in(setup.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("no server runs with `rgunicorn.toml`"),
        "{told}"
    );
}
