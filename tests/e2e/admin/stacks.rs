//! `rgunicorn stacks`: what the Python code is at, whatever it is at.

use std::process::Command;

use super::support::{first_worker, get, status};
use crate::harness::{InTime, Server, eventually};

fn stacks(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rgunicorn"))
        .arg("stacks")
        .args(arguments)
        .current_dir(server.directory.path())
        .output_in_time()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

#[test]
fn the_stacks_of_a_worker_tell_where_its_request_is() {
    let server = Server::start("workers = 2");
    server.says("workers=2 serving");
    let mut slow = server.client();
    slow.send("GET /sleep?s=4 HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is with the app", || {
        stacks(&server, &[]).1.contains("in route_sleep")
    });
    let (code, told) = stacks(&server, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told.matches("worker with pid ").count(), 2, "{told}");
    let pid = first_worker(&status(&server)).to_string();
    let (code, told) = stacks(&server, &[&pid, "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["workers"][0]["pid"].to_string(), pid);
    assert_eq!(slow.response().status, 200, "nobody was disturbed");
    let (code, told) = stacks(&server, &["1"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("1 is not the process id of a worker"),
        "{told}"
    );
    assert_eq!(get(&server, "/stacks").status, 400);
}

#[test]
fn a_worker_that_never_gives_up_the_interpreter_is_seen_too() {
    let app = "import re\n\ndef application(environ, start_response):\n    if environ['PATH_INFO'] == '/stuck':\n        \
               re.match('(a*)*b', 'a' * 40)\n    start_response('200 OK', [])\n    return [b'ok']\n";
    let server = crate::harness::Setup::with("[timeouts]\nworker = 0")
        .app(app)
        .start();
    let mut stuck = server.client();
    stuck.send("GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("its stack tells", || {
        stacks(&server, &[]).1.contains("in application")
    });
}
