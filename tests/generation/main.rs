//! A generation, from the exec of the interpreter to the exit of its last worker: real processes, a real interpreter.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod config;
mod interpreters;
#[path = "../e2e/harness/interpreters.rs"]
pub mod machine;
mod rig;
mod stacks;

use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::PermissionsExt,
    },
};

use nix::{
    poll::{PollFd, PollFlags, poll},
    sys::{
        signal::Signal,
        socket::{MsgFlags, send},
    },
};
use rgunicorn::{
    config::LogTarget,
    sys::{describe_exit, exit_code},
    wire::{FromGeneration, ToGeneration},
};
use rig::{GENERATION, Project, Rig, title_of, wait_readable};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

#[test]
fn a_worker_is_forked_becomes_ready_and_leaves_when_told() {
    let project = Project::with_module(HELLO);
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    assert_eq!(
        title_of(rig.process.pid),
        format!("rgunicorn: generation {GENERATION} [site_app]")
    );
    let (pid, pidfd) = rig.fork_ready(7);
    assert_eq!(rig.slot(7).pid(), pid);
    assert_eq!(
        title_of(pid),
        format!("rgunicorn: worker 7 generation {GENERATION} [site_app]")
    );
    pidfd.signal(Signal::SIGTERM).unwrap();
    assert_eq!(describe_exit(rig.expect_exit(7)), "exit code 0");
    assert_eq!(rig.retire(), 0);
    assert_eq!(project.error_log(), "");
}

#[test]
fn a_preloaded_app_is_imported_once_for_all_workers() {
    let project = Project::with_module(&format!("open('imports', 'a').write('x'){HELLO}"));
    let mut config = project.config("site_app");
    config.preload = true;
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    rig.fork_ready(1);
    rig.fork_ready(2);
    assert_eq!(fs::read_to_string(project.file("imports")).unwrap(), "x");
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn a_preloaded_app_that_raises_fails_the_start_with_its_traceback_in_the_log() {
    let project = Project::with_module("import os\nimport no_such_package\n");
    let mut config = project.config("site_app");
    config.preload = true;
    let mut rig = Rig::start(&config);
    let reason = "ModuleNotFoundError: No module named 'no_such_package'".to_owned();
    assert_eq!(rig.receive(), FromGeneration::Failed { reason });
    assert_eq!(rig.wait(), 3);
    let log = project.error_log();
    assert!(
        log.contains("[ERROR] generation=3 cannot load `site_app`"),
        "{log}"
    );
    assert!(log.contains("site_app.py\", line 2, in <module>"), "{log}");
    assert!(!log.contains("importlib"), "{log}");
}

#[test]
fn an_app_that_raises_ends_its_worker_and_the_generation_goes_on() {
    let project = Project::with_module("raise SystemExit('settings are missing')");
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    rig.fork(1);
    assert_eq!(exit_code(rig.expect_exit(1)), Some(3));
    let log = project.error_log();
    assert!(
        log.contains("generation=3 worker=1 cannot load `site_app`"),
        "{log}"
    );
    assert!(log.contains("SystemExit: settings are missing"), "{log}");
    fs::write(project.file("site_app.py"), HELLO).unwrap();
    rig.fork_ready(2);
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn an_app_that_is_not_there_is_told_with_the_names_that_are() {
    for (app, sentence) in [
        (
            "site_app:aplication",
            "`site_app` has no attribute `aplication`; it has `application`, `create_app`",
        ),
        (
            "site_app:text",
            "the app is not callable: it is an object of type `str`",
        ),
        (
            "site_app:create_app()",
            "create_app() missing 1 required positional argument: 'name'",
        ),
        (
            "site_app:create_app(name)",
            "the arguments `(name)` are not all Python literals, such as 'production'",
        ),
        (
            "site_app:nothing('x')",
            "what the factory returned is not callable: it is None",
        ),
        (
            "site_app:text('x')",
            "`text` is not callable: it is an object of type `str`",
        ),
    ] {
        let project = Project::with_module(&format!(
            "text = ''\ndef create_app(name, debug=False): return application\ndef nothing(x): pass{HELLO}"
        ));
        let mut rig = Rig::start(&project.config(app));
        rig.expect_prepared();
        rig.fork(1);
        assert_eq!(exit_code(rig.expect_exit(1)), Some(4), "{app}");
        let log = project.error_log();
        assert!(log.contains(sentence), "{app}: {log}");
        assert!(!log.contains("Traceback"), "{log}");
        assert_eq!(rig.retire(), 0);
    }
}

#[test]
fn a_factory_is_called_with_its_literals_and_dots_descend() {
    for app in [
        "site_app:create_app('shop', debug=True)",
        "site_app:Site.create_app('shop', debug=True)",
        "site_app:Site.application",
    ] {
        let project = Project::with_module(&format!(
            "{HELLO}
def create_app(name, debug=False):
    assert (name, debug) == ('shop', True)
    return application
class Site:
    create_app = staticmethod(create_app)
    application = staticmethod(application)
"
        ));
        let mut rig = Rig::start(&project.config(app));
        rig.expect_prepared();
        rig.fork_ready(1);
        assert_eq!(rig.abandon(), 0);
    }
}

#[test]
fn a_type_error_inside_a_factory_keeps_its_traceback() {
    let project = Project::with_module("def create_app():\n    return len(5)\n");
    let mut rig = Rig::start(&project.config("site_app:create_app()"));
    rig.expect_prepared();
    rig.fork(1);
    assert_eq!(exit_code(rig.expect_exit(1)), Some(3));
    assert!(project.error_log().contains("line 2, in create_app"));
}

#[test]
fn when_the_arbiter_dies_workers_leave_and_the_generation_follows() {
    let project = Project::with_module(HELLO);
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, first) = rig.fork_ready(1);
    let (_, second) = rig.fork_ready(2);
    assert_eq!(rig.abandon(), 0);
    wait_readable(first.as_fd(), "the end of worker 1");
    wait_readable(second.as_fd(), "the end of worker 2");
}

#[test]
fn a_generation_that_cannot_understand_the_arbiter_ends_at_once_and_its_workers_go_on() {
    let project = Project::with_module(HELLO);
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, worker) = rig.fork_ready(1);
    let channel = rig.process.channel.as_fd().as_raw_fd();
    send(channel, b"no order", MsgFlags::empty()).unwrap();
    wait_readable(rig.process.pidfd.as_fd(), "the end of the generation");
    assert!(project.error_log().contains("its workers go on"));
    let mut ended = [PollFd::new(worker.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ended, 500u16).unwrap(), 0, "the worker has ended");
    worker.signal(Signal::SIGKILL).unwrap();
    wait_readable(worker.as_fd(), "the end of the worker");
}

#[test]
fn a_retiring_generation_waits_for_its_workers_and_forks_no_more() {
    let project = Project::with_module(HELLO);
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork_ready(1);
    rig.process.channel.send(ToGeneration::Retire, &[]).unwrap();
    let order = ToGeneration::Fork { worker: 2, slot: 2 };
    rig.process.channel.send(order, &[]).unwrap();
    let FromGeneration::NotForked { worker: 2, .. } = rig.receive() else {
        panic!("it forked");
    };
    pidfd.signal(Signal::SIGKILL).unwrap();
    assert_eq!(describe_exit(rig.expect_exit(1)), "signal SIGKILL");
    assert_eq!(rig.wait(), 0);
}

#[test]
fn signals_to_the_whole_group_do_not_end_a_generation() {
    let project = Project::with_module(&format!(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: 1 / 0){HELLO}"
    ));
    let mut config = project.config("site_app");
    config.preload = true;
    let mut rig = Rig::start(&config);
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        rig.process.pidfd.signal(signal).unwrap();
    }
    rig.expect_prepared();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        rig.process.pidfd.signal(signal).unwrap();
    }
    rig.fork_ready(1);
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn a_worker_that_still_boots_can_be_ended() {
    let project = Project::with_module("import time\ntime.sleep(60)");
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork(1);
    pidfd.signal(Signal::SIGTERM).unwrap();
    assert_eq!(describe_exit(rig.expect_exit(1)), "signal SIGTERM");
    assert_eq!(rig.retire(), 0);
}

#[test]
fn abort_leaves_the_stacks_of_a_worker_on_its_sheet() {
    let project = Project::with_module(
        "import time\ndef wait_for_database():\n    open('booting', 'w')\n    time.sleep(60)\nwait_for_database()",
    );
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork(1);
    rig::eventually("it boots", || project.file("booting").exists());
    pidfd.signal(Signal::SIGABRT).unwrap();
    assert!(describe_exit(rig.expect_exit(1)).starts_with("signal SIGABRT"));
    let text = rig.sheets[&1].text().unwrap();
    assert!(text.contains("in wait_for_database"), "{text}");
    assert_eq!(rig.retire(), 0);
}

#[test]
fn abort_tells_where_a_preloaded_app_hangs() {
    let project = Project::with_module(
        "import time\ndef wait_for_database():\n    open('booting', 'w')\n    time.sleep(60)\nwait_for_database()",
    );
    let mut config = project.config("site_app");
    config.preload = true;
    let rig = Rig::start(&config);
    rig::eventually("it boots", || project.file("booting").exists());
    rig.process.pidfd.signal(Signal::SIGABRT).unwrap();
    wait_readable(rig.process.pidfd.as_fd(), "the end of the generation");
    let crash = rig.last_words.crash();
    assert!(crash.contains("in wait_for_database"), "{crash}");
}

#[test]
fn atexit_handlers_of_the_app_run_when_a_worker_leaves() {
    let project = Project::with_module(&format!(
        "import atexit\natexit.register(lambda: open('left', 'w')){HELLO}"
    ));
    let mut rig = Rig::start(&project.config("site_app"));
    rig.expect_prepared();
    let (_, pidfd) = rig.fork_ready(1);
    pidfd.signal(Signal::SIGTERM).unwrap();
    rig.expect_exit(1);
    assert!(project.file("left").exists());
    assert_eq!(rig.retire(), 0);
}

#[test]
fn a_preloaded_app_with_threads_is_warned_of_by_their_names() {
    let project = Project::with_module(&format!(
        "import threading\nthreading.Thread(target=threading.Event().wait, name='heartbeat', daemon=True).start(){HELLO}"
    ));
    let mut config = project.config("site_app");
    config.preload = true;
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    let log = project.error_log();
    assert!(
        log.contains(
            "[WARNING] generation=3 the app started a thread while it was preloaded (heartbeat)"
        ),
        "{log}"
    );
    assert_eq!(rig.retire(), 0);
}

#[test]
fn threads_that_begin_with_the_interpreter_are_not_taken_for_the_app_s() {
    let project = Project::with_module(&format!("import threading{HELLO}"));
    fs::write(
        project.file("sitecustomize.py"),
        "import threading\nthreading.Thread(target=threading.Event().wait, name='agent', daemon=True).start()",
    )
    .unwrap();
    let folder = project.file(".").display().to_string();
    for preload in [true, false] {
        let mut config = project.config("site_app");
        config.preload = preload;
        config.env.insert("PYTHONPATH".to_owned(), folder.clone());
        let mut rig = Rig::start(&config);
        rig.expect_prepared();
        assert_eq!(rig.retire(), 0);
    }
    let log = project.error_log();
    let told = "[INFO] generation=3 a thread began with the interpreter (agent): workers have the like only if what started them";
    assert_eq!(log.matches(told).count(), 2, "{log}");
    assert!(!log.contains("[WARNING]"), "{log}");
}

#[test]
fn after_a_log_was_moved_away_new_workers_write_to_the_new_one() {
    let project = Project::with_module("raise ValueError('first')");
    let config = project.config("site_app");
    assert_eq!(config.log.error, LogTarget::File(project.file("error.log")));
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    rig.fork(1);
    rig.expect_exit(1);
    fs::rename(project.file("error.log"), project.file("error.log.1")).unwrap();
    rig.post(&config);
    rig.fork(2);
    rig.expect_exit(2);
    assert!(project.error_log().contains("worker=2"));
    assert_eq!(rig.retire(), 0);
}

#[test]
fn the_app_sees_its_directory_first_its_environment_and_nothing_of_the_bootstrap() {
    let project = Project::with_module(&format!(
        "
import os, sys
assert sys.path[0] == os.getcwd(), sys.path
assert sys.path[1] == os.path.join(os.getcwd(), 'libraries'), sys.path
assert '' not in sys.path
assert sys.argv == ['rgunicorn'], sys.argv
assert os.environ['GREETING'] == 'hello'
assert os.environ['SERVER_SOFTWARE'].startswith('rgunicorn/')
assert os.umask(0o77) == 0o27
assert sys.stdin.read() == ''
open_here = {{os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)}}
assert not any('leaked' in name for name in open_here), open_here
{HELLO}"
    ));
    let mut config = project.config("site_app");
    config.python_path = vec!["libraries".into()];
    config.env.insert("GREETING".into(), "hello".into());
    config.umask = Some(0o27);
    let leaked = fs::File::create(project.file("leaked")).unwrap();
    nix::fcntl::fcntl(
        &leaked,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    rig.fork(1);
    rig::eventually("it has booted, or says why not", || {
        rig.slot(1).state() != rgunicorn::wire::WorkerState::Booting
            || !project.error_log().is_empty()
    });
    assert_eq!(project.error_log(), "");
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn a_server_started_as_root_runs_the_app_as_the_configured_user() {
    // Others must be able to reach both, which a checkout below a private home does not let them.
    let python = std::path::Path::new("/usr/bin/python3");
    let engine = rgunicorn::arbiter::engine::find().unwrap();
    if !nix::unistd::geteuid().is_root() || !python.exists() || !others_reach(&engine) {
        return;
    }
    let project = Project::with_module(&format!(
        "import os\nassert (os.getuid(), os.geteuid()) != (0, 0)\nassert os.getgid() == os.getegid() != 0\nassert 0 not in os.getgroups(){HELLO}"
    ));
    let mut config = project.config("site_app");
    config.user = Some("nobody".into());
    config.python = Some(python.into());
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    rig.fork_ready(1);
    assert_eq!(rig.abandon(), 0);
}

fn others_reach(path: &std::path::Path) -> bool {
    path.ancestors().skip(1).all(|folder| {
        let mode = fs::metadata(folder).map(|data| data.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o001 != 0)
    })
}
