//! USR2: another binary takes over, in place, and nobody notices.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use crate::{
    admin::support::{get, run, status},
    harness::{
        Address, Client, Hammer, Manager, Process, Server, Setup, eventually, install,
        install_script, venv_python,
    },
};

const BUILT: &str = env!("CARGO_BIN_EXE_rgunicorn");

/// An installation of its own, whose binary can be replaced.
fn installed(folder: &Path) -> PathBuf {
    let built = Path::new(BUILT).parent().unwrap();
    for engine in ["librgunicorn.so", "deps/librgunicorn.so"] {
        let target = folder.join(engine);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        if built.join(engine).exists() {
            symlink(built.join(engine), target).unwrap();
        }
    }
    let binary = folder.join("rgunicorn");
    install(Path::new(BUILT), &binary);
    binary
}

/// As a package manager does it: the file is another one under the same name.
fn replace(binary: &Path, text: &str) {
    let beside = binary.with_extension("new");
    install_script(&beside, text);
    fs::rename(&beside, binary).unwrap();
}

/// Runs the tests' interpreter, but while there is a file `newer` beside it, a generation is one of a later rgunicorn.
const LATER: &str = r#"#!/bin/sh
if [ -e newer ] && [ "${3%.so}" != "$3" ]; then
    exec PYTHON -c '
import socket, sys, time
hello = b"{\"Hello\":{\"python\":\"3.99.0\",\"engine\":\"9.9.9\",\"format\":999,\"more\":1}}"
socket.socket(fileno=int(sys.argv[1])).send(hello)
time.sleep(60)' "$4"
fi
exec PYTHON "$@"
"#;

#[test]
fn an_engine_that_does_not_go_with_the_running_program_is_refused() {
    let text = LATER.replace("PYTHON", &venv_python().display().to_string());
    let setup = Setup::with("python = '{dir}/later'");
    install_script(&setup.path().join("later"), &text);
    let server = setup.start();
    let worker = server.worker();
    server.directory.write("newer", "");
    server.signal(Signal::SIGHUP);
    server.says("reload=1 rejected: … rgunicorn 9.9.9 is installed now … send USR2");
    assert_eq!(server.worker(), worker);
    fs::remove_file(server.directory.path().join("newer")).unwrap();
    server.signal(Signal::SIGHUP);
    server.applied();
}

fn upgrade(server: &Server) {
    server.signal(Signal::SIGUSR2);
    server.says("upgrade done");
}

#[test]
fn ten_upgrades_in_a_row_with_reloads_between_fail_no_request() {
    let server = Server::start(
        "workers = 2\npidfile = 'server.pid'\nbind = ['127.0.0.1:0', 'unix:{dir}/run.sock']",
    );
    server.says_times(2, " ready");
    server.says("serving");
    let arbiter = server.arbiter();
    let mut idle = server.client();
    idle.get("/");
    let hammer = Hammer::start(server.address(), "/pid", 3, 3);
    for round in 0..10 {
        // What was replaced has left.
        eventually("a generation and two workers", || server.below().len() == 3);
        let workers = server.below();
        upgrade(&server);
        assert_eq!(server.below(), workers, "the processes are the same");
        hammer.lands(20);
        if round % 3 == 1 {
            server.edit(&format!(
                "workers = 2\npidfile = 'server.pid'\nbind = ['127.0.0.1:0', 'unix:{{dir}}/run.sock']\n[env]\nROUND = '{round}'"
            ));
            server.applied();
        }
    }
    hammer.stop();
    assert_eq!(idle.get("/").text(), "hello from /");
    assert!(arbiter.is_alive());
    assert!(
        arbiter.title().starts_with("rgunicorn: arbiter"),
        "{}",
        arbiter.title()
    );
    assert_eq!(
        server.directory.read("server.pid"),
        format!("{}\n", arbiter.pid)
    );
    assert_eq!(Client::to(&server.addresses()[1]).get("/").status, 200);
    // Nothing is left open by an exec for the next.
    let open = arbiter.open_files().unwrap();
    upgrade(&server);
    eventually("no descriptor is left behind", || {
        arbiter.open_files().unwrap() <= open
    });
    server.signal(Signal::SIGTERM);
    let folder = server.directory.path().to_owned();
    assert_eq!(server.ended().code, Some(0));
    assert!(!folder.join("server.pid").exists() && !folder.join("run.sock").exists());
}

#[test]
fn the_upgraded_arbiter_does_all_that_an_arbiter_does() {
    let server = Server::start("workers = 2");
    server.says_times(2, " ready");
    server.says("serving");
    upgrade(&server);
    // It replaces a worker that dies, and tells why it died.
    let victim = Process::find(server.worker()).unwrap();
    server.from_now();
    victim.signal(Signal::SIGKILL);
    server.says("SIGKILL");
    server.says("worker=3 … ready");
    server.signal(Signal::SIGTTIN);
    server.says("worker=4 … ready");
    server.edit("workers = 1");
    server.applied();
    server.directory.write("app.py", "import nowhere\n");
    server.signal(Signal::SIGHUP);
    server.says("rejected");
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_binary_that_cannot_start_is_refused_and_all_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let binary = installed(folder.path());
    let server = Setup::plain().program(&binary).start();
    server.says("serving");
    for (text, told) in [
        (
            "#!/bin/sh\necho 'cannot load libfoo.so' >&2; exit 127\n",
            "cannot load libfoo.so",
        ),
        ("not a program", "cannot be executed"),
        ("#!/bin/sh\nkill -SEGV $$\n", "SIGSEGV"),
        ("#!/bin/sh\n", "it does not say that it takes over"),
    ] {
        replace(&binary, text);
        server.signal(Signal::SIGUSR2);
        server.says(&format!("upgrade rejected … {told} … all goes on"));
        assert_eq!(server.text("/"), "hello from /");
    }
    fs::remove_file(&binary).unwrap();
    server.signal(Signal::SIGUSR2);
    server.says("upgrade rejected … cannot be executed");
    install(Path::new(BUILT), &binary);
    upgrade(&server);
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn an_upgrade_waits_for_a_roll_and_an_edit_saved_meanwhile_is_not_lost() {
    let server = Server::start("");
    server.says("serving");
    let slow = format!("import time\ntime.sleep(1)\n{}", crate::harness::APP);
    server.directory.write("app.py", &slow);
    server.signal(Signal::SIGHUP);
    server.says("rolling generation=2");
    server.signal(Signal::SIGUSR2);
    server.says("upgrade: waits");
    server.says("reload=1 done");
    server.says("upgrade done");
    server.from_now();
    server.edit("workers = 2");
    server.signal(Signal::SIGUSR2);
    server.says("upgrade done");
    eventually("the edit is in force", || {
        server.has_said("worker=3 … ready")
    });
}

#[test]
fn an_upgrade_waits_for_the_end_of_a_probation() {
    let config = "[reload]\nprobation = '2s'";
    let server = Server::start(config);
    server.says("serving");
    server.signal(Signal::SIGHUP);
    server.says("reload=1 done");
    server.signal(Signal::SIGUSR2);
    server.says("upgrade: waits");
    server.says("upgrade done");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn passed_sockets_are_known_by_name_and_number_after_an_upgrade() {
    let manager = Manager::default();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(socket.local_addr().unwrap());
    let sockets = vec![("web".to_owned(), socket.into())];
    let server = manager.activated(Setup::plain(), sockets).start();
    server.says("serving");
    upgrade(&server);
    for bind in ["systemd:web", "fd://3"] {
        server.edit(&format!(
            "bind = ['127.0.0.1:0', '{bind}']\n[env]\nBIND = '{bind}'"
        ));
        server.applied();
        assert_eq!(Client::to(&place).get("/").text(), "hello from /");
        upgrade(&server);
    }
}

#[test]
fn the_service_manager_hears_of_no_new_start_and_of_the_next_reload() {
    let manager = Manager::default();
    let server = manager
        .service(Setup::plain().environment("WATCHDOG_USEC", "2000000"))
        .start();
    manager.hears(&["READY=1"]);
    upgrade(&server);
    manager.hears(&["WATCHDOG=1"]);
    assert!(!manager.has_heard("READY=1"));
    server.signal(Signal::SIGHUP);
    manager.hears(&["RELOADING=1"]);
    manager.hears(&["READY=1"]);
}

#[test]
fn what_the_server_did_last_is_remembered_through_an_upgrade() {
    let server = Server::start("workers = 1");
    server.says("serving");
    server.edit("wrokers = 1");
    server.says("reload=1 rejected");
    let before = get(&server, "/events").json()["events"].clone();
    let before = before.as_array().unwrap();
    upgrade(&server);
    let after = get(&server, "/events").json()["events"].clone();
    let after = after.as_array().unwrap();
    assert_eq!(after[..before.len()], before[..]);
    for (index, event) in after.iter().enumerate() {
        assert_eq!(event["number"], index + 1, "without a gap");
    }
    let last = after.last().unwrap()["text"].as_str().unwrap();
    assert!(last.starts_with("upgrade done"), "{last}");
    let reload = &status(&server)["reload"];
    assert_eq!(reload["outcome"], "rejected");
    let problems = reload["problems"].as_str().unwrap();
    assert!(problems.contains("wrokers"), "{problems}");
    // What its workers complain about still reaches whoever asks.
    server.directory.write("app.py", "import half_copied\n");
    let ran = run(&server, &["scale", "2"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("'half_copied'"), "{}", ran.stderr);
}
