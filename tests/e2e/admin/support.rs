//! How the tests of the admin interface ask.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::harness::{Address, Client, InTime, Response, Server, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rgunicorn");

/// The path of the UNIX socket, as the log tells it.
#[track_caller]
pub(crate) fn socket(server: &Server) -> PathBuf {
    let line = server.log();
    let path = line.split("admin interface at unix:").last().unwrap();
    PathBuf::from(path.lines().next().unwrap())
}

#[track_caller]
pub(crate) fn client(server: &Server) -> Client {
    Client::to(&Address::Unix(socket(server)))
}

/// A GET on the UNIX socket.
#[track_caller]
pub(crate) fn get(server: &Server, path: &str) -> Response {
    client(server).get(path)
}

/// A POST on the UNIX socket.
#[track_caller]
pub(crate) fn post(server: &Server, path: &str) -> Response {
    client(server).post(path, "")
}

#[track_caller]
pub(crate) fn status(server: &Server) -> Value {
    let response = get(server, "/status");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// The process id of the first worker.
pub(crate) fn first_worker(status: &Value) -> i32 {
    i32::try_from(status["workers"][0]["pid"].as_i64().unwrap()).unwrap()
}

/// Exit code of a command and what it printed.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .output_in_time()
        .unwrap();
    Ran {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs `rgunicorn` with these arguments where the server's file is.
pub(crate) fn run(server: &Server, arguments: &[&str]) -> Ran {
    run_in(server.directory.path(), arguments)
}

#[track_caller]
pub(crate) fn run_json(server: &Server, arguments: &[&str]) -> Value {
    let ran = run(server, &[arguments, &["--json"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

pub(crate) fn two_workers() -> Server {
    let server = Server::start("workers = 2");
    server.says("workers=2 serving");
    eventually("it is told", || status(&server)["workers_ready"] == 2);
    server
}
