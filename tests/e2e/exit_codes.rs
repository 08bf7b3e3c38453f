//! With which code the program ends: the table of `docs/signals.md`. 3 and 4 of a first start are in `death.rs`, 0 after signals
//! in `signals.rs`, those of `plan` in `plan.rs`.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;

use crate::harness::{Server, Setup};

const IMPORTS_NOTHING: &str = "import a_module_that_is_not_there\n";

#[test]
fn a_wrong_configuration_and_a_taken_address_end_the_start_with_1() {
    let exit = Setup::with("worker = 3").start_and_fail();
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    let exit = Setup::without_file(&[]).start_and_fail();
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    assert!(
        exit.log.contains("there is no `app` to serve"),
        "{}",
        exit.log
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = format!("bind = '{}'", taken.local_addr().unwrap());
    assert_eq!(Setup::with(&bind).start_and_fail().code, Some(1));
    let exit = Setup::without_file(&["-c", "not-there.toml"]).start_and_fail();
    assert_eq!(exit.code, Some(1), "{}", exit.log);
}

#[test]
fn a_directory_that_the_user_may_not_enter_ends_the_start_with_1() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("to be another user needs root");
        return;
    }
    let setup = Setup::with("user = 'nobody'");
    fs::set_permissions(setup.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let exit = setup.start_and_fail();
    assert!(exit.log.contains("may not enter"), "{}", exit.log);
    assert_eq!(exit.code, Some(1), "{}", exit.log);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &["--nonsense"][..],
        &["check", "--nonsense"],
        &["completions", "tcsh"],
    ] {
        let exit = Setup::without_file(arguments).run();
        assert_eq!(exit.code, Some(2), "{}", exit.log);
    }
}

#[test]
fn check_ends_with_0_or_1_whatever_is_wrong() {
    let check = |config: &str, app: &str| {
        let setup = Setup::with(config).app(app);
        setup
            .arguments(&["check", "-c", "rgunicorn.toml"])
            .run()
            .code
    };
    assert_eq!(check("", crate::harness::APP), Some(0));
    assert_eq!(check("worker = 3", crate::harness::APP), Some(1));
    assert_eq!(check("", IMPORTS_NOTHING), Some(1));
    assert_eq!(check("app = 'app:missing'", crate::harness::APP), Some(1));
}

/// Gunicorn's master ends with 1, 3 or 4 then, and takes the site down.
#[test]
fn once_it_serves_no_mistake_ends_it() {
    let server = Server::start("");
    server.edit("worker = 3");
    server.says("reload … rejected");
    server.directory.write("app.py", IMPORTS_NOTHING);
    server.signal(Signal::SIGHUP);
    server.says("reload … rejected");
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}
