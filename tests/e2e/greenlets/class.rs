//! The classes, as they are chosen and named in the file, and the packages that they need.

use std::time::Duration;

use super::{CLASSES, at_once, send, setup, start};
use crate::harness::{APP, Interpreter, Process, Server, Setup, interpreters, phrases::REJECTED};

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
        let (bodies, took) = at_once(&server, 10, "/sleep?s=0.6");
        assert!(bodies.iter().all(|body| body == "slept"), "{name}");
        // One after the other they need 6 seconds.
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    }
}

#[test]
fn a_missing_package_is_told_with_the_command_that_installs_it() {
    let lacks = |found: &&Interpreter| CLASSES.iter().all(|class| found.lacks(class));
    let Some(bare) = interpreters().iter().rfind(lacks) else {
        eprintln!("no interpreter without gevent and eventlet: skipped");
        return;
    };
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

#[test]
fn a_worker_of_greenlets_inherits_no_epoll_instance_and_has_one_thread() {
    // The app makes a hub before the fork.
    let server = setup("gevent", "workers = 2\npreload = true")
        .app(&format!("import gevent\ngevent.sleep(0)\n{APP}"))
        .start();
    server.says_times(2, " ready");
    for pid in server.workers() {
        let worker = Process::find(pid).unwrap();
        assert_eq!(worker.threads(), 1, "the hub's thread and no other");
        let opened = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let places = opened.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let epolls = places.filter(|place| place.ends_with("anon_inode:[eventpoll]"));
        assert_eq!(epolls.count(), 2, "the server's and the hub's");
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
