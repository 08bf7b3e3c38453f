//! `log.error_format = "json"`: whatever happens, each line of the error log is one object.

use serde_json::Value;

use super::start_unseen;
use crate::harness::{APP, Client, Server, Setup, eventually};

const CONFIG: &str = "bind = 'unix:run.sock'\nPRELOAD\n[log]\nerror_format = 'json'";

const APP_THAT_TALKS: &str = r#"
def route_talk(environ, start_response, query):
    errors = environ["wsgi.errors"]
    errors.write("worker=9 half a \"line\"\n and \x1b[2J")
    errors.write(" the rest\n")
    errors.write("no end")
    errors.flush()
    return answer(start_response, "talked")

def route_crash(environ, start_response, query):
    os.abort()
"#;

/// All lines so far, each of which has to be an object with the keys that all have.
#[track_caller]
fn objects(server: &Server) -> Vec<Value> {
    let log = server.log();
    let parsed = log.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["time", "level", "pid", "role", "message"] {
            assert!(value.get(key).is_some(), "no {key} in {line}");
        }
        value
    });
    parsed.collect()
}

/// Waits for an object that fits.
#[track_caller]
fn says(server: &Server, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    eventually(what, || {
        found = objects(server).into_iter().find(|value| fits(value));
        found.is_some()
    });
    found.unwrap()
}

fn message(value: &Value) -> &str {
    value["message"].as_str().unwrap()
}

#[test]
fn every_line_is_an_object_from_start_to_end_of_whatever_process() {
    for preload in ["preload = false", "preload = true"] {
        let setup =
            Setup::with(&CONFIG.replace("PRELOAD", preload)).app(&format!("{APP}{APP_THAT_TALKS}"));
        let (server, address) = start_unseen(setup);
        let ready = says(&server, "ready", |value| message(value).ends_with(" ready"));
        assert_eq!(ready["role"], "arbiter");
        assert_eq!(
            (&ready["generation"], &ready["worker"]),
            (&1.into(), &1.into())
        );
        let worker = ready["target_pid"].as_u64().unwrap();
        assert_ne!(ready["pid"].as_u64().unwrap(), worker);
        let time = ready["time"].as_str().unwrap();
        assert!(time.len() == "2026-11-21T02:42:56.007+00:00".len() && &time[10..11] == "T");

        let mut client = Client::to(&address);
        assert_eq!(client.get("/error?\"%0a").status, 500);
        let failure = says(&server, "the failure", |value| {
            message(value).contains("/error")
        });
        assert_eq!(failure["role"], "worker");
        assert_eq!(failure["level"], "ERROR");
        assert_eq!(failure["pid"].as_u64().unwrap(), worker);
        assert_eq!(message(&failure), "the app failed on GET /error?\"%0a");
        let detail = failure["detail"].as_str().unwrap();
        assert!(detail.starts_with("Traceback (most"), "{detail}");
        assert!(detail.ends_with("on purpose"), "{detail}");

        assert_eq!(Client::to(&address).get("/talk").text(), "talked");
        let lines = says(&server, "the last line", |value| message(value) == "no end");
        assert_eq!(lines["source"], "wsgi.errors");
        assert_eq!(lines["worker"], 1);
        let half = says(&server, "a line", |value| message(value).contains("half"));
        assert_eq!(message(&half), "worker=9 half a \"line\"");
        says(&server, "a line", |value| {
            message(value) == " and \u{1b}[2J the rest"
        });

        Client::to(&address).send("GET /crash HTTP/1.1\r\nHost: test\r\n\r\n");
        let death = says(&server, "the death", |value| {
            message(value).contains("SIGABRT")
        });
        assert!(death["detail"].as_str().unwrap().contains("route_crash"));
        assert_eq!(death["worker"], 1);

        server.signal(nix::sys::signal::Signal::SIGTERM);
        says(&server, "the end", |value| message(value) == "stopped");
    }
}

#[test]
fn a_generation_that_crashes_tells_where_in_an_object() {
    let (server, _) = start_unseen(Setup::with(&CONFIG.replace("PRELOAD", "preload = true")));
    says(&server, "ready", |value| {
        message(value).ends_with(" serving")
    });
    let crash = "import ctypes\ndef fall():\n    ctypes.string_at(0)\nfall()\n";
    server.directory.write("app.py", crash);
    server.signal(nix::sys::signal::Signal::SIGHUP);
    let told = says(&server, "the crash", |value| {
        message(value) == "generation=2 crashed: signal SIGSEGV"
    });
    assert_eq!(
        (&told["level"], &told["generation"]),
        (&"ERROR".into(), &2.into())
    );
    let detail = told["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("Fatal Python error: Segmentation fault"),
        "{detail}"
    );
    assert!(detail.contains("in fall"), "{detail}");
    says(&server, "what follows", |value| {
        message(value).contains("reload=1 rejected: generation=2 could not boot")
    });
}

#[test]
fn a_rejected_edit_is_an_object_with_the_report_below_it() {
    let (server, _) = start_unseen(Setup::with(&CONFIG.replace("PRELOAD", "")));
    says(&server, "ready", |value| {
        message(value).ends_with(" serving")
    });
    server.edit_raw("workers = 'many'\n");
    let rejected = says(&server, "rejected", |value| {
        message(value).contains("rejected")
    });
    assert_eq!(rejected["reload"], 1);
    let detail = rejected["detail"].as_str().unwrap();
    assert!(
        detail.contains("workers") && detail.contains('\n'),
        "{detail}"
    );
}

#[test]
fn a_preloaded_app_that_does_not_import_is_an_object_with_its_traceback() {
    let config = CONFIG.replace("PRELOAD", "preload = true");
    let exit = Setup::with(&config)
        .app("import nowhere\n")
        .start_and_fail();
    assert_eq!(exit.code, Some(3));
    let objects: Vec<Value> = exit
        .log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failure = objects
        .iter()
        .find(|value| value.get("detail").is_some())
        .unwrap();
    assert_eq!(failure["role"], "generation");
    assert!(
        failure["detail"]
            .as_str()
            .unwrap()
            .contains("No module named 'nowhere'")
    );
}
