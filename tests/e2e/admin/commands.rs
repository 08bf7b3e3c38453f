//! The commands, as they are typed.

use serde_json::Value;

use super::support::{first_worker, get, post, run, run_json, socket, status, two_workers};
use crate::harness::{APP, Hammer, Server, Setup, eventually};

#[test]
fn status_shows_generations_and_workers_and_what_they_do() {
    let server = two_workers();
    let mut slow = server.client();
    slow.send("GET /sleep?s=3 HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is with the app", || {
        run(&server, &["status"])
            .stdout
            .contains("GET /sleep?s=3 for ")
    });
    let ran = run(&server, &["status"]);
    assert_eq!(ran.code, Some(0));
    for part in [
        "serving, up ",
        "workers   2 of 2 ready",
        "GENERATION",
        "DOING",
        "MiB",
    ] {
        assert!(ran.stdout.contains(part), "{part}:\n{}", ran.stdout);
    }
    let pid = server.arbiter().pid.to_string();
    for way in [
        vec!["-c", "rgunicorn.toml"],
        vec!["--pid", &pid],
        vec!["--socket", socket(&server).to_str().unwrap()],
    ] {
        let told = run_json(&server, &[&["status"], &way[..]].concat());
        assert_eq!(told["pid"], server.arbiter().pid);
    }
    assert_eq!(
        run_json(&server, &["-c", "rgunicorn.toml", "status"])["state"],
        "serving"
    );
}

#[test]
fn a_server_that_does_not_run_is_told_by_the_exit_code() {
    let server = Server::start("[admin]\nsocket = 'off'");
    let ran = run(&server, &["status"]);
    assert_eq!(ran.code, Some(4));
    assert!(ran.stderr.contains("has no admin socket"), "{}", ran.stderr);
    for arguments in [
        &["status", "-c", "other.toml"][..],
        &["reload", "--pid", "1"],
        &["stop", "--socket", "/no/such.sock"],
    ] {
        assert_eq!(run(&server, arguments).code, Some(4), "{arguments:?}");
    }
    assert_eq!(run(&server, &["scale", "0"]).code, Some(2));
    assert_eq!(run(&server, &["scale"]).code, Some(2));
}

#[test]
fn reload_shows_the_workers_coming_up_and_the_outcome() {
    let server = two_workers();
    let hammer = Hammer::start(server.address(), "/pid", 2, 3);
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .starts_with("generation 2: 0 of 2 workers ready\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("reload 1 done in "), "{}", ran.stdout);
    hammer.stop();
    let events = run_json(&server, &["events"]);
    let texts: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["text"].as_str().unwrap())
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("reload=1 done in ")),
        "{texts:?}"
    );
    // The last but one, so that there is something after it.
    let events = events["events"].as_array().unwrap();
    let number = events[events.len() - 2]["number"].as_u64().unwrap();
    let after = run_json(&server, &["events", "--after", &number.to_string()]);
    assert_eq!(after["events"][0], events[events.len() - 1]);
}

#[test]
fn reload_counts_the_workers_that_the_new_file_wants() {
    let server = Server::start("workers = 1\n[reload]\nwatch = false");
    server.edit("workers = 3\n[reload]\nwatch = false");
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .starts_with("generation 2: 0 of 3 workers ready\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_configuration_with_problems_is_rejected_with_them() {
    let server = Server::start("[reload]\nwatch = false");
    server.edit_raw("workers = 'many'\n");
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("rgunicorn.toml:1"), "{}", ran.stderr);
    assert!(
        ran.stderr.ends_with("the configuration has problems\n"),
        "{}",
        ran.stderr
    );
    let told = &status(&server)["reload"];
    assert_eq!(
        (&told["reload"], &told["outcome"]),
        (&1.into(), &"rejected".into())
    );
    assert_eq!(server.get("/").status, 200);
}

#[track_caller]
fn rejects_broken_code(config: &str) {
    let server = Server::start(config);
    server.directory.write("app.py", "import missing_thing\n");
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(1));
    for part in [
        "Traceback (most recent call last)",
        "line 1, in <module>",
        "ModuleNotFoundError: No module named 'missing_thing'",
        "reload 1 rejected in ",
    ] {
        assert!(ran.stderr.contains(part), "{part}:\n{}", ran.stderr);
    }
    let json = run(&server, &["reload", "--json"]);
    assert_eq!(json.code, Some(1));
    let last: Value = serde_json::from_str(json.stdout.lines().last().unwrap()).unwrap();
    assert!(
        last["reload"]["problems"]
            .as_str()
            .unwrap()
            .contains("missing_thing")
    );
    assert_eq!(server.get("/").status, 200);
    server.directory.write("app.py", APP);
    assert_eq!(run(&server, &["reload"]).code, Some(0));
}

#[test]
fn code_that_does_not_import_is_rejected_with_its_traceback() {
    rejects_broken_code("");
}

#[test]
fn so_it_is_when_it_is_preloaded() {
    rejects_broken_code("preload = true");
}

#[test]
fn what_the_app_says_does_not_steer_the_terminal() {
    let server = Server::start("");
    let app = "raise RuntimeError('here \\x1b[2J\\x9b1m\\u202e there')\n";
    server.directory.write("app.py", app);
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("here "), "{}", ran.stderr);
    let harmful = |one: char| (one.is_control() && one != '\n') || one == '\u{202e}';
    assert!(!ran.stderr.contains(harmful), "{:?}", ran.stderr);
}

#[test]
fn a_health_check_that_fails_is_told_too() {
    let server = Setup::with("[reload]\nhealth_check = { path = '/version', tries = 1 }").start();
    let sick = "def application(environ, start_response):\n    \
                start_response('404 Not Found', [])\n    return []\n";
    server.directory.write("app.py", sick);
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("health check"), "{}", ran.stderr);
    assert!(ran.stderr.contains("404"), "{}", ran.stderr);
}

#[test]
fn scale_waits_until_as_many_serve() {
    let server = two_workers();
    let ran = run(&server, &["scale", "4"]);
    assert_eq!(
        (ran.code, ran.stdout.lines().last()),
        (Some(0), Some("4 workers serve"))
    );
    assert_eq!(server.generations()[0].children().len(), 4);
    assert_eq!(run(&server, &["scale", "1", "--json"]).code, Some(0));
    assert_eq!(server.generations()[0].children().len(), 1);
    // As with TTIN: another reload leaves the number alone, one that changes it does not.
    assert_eq!(run(&server, &["reload"]).code, Some(0));
    assert_eq!(status(&server)["workers_ready"], 1);
    server.edit("workers = 3");
    eventually("the file says so", || status(&server)["workers_ready"] == 3);
}

#[test]
fn a_worker_is_replaced_with_and_without_patience() {
    let server = two_workers();
    let hammer = Hammer::start(server.address(), "/pid", 2, 3);
    let before = first_worker(&status(&server));
    let ran = run(&server, &["worker", "kill", &before.to_string()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    eventually("another takes its place", || {
        let status = status(&server);
        first_worker(&status) != before && status["workers_ready"] == 2
    });
    hammer.lands(10);
    hammer.stop();
    let before = first_worker(&status(&server));
    let ran = run(&server, &["worker", "kill", "--quick", &before.to_string()]);
    assert!(ran.stdout.contains("killed"), "{}", ran.stdout);
    server.says("died of signal SIGKILL");
    eventually("another takes its place", || {
        status(&server)["workers_ready"] == 2
    });
    let ran = run(&server, &["worker", "kill", "1"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("1 is not the process id of a worker"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_log_level_holds_until_a_reload() {
    let server = two_workers();
    assert_eq!(run(&server, &["log-level", "debug"]).code, Some(0));
    assert_eq!(status(&server)["log_level"], "debug");
    // Each worker says so at the new level, which it says only if it has it.
    server.says_times(2, "[DEBUG] generation=1 worker=… live=… taken");
    server.edit("workers = 3");
    eventually("the file says so", || {
        status(&server)["log_level"] == "info"
    });
    assert_eq!(run(&server, &["log-level", "loud"]).code, Some(2));
    assert_eq!(post(&server, "/log-level?level=loud").status, 400);
}

#[test]
fn stop_waits_for_the_requests_and_for_the_end() {
    let server = two_workers();
    let mut slow = server.client();
    slow.send("GET /sleep?s=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is with the app", || {
        get(&server, "/status").text().contains("/sleep?s=1")
    });
    let arbiter = server.arbiter();
    let ran = run(&server, &["stop"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "stopped\n"),
        "{}",
        ran.stderr
    );
    assert!(!arbiter.is_alive());
    assert_eq!(slow.response().status, 200);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_quick_stop_waits_for_nothing() {
    let server = two_workers();
    let mut slow = server.client();
    slow.send("GET /sleep?s=30 HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is with the app", || {
        get(&server, "/status").text().contains("/sleep?s=30")
    });
    let ran = run(&server, &["stop", "--quick", "--timeout", "15"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn upgrade_waits_until_the_next_program_answers() {
    let server = two_workers();
    let hammer = Hammer::start(server.address(), "/pid", 2, 3);
    let (path, workers) = (socket(&server), server.below());
    assert_eq!(run(&server, &["reload"]).code, Some(0));
    for number in 1..=2 {
        let ran = run(&server, &["upgrade"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains(" goes on for "), "{}", ran.stdout);
        let told = status(&server);
        assert_eq!(told["upgrade"]["upgrade"], number);
        assert_eq!(told["reload"]["outcome"], "done", "what was is remembered");
        assert_eq!(socket(&server), path);
    }
    hammer.stop();
    assert_ne!(server.below(), workers);
    assert_eq!(run(&server, &["reload"]).code, Some(0));
}

#[test]
fn a_server_is_found_while_its_file_is_gone() {
    let server = two_workers();
    std::fs::remove_file(server.config_path()).unwrap();
    assert_eq!(run(&server, &["status"]).code, Some(0));
    let ran = run(&server, &["reload"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("there is no such file"),
        "{}",
        ran.stderr
    );
    assert_eq!(run(&server, &["stop"]).code, Some(0));
}

#[test]
fn a_wrong_file_or_socket_is_told_as_that() {
    let server = two_workers();
    let ran = run(&server, &["status", "-c", "nope.toml"]);
    assert_eq!(ran.code, Some(4));
    let told = "no server runs with `nope.toml`, and there is no such file";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let ran = run(&server, &["status", "--socket", "nope.sock"]);
    assert_eq!(ran.code, Some(4));
    let told = "no server is asked there; without `--socket`, the server is found by its file";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}
