//! What the logs say and where they go.

use std::{fs, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;

use super::CLASSES;
use crate::harness::{Setup, eventually, phrases::REJECTED, system_python};

#[test]
fn what_a_line_of_the_access_log_says_and_where_it_goes() {
    for class in &CLASSES {
        let live = class.start("[log]\nformat = 'before %(U)s'");
        live.server.prints("before /pid");
        let server = live.change("log.format", "[log]\nformat = 'after %(U)s'");
        server.text("/x");
        server.prints("after /x");

        let server = live.change(
            "log.access",
            "[log]\nformat = '%(U)s'\naccess = 'access.log'",
        );
        server.text("/in-the-file");
        eventually("the line is in the file", || {
            server
                .directory
                .read("access.log")
                .contains("/in-the-file\n")
        });
        assert!(!server.printed().contains("/in-the-file"));

        let server = live.change("log.access", "[log]\nformat = '%(U)s'\naccess = 'off'");
        server.text("/nowhere");
        let server = live.change("log.access", "[log]\nformat = '%(U)s'");
        server.text("/printed-again");
        server.prints("/printed-again");
        let logged = server.directory.read("access.log") + &server.printed();
        assert!(!logged.contains("/nowhere"), "{}", class.name);
        live.end();
    }
}

#[test]
fn a_variable_of_the_environ_can_come_into_the_access_log() {
    for class in [&CLASSES[0], &CLASSES[3]] {
        let live = class.start("[log]\nformat = '%(U)s'");
        live.server.text("/before");
        let server = live.change("log.format", "[log]\nformat = '%(U)s %({SERVER_NAME}e)s'");
        server.text("/x");
        let line = server.prints("/x ");
        assert!(line.len() > "/x -".len(), "{line}");
        live.end();
    }
}

#[test]
fn which_messages_go_to_the_error_log_and_where_that_is() {
    for class in &CLASSES {
        let live = class.start("");
        let server = live.change("log.level", "[log]\nlevel = 'debug'");
        server.says_times(2, "[DEBUG] generation=1 worker= … taken");
        let server = live.change("log.level", "");
        assert!(!server.has_said("[DEBUG]"));

        let server = &live.server;
        server.edit(&format!(
            "{}\nworkers = 2\n[log]\nerror = 'error.log'",
            class.config
        ));
        let file = || server.directory.read("error.log");
        eventually("the rest is in the file", || {
            fs::exists(server.directory.path().join("error.log")).unwrap()
                && file().contains("reload=3 done in ")
        });
        server.get("/error");
        eventually("so is what the worker says", || {
            file().contains("on purpose")
        });
        assert!(!server.log().contains("on purpose"), "{}", class.name);

        server.edit(&format!("{}\nworkers = 2", class.config));
        server.says("reload=4 done in ");
        server.get("/error");
        server.says("on purpose");
        live.end();
    }
}

#[test]
fn a_log_that_cannot_be_opened_changes_nothing() {
    let live = CLASSES[0].start("[log]\nformat = '%(U)s'");
    let server = &live.server;
    fs::create_dir(server.directory.path().join("folder")).unwrap();
    server.edit("workers = 2\nworker_class = 'sync'\n[log]\nformat = '%(s)s'\naccess = 'folder'");
    server.says(REJECTED);
    assert!(server.has_said("`log.access`: … folder` cannot be opened"));
    server.text("/still-here");
    server.prints("/still-here");
    live.end();
}

#[test]
fn workers_of_another_user_get_logs_from_where_they_may_not_look() {
    if system_python().is_none() {
        return;
    }
    let user = "user = 'nobody'\npython = '/usr/bin/python3'";
    let setup = Setup::with(user);
    let folder = setup.path().to_owned();
    let allow = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o755);
    let server = setup.start();
    fs::create_dir(folder.join("logs")).unwrap();
    fs::set_permissions(folder.join("logs"), fs::Permissions::from_mode(0o700)).unwrap();
    let edit = format!("{user}\n[log]\naccess = 'logs/access.log'\nformat = '%(U)s'");
    server.edit(&edit);
    server.says("done in");
    server.text("/one");
    let log = |name: &str| server.directory.read(&format!("logs/{name}"));
    eventually("it is written", || log("access.log").contains("/one"));
    fs::rename(
        folder.join("logs/access.log"),
        folder.join("logs/access.log.1"),
    )
    .unwrap();
    server.signal(Signal::SIGUSR1);
    server.says("logs reopened");
    eventually("the new file is written", || {
        server.text("/two");
        log("access.log").contains("/two")
    });
    assert!(log("access.log.1").contains("/one"));
}
