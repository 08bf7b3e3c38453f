//! How the tests of the admin interface ask.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Address, Client, Response, Server};

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
