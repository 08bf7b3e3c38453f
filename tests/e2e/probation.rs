//! `reload.probation`: a reload that turns out bad once it serves is taken back by the server itself.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    admin::support::status,
    harness::{APP, Client, Server, Setup, eventually, phrases::APPLIED, within},
};

/// The app with another `/`.
fn app(version: u32, front: &str) -> String {
    let route = format!("\n\ndef route_(environ, start_response, query):\n    {front}\n");
    APP.replace("VERSION = \"1\"", &format!("VERSION = \"{version}\"")) + &route
}

const GOOD: &str = "return answer(start_response, 'good')";
const BROKEN: &str = "raise RuntimeError('broken')";
const DEADLY: &str = "os.kill(os.getpid(), 11)";

fn config(more: &str, probation: &str) -> String {
    format!("{more}\n[reload]\nprobation = '{probation}'")
}

fn start(more: &str, probation: &str) -> Server {
    Setup::with(&config(more, probation))
        .app(&app(1, GOOD))
        .start()
}

/// Requests until the old app answers again; how many failed meanwhile.
fn failures_until_good(server: &Server) -> usize {
    let mut failed = 0;
    let is_good = || {
        let answer = Client::try_to(&server.address()).and_then(|mut client| {
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.try_response("GET")
        });
        let good = answer.is_ok_and(|response| response.status == 200);
        failed += usize::from(!good);
        std::thread::sleep(Duration::from_millis(10));
        good
    };
    assert!(within(Duration::from_secs(20), is_good), "still bad");
    failed
}

#[test]
fn code_that_answers_with_errors_is_taken_back_with_its_configuration() {
    for threads in [1, 3] {
        let server = start(
            &format!("preload = true\nworkers = 2\nthreads = {threads}"),
            "30s",
        );
        for _ in 0..20 {
            assert_eq!(server.text("/"), "good");
        }
        server.directory.write("app.py", &app(2, BROKEN));
        server.edit(&config(
            &format!("preload = true\nworkers = 2\nthreads = {threads}\nproc_name = 'new'"),
            "30s",
        ));
        server.says(APPLIED);
        server.says("on probation for 30.0s");
        server.says_times(2, "generation=1 … left");
        assert_eq!(server.get("/").status, 500);
        let failed = failures_until_good(&server);
        assert!((5..200).contains(&failed), "{failed} failed");
        server.says("rolled back: … answers were 5xx … not in force: proc_name app -> new (roll)");
        server.says("serving again");
        eventually("the bad one is gone", || server.generations().len() == 1);
        assert_eq!(server.text("/version"), "1");
        assert!(server.directory.read("rgunicorn.toml").contains("'new'"));
        // A later edit starts from what serves.
        server.directory.write("app.py", &app(3, GOOD));
        server.edit(&config("preload = true\nthreads = 2", "0s"));
        server.says("changed: … workers 2 -> 1");
        server.applied();
        assert_eq!(server.text("/version"), "3");
    }
}

#[test]
fn code_that_kills_its_workers_is_taken_back() {
    let server = start("preload = true\nworkers = 2", "30s");
    server.directory.write("app.py", &app(2, DEADLY));
    server.signal(Signal::SIGHUP);
    server.says(APPLIED);
    server.says_times(2, "generation=1 … left");
    let failed = failures_until_good(&server);
    assert!(failed < 100, "{failed} failed");
    server.says(
        "rolled back: 2 workers died or got stuck … the file is in force, with the code before",
    );
    server.says("serving again");
    assert_eq!(server.text("/version"), "1");
}

#[test]
fn one_that_came_back_is_as_old_as_its_process() {
    let server = start("preload = true\nworkers = 2", "30s");
    let (before, begin) = (age_of_first(&server), Instant::now());
    server.directory.write("app.py", &app(2, DEADLY));
    server.signal(Signal::SIGHUP);
    server.says(APPLIED);
    server.says_times(2, "generation=1 … left");
    failures_until_good(&server);
    server.says("serving again");
    let passed = begin.elapsed().as_secs_f64();
    let after = age_of_first(&server);
    assert!(after > before + 0.9 * passed, "{before}, {passed}, {after}");
}

/// Of generation 1, in seconds.
fn age_of_first(server: &Server) -> f64 {
    let status = status(server);
    let mut generations = status["generations"].as_array().unwrap().iter();
    let first = generations.find(|one| one["generation"] == 1).unwrap();
    first["age_seconds"].as_f64().unwrap()
}

#[test]
fn a_good_reload_passes_and_the_process_that_was_kept_leaves() {
    let server = start("preload = true", "2s");
    server.directory.write("app.py", &app(2, GOOD));
    server.signal(Signal::SIGHUP);
    server.says(APPLIED);
    assert_eq!(server.arbiter().children().len(), 2);
    server.says("left after");
    for _ in 0..20 {
        assert_eq!(server.text("/version"), "2");
    }
    server.says("generation=2 passed its probation, generation=1 leaves");
    eventually("one generation", || server.generations().len() == 1);
}

#[test]
fn errors_that_were_there_before_are_no_reason_to_go_back() {
    let server = Setup::with(&config("preload = true", "2s"))
        .app(&app(1, BROKEN))
        .start();
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 500);
    }
    server.directory.write("app.py", &app(2, BROKEN));
    server.signal(Signal::SIGHUP);
    server.says(APPLIED);
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 500);
    }
    server.says("passed its probation");
    assert_eq!(server.text("/version"), "2");
}

#[test]
fn new_addresses_are_not_on_probation_for_nobody_would_serve_the_old_ones() {
    let server = start("", "30s");
    let port = crate::harness::free_port();
    server.edit(&config(&format!("bind = '127.0.0.1:{port}'"), "30s"));
    server.applied();
    assert!(!server.has_said("on probation"));
}

#[test]
fn a_stop_during_probation_leaves_nothing() {
    let server = start("", "30s");
    server.signal(Signal::SIGHUP);
    server.says(APPLIED);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code, Some(0));
}
