//! What an app is given: environ and input, by PEP 3333 and as Gunicorn's users know them.

use crate::{
    harness::{Process, Server, Setup, interpreters},
    wsgi::serving,
};

#[test]
fn the_environ_has_the_keys_of_pep_3333_and_gunicorns() {
    let server = Server::start("threads = 2\nworkers = 2");
    let mut client = server.client();
    let environ = client
        .request(
            "GET /environ/?a=1&b=%20 HTTP/1.1\r\nHost: example.org:81\r\nContent-Type: text/x\r\n\
             Content-Length: 0\r\nX-One: 1\r\nX-Two: a\r\nX-Two: b\r\n\r\n",
        )
        .json();
    let port = server.port().to_string();
    let expected = [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/environ/"),
        ("QUERY_STRING", "a=1&b=%20"),
        ("RAW_URI", "/environ/?a=1&b=%20"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_PORT", &port),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("CONTENT_TYPE", "text/x"),
        ("CONTENT_LENGTH", "0"),
        ("HTTP_HOST", "example.org:81"),
        ("HTTP_X_ONE", "1"),
        ("wsgi.url_scheme", "http"),
    ];
    for (key, value) in expected {
        assert_eq!(environ[key], value, "{key}");
    }
    assert_eq!(environ["wsgi.version"], serde_json::json!([1, 0]));
    for (key, value) in [
        ("wsgi.multithread", true),
        ("wsgi.multiprocess", true),
        ("wsgi.run_once", false),
        ("wsgi.input_terminated", true),
    ] {
        assert_eq!(environ[key], value, "{key}");
    }
    for key in [
        "wsgi.input",
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.early_hints",
        "SERVER_SOFTWARE",
    ] {
        assert!(!environ[key].is_null(), "{key}");
    }
    let port: u16 = environ["REMOTE_PORT"].as_str().unwrap().parse().unwrap();
    assert_ne!(port, 0);
    assert_eq!(
        environ["HTTP_X_TWO"].as_str().unwrap().replace(", ", ","),
        "a,b"
    );
    for key in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"] {
        assert!(environ[key].is_null(), "{key}");
    }
}

#[test]
fn the_path_is_percent_decoded_to_latin_1_and_the_query_is_not() {
    let server = serving(
        "start_response('200 OK', [])\nreturn [ascii((environ['PATH_INFO'], environ['QUERY_STRING'])).encode()]",
    );
    assert_eq!(
        server.text("/caf%C3%A9%2Fx?q=%C3%A9"),
        r"('/caf\xc3\xa9/x', 'q=%C3%A9')"
    );
}

#[test]
fn a_client_on_a_unix_socket_has_no_address() {
    let server = Server::start("bind = 'unix:run.sock'");
    let environ = server.get("/environ").json();
    assert_eq!(environ["REMOTE_ADDR"], "");
    assert_eq!(environ["SERVER_NAME"], "localhost");
}

#[test]
fn cookies_are_joined_with_a_semicolon() {
    let server = Server::start("");
    let request = "GET /environ HTTP/1.1\r\nHost: test\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n";
    assert_eq!(
        server.client().request(request).json()["HTTP_COOKIE"],
        "a=1; b=2"
    );
}

#[test]
fn a_trusted_proxy_sets_script_name_and_scheme_and_nobody_else_does() {
    let request = "GET /pre/environ HTTP/1.1\r\nHost: test\r\nSCRIPT_NAME: /pre\r\nX-Forwarded-Proto: https\r\n\r\n";
    let trusting = Server::start("[proxy]\nforwarded_allow_ips = ['127.0.0.0/8']");
    let environ = trusting.client().request(request).json();
    assert_eq!(environ["SCRIPT_NAME"], "/pre");
    assert_eq!(environ["PATH_INFO"], "/environ");
    assert_eq!(environ["wsgi.url_scheme"], "https");

    let wary = Server::start("[proxy]\nforwarded_allow_ips = ['10.0.0.1']");
    let request = request.replace("/pre/environ", "/environ");
    let environ = wary.client().request(&request).json();
    assert_eq!(environ["SCRIPT_NAME"], "");
    assert_eq!(environ["wsgi.url_scheme"], "http");
}

#[test]
fn the_environment_mounts_the_app_and_a_trusted_proxy_may_say_otherwise() {
    let paths = |environ: &serde_json::Value| {
        ["SCRIPT_NAME", "PATH_INFO"].map(|key| environ[key].as_str().unwrap().to_owned())
    };
    let server = Server::start("threads = 2\n[env]\nSCRIPT_NAME = '/app/'");
    for (target, path_info) in [
        ("/app/environ", "/environ"),
        // As a proxy that takes the prefix off, or a probe, sends it.
        ("/environ", "/environ"),
    ] {
        let environ = server.get(target).json();
        assert_eq!(paths(&environ), ["/app", path_info], "{target}");
    }
    let request = "GET /pre/environ HTTP/1.1\r\nHost: test\r\nSCRIPT_NAME: /pre\r\n\r\n";
    let environ = server.client().request(request).json();
    assert_eq!(paths(&environ), ["/pre", "/environ"]);

    server.edit("threads = 2\n[env]\nSCRIPT_NAME = '/other'");
    server.applied();
    let environ = server.get("/other/environ").json();
    assert_eq!(paths(&environ), ["/other", "/environ"]);

    // Of the server itself, too: Gunicorn's manual sets it there.
    let server = Setup::with("preload = true")
        .environment("SCRIPT_NAME", "/outer")
        .start();
    let environ = server.get("/outer/environ").json();
    assert_eq!(paths(&environ), ["/outer", "/environ"]);
}

#[test]
fn fields_with_an_underscore_are_dropped_refused_or_kept_as_configured() {
    let request = "GET /environ HTTP/1.1\r\nHost: test\r\nX_Sly: 1\r\nX-Plain: 2\r\n\r\n";
    let server = Server::start("");
    let dropping = server.client().request(request).json();
    assert!(dropping["HTTP_X_SLY"].is_null());
    assert_eq!(dropping["HTTP_X_PLAIN"], "2");
    server.says("[INFO] dropped the header `X_Sly` of a trusted peer, … send `X-Sly`, or see proxy.header_map");
    server.client().request(request);
    let told = server.log().matches("dropped the header").count();
    assert_eq!(told, 1, "once a minute");
    let wary = Server::start("[proxy]\nforwarded_allow_ips = []");
    wary.client().request(request);
    assert!(!wary.log().contains("dropped the header"));
    let refusing = Server::start("[proxy]\nheader_map = 'refuse'");
    assert_eq!(refusing.client().request(request).status, 400);
    let keeping = Server::start("[proxy]\nheader_map = 'keep'");
    assert_eq!(keeping.client().request(request).json()["HTTP_X_SLY"], "1");
}

#[test]
fn the_input_reads_like_a_file() {
    let server = serving(
        r#"
body = environ['wsgi.input']
how = {
    '/read': lambda: [body.read(), body.read()],
    '/parts': lambda: [body.read(3), body.read(0), body.read(100), body.read(1)],
    '/negative': lambda: [body.read(-1)],
    '/none': lambda: [body.read(None)],
    '/line': lambda: [body.readline(), body.readline(2), body.readline(), body.readline(), body.readline()],
    '/lines': lambda: body.readlines(),
    '/iterate': lambda: list(body),
}[environ['PATH_INFO']]
start_response('200 OK', [])
return [repr(how()).encode()]
"#,
    );
    let mut client = server.client();
    for (how, expected) in [
        ("/read", r"[b'one\ntwo\nthree', b'']"),
        ("/parts", r"[b'one', b'', b'\ntwo\nthree', b'']"),
        ("/negative", r"[b'one\ntwo\nthree']"),
        ("/none", r"[b'one\ntwo\nthree']"),
        ("/line", r"[b'one\n', b'tw', b'o\n', b'three', b'']"),
        ("/lines", r"[b'one\n', b'two\n', b'three']"),
        ("/iterate", r"[b'one\n', b'two\n', b'three']"),
    ] {
        assert_eq!(
            client.post(how, "one\ntwo\nthree").text(),
            expected,
            "{how}"
        );
        let chunked = format!(
            "POST {how} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\non\r\nB\r\ne\ntwo\nthree\r\n0\r\n\r\n"
        );
        assert_eq!(client.request(&chunked).text(), expected, "{how}, chunked");
    }
}

#[test]
fn a_body_the_app_does_not_read_does_not_disturb_the_next_request() {
    let server = Server::start("");
    let mut client = server.client();
    for size in [10, 5_000, 3_000_000] {
        assert_eq!(
            client.post("/unread", "x".repeat(size)).text(),
            "did not look"
        );
        assert_eq!(client.get("/").text(), "hello from /");
    }
}

#[test]
fn bodies_arrive_whole_whatever_their_size() {
    let server = Server::start("[limits]\nbody = '64MiB'");
    let mut client = server.client();
    for size in [0, 1, 65_536, 1_000_000, 20_000_000] {
        let body: String = (0..size)
            .map(|n| char::from(b'a' + (n % 23) as u8))
            .collect();
        assert!(
            client.post("/echo", &body).text() == body,
            "{size} bytes came back changed"
        );
    }
}

#[test]
fn a_body_over_the_limit_is_refused_and_the_app_not_called() {
    let server = Server::start("[limits]\nbody = '1KiB'");
    let mut announced = server.client();
    announced.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1025\r\n\r\n");
    let response = announced.response();
    assert!(
        response.status == 413 && response.says_close(),
        "{response:?}"
    );

    let mut chunked = server.client();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    chunked.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunked.send(format!("{chunk}1\r\nx\r\n"));
    assert_eq!(chunked.response().status, 413);
    assert_eq!(server.text("/counter?name=/echo"), "0");
}

#[test]
fn wsgi_errors_goes_to_the_error_log() {
    let server = serving(
        "print('a word from the app', file=environ['wsgi.errors'])\nstart_response('200 OK', [])\nreturn []",
    );
    server.get("/");
    server.says("a word from the app");
}

/// A name of a header that nobody else sends.
fn rare_name(number: usize, length: usize) -> String {
    format!("{number:x>length$}")
}

#[test]
fn header_names_that_come_only_once_are_not_kept() {
    let supported = interpreters()
        .iter()
        .filter(|found| ((3, 10)..=(3, 13)).contains(&found.version));
    for found in supported {
        let setup = Setup::with("[limits]\nhead = '1MiB'");
        let server = setup.python(Some(found.path.clone())).start();
        let mut client = server.client();
        let mut number = 0;
        let mut ask = || {
            let names = (0..90).map(|_| {
                number += 1;
                format!("{}: x\r\n", rare_name(number, 8_000))
            });
            let fields: String = names.collect();
            client.request(&format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
        };
        let worker = Process::find(server.worker()).unwrap();
        assert_eq!(ask().status, 200);
        let before = worker.peak_memory();
        for _ in 0..60 {
            assert_eq!(ask().status, 200);
        }
        let more = (worker.peak_memory() - before) >> 20;
        assert!(more < 20, "{more} MiB with {:?}", found.version);
    }
}

#[test]
fn a_header_is_joined_with_another_spelling_of_it_however_many_names_there_were() {
    let server = serving("start_response('200 OK', [])\nreturn [environ['HTTP_X_SAME'].encode()]");
    let mut client = server.client();
    let mut same = |fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        client.request(&request).text()
    };
    assert_eq!(same("X-Same: a\r\n"), "a");
    // More names than are kept.
    for turn in 0..10_usize {
        let name = |number: usize| format!("{}: x\r\n", rare_name(turn * 90 + number, 20));
        let fields: String = (0..90).map(name).collect();
        assert_eq!(same(&format!("X-Same: b\r\n{fields}")), "b");
    }
    for other in ["x-same", "x-Same", "X-SAME", "X-sAME", "x-samE"] {
        assert_eq!(same(&format!("{other}: a\r\nX-Same: b\r\n")), "a,b");
        assert_eq!(same(&format!("X-Same: a\r\n{other}: b\r\n")), "a,b");
    }
}
