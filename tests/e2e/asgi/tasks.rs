//! A request's task: what the app sees of it and does with it is what any other coroutine in asyncio would.

use std::path::Path;

use crate::harness::{Setup, interpreters, venv_python};

const APP: &str = include_str!("../apps/asgi_tasks.py");

/// Every case of the app, by its name.
fn cases() -> impl Iterator<Item = &'static str> {
    let functions = APP
        .lines()
        .filter_map(|line| line.strip_prefix("async def "));
    let names = functions.filter_map(|line| line.split_once("():"));
    names.map(|(name, _)| name)
}

#[track_caller]
fn check(python: &Path, event_loop: &str) {
    let config = format!("app = 'app:app'\nworker_class = 'asgi'\nloop = '{event_loop}'");
    let server = Setup::with(&config)
        .app(APP)
        .python(Some(python.to_owned()))
        .start();
    let place = format!("on {event_loop} of {}", python.display());
    for case in cases() {
        let expected = server.text(&format!("/{case}/in-a-task"));
        let found = server.text(&format!("/{case}"));
        assert_eq!(found, expected, "{case} {place}");
    }
    let of_both = server.text("/callbacks");
    assert_eq!(of_both, "[False, False]", "{place}");
    let left_behind = server.text("/variables_of_others");
    assert_eq!(left_behind, "nothing", "{place}");
}

#[test]
fn a_request_is_a_task_from_its_first_step_on() {
    assert!(cases().count() > 15, "{:?}", cases().collect::<Vec<_>>());
    let supported = interpreters()
        .iter()
        .filter(|found| ((3, 10)..=(3, 13)).contains(&found.version));
    for found in supported {
        check(&found.path, "asyncio");
    }
    check(&venv_python(), "uvloop");
}
