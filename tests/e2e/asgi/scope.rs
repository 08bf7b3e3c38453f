//! The scope: what an app is told of a request, and from whom.

use super::start;
use crate::harness::{Address, Client};

#[test]
fn a_coroutine_app_gets_an_event_loop_and_the_log_says_why() {
    let server = start("");
    server.says("worker_class=asgi chosen: the app is a coroutine function");
    let mut client = server.client();
    for path in ["/", "/a%20b", "/"] {
        let text = client.get(path).text();
        assert_eq!(text, format!("hello from {}", path.replace("%20", " ")));
    }
}

#[test]
fn the_scope_is_complete() {
    let server = start("root_path = '/api'\nbind = '0.0.0.0:0'");
    let port = server.port();
    let mut client = Client::to(&Address::Tcp(([127, 0, 0, 1], port).into()));
    let response = client
        .request("GET /caf%C3%A9/x?a=%20b HTTP/1.1\r\nHost: test\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
    assert_eq!(response.text(), "hello from /api/café/x");
    let scope =
        client.request("GET /../scope?a=%20b HTTP/1.1\r\nHost: test\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
    assert_eq!(scope.text(), "hello from /api/../scope");

    let server = start("");
    let mut client = server.client();
    let scope = client
        .request("GET /scope?a=%20b HTTP/1.1\r\nHost: test\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        .json();
    assert_eq!(scope["type"], "http");
    assert_eq!(scope["asgi"]["spec_version"], "2.3");
    assert_eq!(scope["http_version"], "1.1");
    assert_eq!(scope["method"], "GET");
    assert_eq!(scope["scheme"], "http");
    assert_eq!(scope["path"], "/scope");
    assert_eq!(scope["raw_path"], "/scope");
    assert_eq!(scope["query_string"], "a=%20b");
    assert_eq!(scope["root_path"], "");
    assert_eq!(
        scope["headers"].to_string(),
        r#"[["host","test"],["x-a","1"],["x-a","2"]]"#
    );
    assert_eq!(scope["client"][0], "127.0.0.1");
    assert_eq!(
        scope["server"].to_string(),
        format!(r#"["127.0.0.1",{}]"#, server.port())
    );
    assert_eq!(
        scope["extensions"].to_string(),
        r#"{"http.response.early_hint":{},"http.response.pathsend":{}}"#
    );
    // Not `http.response.debug`: the specification wants it from test clients, and from no server. It is dropped.
    assert_eq!(client.get("/debug").text(), "taken");
    assert_eq!(scope["state"]["made"], "at startup");
    // What one request adds to the state is its own.
    let again = client.get("/scope").json();
    assert_eq!(again["state"]["made"], "at startup");
}

#[test]
fn a_unix_socket_and_a_trusted_proxy_tell_client_and_scheme() {
    let server = start("bind = 'unix:a.sock'");
    let plain = server.client().get("/scope").json();
    assert!(plain["client"].is_null());
    assert!(plain["server"][0].as_str().unwrap().ends_with("a.sock"));
    assert!(plain["server"][1].is_null());
    let proxied = server.client().request(
        "GET /scope HTTP/1.1\r\nHost: test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n\r\n",
    );
    let proxied = proxied.json();
    assert_eq!(proxied["scheme"], "https");
    assert_eq!(proxied["client"].to_string(), r#"["1.2.3.4",0]"#);

    let stranger = start("[proxy]\nforwarded_allow_ips = '10.0.0.1'");
    let told = stranger.client().request(
        "GET /scope HTTP/1.1\r\nHost: test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    );
    let told = told.json();
    assert_eq!(told["scheme"], "http");
    assert_eq!(told["client"][0], "127.0.0.1");
}
