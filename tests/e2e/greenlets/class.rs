//! The classes, as they are chosen and named in the file, and the packages that they need.

use std::time::Duration;

use super::{CLASSES, at_once, send, setup, start};
use crate::harness::{APP, Process, Server, Setup, interpreters, phrases::REJECTED};

#[test]
fn a_save_that_switches_the_class_under_way_loses_no_request() {
    let server = Server::start("threads = 4");
    for class in ["gevent", "eventlet", "gthread", "gevent"] {
        let mut busy = server.client();
        send(&mut busy, "/sleep?s=1");
        let mut idle = server.client();
        idle.get("/");
        server.edit(&format!("worker_class = '{class}'"));
        assert_eq!(busy.response().text(), "slept", "to {class}");
        server.applied();
        assert_eq!(idle.get("/").text(), "hello from /", "to {class}");
        let environ = server.text("/environ");
        assert!(!environ.is_empty());
    }
}

#[test]
fn gunicorns_names_of_the_classes_are_understood() {
    for name in [
        "gunicorn.workers.ggevent.GeventWorker",
        "gevent_wsgi",
        "gunicorn.workers.geventlet.EventletWorker",
    ] {
        let server = start(name, "");
        let (bodies, took) = at_once(&server, 10, "/sleep?s=0.3");
        assert!(bodies.iter().all(|body| body == "slept"), "{name}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    }
}

#[test]
fn a_missing_package_is_told_with_the_command_that_installs_it() {
    let bare = interpreters()
        .iter()
        .rfind(|found| lacks_greenlets(&found.path));
    let bare = bare.expect("an interpreter without gevent and eventlet");
    let command = |class| format!("{} -m pip install {class}", bare.path.display());
    for class in CLASSES {
        let without = || setup(class, "").python(Some(bare.path.clone()));
        let exit = without().start_and_fail();
        assert_eq!(exit.code, Some(1), "{class}");
        assert!(exit.log.contains(&command(class)), "{}", exit.log);

        let exit = without()
            .arguments(&["check", "-c", "rgunicorn.toml"])
            .run();
        assert_eq!(exit.code, Some(1), "{class}");
        assert!(exit.log.contains(&command(class)), "{}", exit.log);

        let server = Setup::plain().python(Some(bare.path.clone())).start();
        let before = server.worker();
        server.edit(&format!("worker_class = '{class}'"));
        let line = server.says(REJECTED);
        assert!(line.contains(&command(class)), "{line}");
        assert_eq!(server.worker(), before, "{class}: nothing was rolled");
    }
}

fn lacks_greenlets(python: &std::path::Path) -> bool {
    let question = "from importlib.util import find_spec as has; import sys; \
                    sys.exit(sys.version_info < (3, 10) or bool(has('gevent') or has('eventlet')))";
    let status = std::process::Command::new(python)
        .args(["-c", question])
        .status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_worker_of_greenlets_has_one_epoll_instance_of_its_own_and_few_threads() {
    let server = start("gevent", "workers = 2\npreload = true");
    server.says_times(2, " ready");
    for pid in server.workers() {
        let worker = Process::find(pid).unwrap();
        assert_eq!(worker.threads(), 1, "the hub's thread and no other");
    }
}

#[test]
fn an_app_that_patches_by_itself_is_refused_with_threads() {
    for (class, patch) in [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ] {
        let server = Server::start("");
        server.directory.write("app.py", &format!("{patch}\n{APP}"));
        server.edit("threads = 4");
        server.says(&format!(
            "cannot serve with `threads`: the app has patched the standard library for {class}"
        ));
        server.says(REJECTED);
        assert_eq!(server.text("/"), "hello from /");
        server.edit(&format!("worker_class = '{class}'"));
        server.applied();
        assert_eq!(server.text("/"), "hello from /");
    }
}
