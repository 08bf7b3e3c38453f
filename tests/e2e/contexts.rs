//! What one request puts into a context variable (`contextvars`) reaches no other, in any class of worker: a user, a language,
//! a transaction of one client must not be another's.

use std::path::Path;

use crate::harness::{Setup, interpreters, venv_python};

const APP: &str = include_str!("apps/contexts.py");

#[track_caller]
fn setup(class: &str, config: &str) -> Setup {
    let name = if class == "asgi" { "asgi" } else { "wsgi" };
    Setup::with(&format!(
        "app = 'app:{name}'\nworker_class = '{class}'\n{config}"
    ))
    .app(APP)
}

/// Requests of one client that come at once, so that the next is at hand when one ends; what each saw.
#[track_caller]
fn seen(setup: Setup, paths: &[&str]) -> Vec<String> {
    let server = setup.start();
    let mut client = server.client();
    let mut all = Vec::new();
    for _ in 0..3 {
        let requests: String = paths
            .iter()
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .collect();
        client.send(requests);
        all.extend(paths.iter().map(|_| client.response().text()));
    }
    all
}

#[test]
fn no_request_sees_what_another_has_set_in_threads_and_greenlets() {
    let paths = ["/", "/parts", "/generator", "/"];
    for class in ["sync", "gthread", "gevent", "eventlet"] {
        let threads = if class == "gthread" {
            "threads = 2"
        } else {
            ""
        };
        for before in seen(setup(class, threads), &paths) {
            assert_eq!(before, "nothing", "{class}");
        }
    }
}

#[track_caller]
fn check_asgi(python: &Path, event_loop: &str) {
    let setup = setup("asgi", &format!("loop = '{event_loop}'")).python(Some(python.to_owned()));
    let paths = ["/later", "/", "/file", "/", "/later", "/"];
    for before in seen(setup, &paths) {
        let is_file = before.contains("contextvars.ContextVar");
        let place = format!("on {event_loop} of {}", python.display());
        assert!(is_file || before == "nothing", "{before} {place}");
    }
}

#[test]
fn no_request_sees_what_another_has_set_in_a_loop() {
    let supported = interpreters().iter().filter(|it| it.version >= (3, 10));
    for found in supported {
        check_asgi(&found.path, "asyncio");
    }
    check_asgi(&venv_python(), "uvloop");
}

#[test]
fn what_a_hook_sets_is_seen_by_its_request_alone() {
    let hooks = "[hooks]\npre_request = 'app:before_request'\npost_request = 'app:after_request'";
    for class in ["sync", "gthread", "asgi", "gevent", "eventlet"] {
        let server = setup(class, hooks).start();
        let mut client = server.client();
        for path in ["/first", "/second", "/later"] {
            let before = client.get(path).text();
            assert_eq!(before, format!("by the hook of {path}"), "{class}");
            let who = if class == "asgi" { "hook of" } else { "app in" };
            server.prints(&format!("after {path}: by the {who} {path}"));
        }
    }
}
