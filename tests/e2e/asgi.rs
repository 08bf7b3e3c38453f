//! ASGI: scope, messages, lifespan, and what happens when clients or apps misbehave.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{Address, Client, Hammer, Server, Setup, eventually};

const APP: &str = include_str!("apps/asgi.py");

fn setup(config: &str) -> Setup {
    Setup::with(&format!("app = 'app:app'\n{config}")).app(APP)
}

#[track_caller]
fn start(config: &str) -> Server {
    setup(config).start()
}

fn counter(server: &Server, name: &str) -> String {
    server.text(&format!("/counter?name={name}"))
}

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
    assert_eq!(scope["asgi"]["spec_version"], "2.5");
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

#[test]
fn bodies_arrive_however_they_are_sent() {
    let server = start("");
    let mut client = server.client();
    let large = "0123456789".repeat(100_000);
    assert_eq!(client.post("/echo", "small").text(), "small");
    assert_eq!(client.post("/echo", &large).text(), large);
    let chunked = client.request(
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(chunked.text(), "abcde");
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn a_large_upload_takes_little_memory() {
    const BYTES: usize = 200 << 20;
    let server = start("[limits]\nbody = '1GiB'");
    let mut client = server.client();
    client.send(format!(
        "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..BYTES >> 20 {
        client.send(&piece);
    }
    let answer = client.response().json();
    assert_eq!(answer["bytes"], BYTES);
    assert!(answer["rss"].as_u64().unwrap() < 80 << 20, "{answer}");
}

#[test]
fn a_slow_reader_makes_the_app_wait() {
    const BYTES: usize = 100 << 20;
    let server = start("");
    let mut reader = server.client();
    reader.send(format!(
        "GET /flood?size={BYTES} HTTP/1.1\r\nHost: test\r\n\r\n"
    ));
    let taken = || counter(&server, "taken").parse::<usize>().unwrap();
    eventually("the app has begun", || taken() > 0);
    std::thread::sleep(Duration::from_millis(300));
    let before = taken();
    assert!(
        before < 32 << 20,
        "{before} bytes were taken that nobody read"
    );
    assert_eq!(reader.response().body.len(), BYTES);
    let rss: u64 = server.text("/rss").parse().unwrap();
    assert!(rss < 100 << 20, "{rss}");
}

#[test]
fn continue_is_sent_when_the_app_asks_for_the_body() {
    let server = start("");
    let head = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut client = server.client();
    client.send(head("/echo"));
    assert_eq!(client.some().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().text(), "body");
    let unread = server.client().request(&head("/unread"));
    assert_eq!((unread.status, unread.interim.len()), (200, 0));
    assert!(unread.says_close(), "the body may still come");
}

#[test]
fn an_app_that_answers_before_the_body_is_there_is_heard() {
    let server = start("[limits]\nbody = '100MiB'");
    let mut client = server.client();
    client.send("POST /unread HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "did not look");
    assert!(response.says_close());
}

#[test]
fn a_body_that_is_wrong_is_refused_and_the_app_is_told() {
    let server = start("[limits]\nbody = '1KiB'\n[timeouts]\nbody = 1");
    let chunked = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        (format!("{chunked}zz\r\n"), 400),
        (
            format!("{chunked}{:x}\r\n{}\r\n0\r\n\r\n", 5000, "x".repeat(5000)),
            413,
        ),
        (format!("{chunked}5\r\nab"), 408),
    ];
    for (number, (request, status)) in cases.iter().enumerate() {
        let mut client = server.client();
        client.send(request);
        assert_eq!(client.response().status, *status, "{request:.80}");
        eventually("the app was told", || {
            counter(&server, "cut") == (number + 1).to_string()
        });
    }
    let mut client = server.client();
    client.send(format!("{chunked}5\r\nab"));
    client.finish_sending();
    assert_eq!(client.response().status, 400);
    assert_eq!(counter(&server, "complete"), "0");
}

#[test]
fn a_stream_is_sent_as_it_comes() {
    let server = start("");
    let mut client = server.client();
    client.send("GET /stream?n=3&pause=0.3 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let start = Instant::now();
    let first = String::from_utf8(client.some().unwrap()).unwrap();
    assert!(first.contains("Transfer-Encoding: chunked"), "{first}");
    assert!(start.elapsed() < Duration::from_millis(250));
    let rest = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(
        rest.contains("chunk 2") && rest.ends_with("0\r\n\r\n"),
        "{rest}"
    );
}

#[test]
fn http_1_0_and_head_get_no_chunks() {
    let server = start("");
    let mut client = server.client();
    let old = client.request("GET /stream HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(old.text(), "chunk 0\nchunk 1\nchunk 2\n");
    assert!(old.field("Transfer-Encoding").is_none());
    let mut client = server.client();
    client.send("HEAD /large?size=70000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.try_response("HEAD").unwrap();
    assert_eq!(head.field("Content-Length").as_deref(), Some("70000"));
    assert_eq!(client.get("/").text(), "hello from /");
}

#[test]
fn the_app_learns_that_its_client_is_gone_at_every_stage() {
    let server = start("");
    // Before the answer.
    let client = {
        let mut client = server.client();
        client.send("GET /wait-for-disconnect HTTP/1.1\r\nHost: test\r\n\r\n");
        client
    };
    eventually("it waits", || {
        counter(&server, "/wait-for-disconnect") == "1"
    });
    drop(client);
    eventually("it was told", || counter(&server, "gone") == "1");
    // Within the answer.
    let mut client = server.client();
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
    client.some().unwrap();
    drop(client);
    eventually("the stream ended", || {
        counter(&server, "told") == "1" || counter(&server, "raised") != "0"
    });
    // Within the body.
    let mut client = server.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc");
    eventually("it reads", || counter(&server, "/echo") == "1");
    drop(client);
    eventually("it was cut off", || counter(&server, "cut") == "1");
    assert!(!server.log().contains("Traceback"), "{}", server.log());
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answer() {
    let server = start("");
    for target in [
        "/",
        "/sleep?s=0.3",
        "/sleep?s=0.8",
        "/stream?n=3&pause=0.1",
        "/large?size=5000000",
    ] {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.finish_sending();
        assert_eq!(client.response().status, 200, "{target}");
        client.expect_closed();
    }
}

#[test]
fn an_answer_that_contradicts_itself_is_an_error() {
    let server = start("");
    let request = |target: &str| {
        let mut client = server.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.rest().unwrap()
    };
    let text = |target: &str| String::from_utf8(request(target)).unwrap();
    for target in [
        "/lengths?said=5&sent=4",
        "/lengths?said=5&sent=6",
        "/bad-header",
        "/nothing",
        "/error",
    ] {
        assert!(text(target).starts_with("HTTP/1.1 500 "), "{target}");
    }
    for target in [
        "/lengths?said=5&sent=4&pieces=1",
        "/lengths?said=5&sent=6&pieces=1",
    ] {
        let answer = text(target);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nx"),
            "{answer}"
        );
    }
    for target in ["/unfinished", "/error?late=1"] {
        let answer = text(target);
        assert!(answer.ends_with("4\r\npart\r\n"), "no last chunk: {answer}");
    }
    server.says("the app failed on GET /error");
    server.says("RuntimeError: the app is broken on purpose");
    server.says("the app returned without a response to GET /nothing");
    server.says("the app returned without completing its response to GET /unfinished");
    assert_eq!(server.text("/twice"), "once");
    assert_eq!(counter(&server, "refused"), "1");
}

#[test]
fn files_are_sent_by_their_path_and_hints_come_before() {
    let server = setup("")
        .file("data.bin", &"0123456789".repeat(50_000))
        .start();
    let path = server.directory.path().join("data.bin");
    let mut client = server.client();
    let file = client.get(&format!("/file?path={}", path.display()));
    assert_eq!(file.field("Content-Length").as_deref(), Some("500000"));
    assert_eq!(file.text(), "0123456789".repeat(50_000));
    let hinted = client.get("/hints");
    assert_eq!(
        (hinted.text().as_str(), hinted.interim.len()),
        ("hinted", 1)
    );
}

#[test]
fn each_request_is_a_task_with_a_context_of_its_own() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = start(&format!("loop = '{event_loop}'"));
        let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!(
                "GET /context?name={number} HTTP/1.1\r\nHost: test\r\n\r\n"
            ));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(
                client.response().text(),
                format!("nobody {number} {number} True")
            );
        }
        assert_eq!(server.text("/parts"), "http.request timeout");
    }
}

#[test]
fn quick_answers_do_not_wait_for_slow_ones_that_came_with_them() {
    let server = start("");
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for _ in 0..10 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello from /");
        }
    }
    let start = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        let path = if number % 2 == 0 { "/" } else { "/sleep?s=1" };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.response().text(), "hello from /");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn what_the_app_keeps_of_a_request_reaches_no_other() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = start(&format!("loop = '{event_loop}'"));
        let mut client = server.client();
        for what in ["send", "receive", "awaitable"] {
            assert_eq!(client.get(&format!("/keep?what={what}")).text(), "kept");
            assert_eq!(client.get("/").text(), "hello from /");
        }
        let used = client.get("/use-kept");
        assert_eq!(used.status, 200);
        let text = "refused ['http.disconnect', 'http.disconnect']";
        assert_eq!(used.text(), text);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start("");
    let mut client = server.client();
    let targets = [
        "/sleep?s=0.1",
        "/",
        "/stream",
        "/large?size=100000",
        "/context?name=x",
        "/",
    ];
    let all: String = targets
        .iter()
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .collect();
    client.send(all);
    let expected = ["slept", "hello", "chunk 0", "xxx", "nobody x x", "hello"];
    for begin in expected {
        assert!(client.response().text().starts_with(begin));
    }
}

#[test]
fn many_requests_wait_side_by_side() {
    let server = start("");
    let start = Instant::now();
    let mut clients: Vec<Client> = (0..200).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /sleep?s=0.5 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "slept");
    }
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn no_more_connections_are_taken_than_configured() {
    let server = start("[limits]\nconnections = 2");
    let mut first = server.client();
    let mut second = server.client();
    assert_eq!(first.get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
    let mut third = server.client();
    third.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    third.expect_silence(Duration::from_millis(300));
    drop(first);
    assert_eq!(third.response().status, 200);
}

#[test]
fn a_request_that_takes_too_long_is_cancelled_and_answered() {
    let server = start("[timeouts]\nrequest = '300ms'");
    let start = Instant::now();
    assert_eq!(server.get("/sleep?s=10").status, 504);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    eventually("it was cancelled", || counter(&server, "cancelled") == "1");
    server.says("cancelled after timeouts.request: GET /sleep?s=10");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_blocked_loop_is_noticed_and_its_worker_replaced() {
    let server = start("workers = 2\n[timeouts]\nworker = 1\ngraceful = 2");
    let mut client = server.client();
    client.send("GET /block?s=30 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.says("in route_block");
    eventually("a new worker serves", || server.get("/").status == 200);
}

#[test]
fn what_the_app_does_after_its_answer_is_not_cut_off() {
    let server = start("");
    let mut client = server.client();
    let start = Instant::now();
    assert_eq!(client.get("/background?s=0.5").text(), "answered");
    assert_eq!(client.get("/").text(), "hello from /");
    assert!(
        start.elapsed() < Duration::from_millis(450),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(client.get("/background?s=0.5").text(), "answered");
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    let done = exit.stdout.matches("background done").count();
    assert_eq!(done, 2, "{}", exit.stdout);
    let place = |text: &str| {
        exit.stdout
            .find(text)
            .unwrap_or_else(|| panic!("no {text}"))
    };
    assert!(place("background done") < place("shutdown"));
}

#[test]
fn a_worker_that_drains_finishes_its_requests() {
    let server = start("");
    let mut client = server.client();
    client.send("GET /sleep?s=0.5 HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is in the app", || counter(&server, "/sleep") == "1");
    server.signal(Signal::SIGTERM);
    let response = client.response();
    assert_eq!(response.text(), "slept");
    assert!(response.says_close());
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_quick_stop_ends_what_waits_and_calls_nothing_a_failure() {
    let server = start("");
    let mut waiting = server.client();
    waiting.send("GET /sleep?s=60 HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut sending = server.client();
    sending.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\na");
    eventually("both are in the app", || {
        counter(&server, "/sleep") == "1" && counter(&server, "/echo") == "1"
    });
    server.signal(Signal::SIGQUIT);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    for word in ["Traceback", "CRITICAL"] {
        assert!(!exit.log.contains(word), "{}", exit.log);
    }
}

#[test]
fn a_worker_retires_after_max_requests_without_a_loss() {
    let server = start("[limits]\nmax_requests = 50");
    let hammer = Hammer::start(server.address(), "/", 4, 4);
    hammer.lands(500);
    hammer.stop();
}

#[test]
fn a_save_that_switches_the_worker_class_loses_nothing() {
    let both = format!(
        "{APP}\n\ndef wsgi(environ, start_response):\n    start_response('200 OK', [('Content-Length', '5')])\n    return [b'hello']\n"
    );
    let threads = "app = 'app:wsgi'\nworker_class = 'gthread'\nthreads = 4\nworkers = 2";
    let asgi = "app = 'app:app'\nworker_class = 'asgi'\nworkers = 2";
    let server = Setup::with(threads).app(&both).start();
    let hammer = Hammer::start(server.address(), "/", 8, 4);
    hammer.lands(200);
    for config in [asgi, threads, asgi] {
        server.edit(config);
        server.applied();
        hammer.lands(200);
    }
    hammer.stop();
    assert_eq!(server.text("/"), "hello from /");
}

// Lifespan.

const NO_LIFESPAN: &str = "
async def app(scope, receive, send):
    assert scope['type'] == 'http', 'only http'
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'plain'})
";

const FAILING: &str = "
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        raise RuntimeError('no database')
";

const SAYS_FAILED: &str = "
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
";

#[test]
fn startup_and_shutdown_frame_the_requests() {
    let server = start("");
    server.prints("startup");
    assert_eq!(server.text("/"), "hello from /");
    server.signal(Signal::SIGTERM);
    let exit = server.ended();
    assert_eq!(exit.code, Some(0));
    assert!(exit.stdout.contains("shutdown"), "{}", exit.stdout);
}

#[test]
fn an_app_without_a_lifespan_is_served_and_the_log_says_so() {
    let config = "app = 'app:app'";
    let server = Setup::with(config).app(NO_LIFESPAN).start();
    server.says("the app has no lifespan: it raised AssertionError: only http");
    assert_eq!(server.text("/"), "plain");
    let quiet = Setup::with("app = 'app:app'\nlifespan = 'off'")
        .app(NO_LIFESPAN)
        .start();
    assert_eq!(quiet.text("/"), "plain");
    assert!(!quiet.has_said("lifespan"));
    let insisted = Setup::with("app = 'app:app'\nlifespan = 'on'").app(NO_LIFESPAN);
    let exit = insisted.start_and_fail();
    assert_eq!(exit.code, Some(3), "{}", exit.log);
    assert!(exit.log.contains("only http"), "{}", exit.log);
}

#[test]
fn a_startup_that_fails_keeps_the_worker_from_serving() {
    for app in [FAILING, SAYS_FAILED] {
        let exit = Setup::with("app = 'app:app'").app(app).start_and_fail();
        assert_eq!(exit.code, Some(3), "{}", exit.log);
        assert!(exit.log.contains("startup failed"), "{}", exit.log);
        assert!(exit.log.contains("no database"), "{}", exit.log);
    }
}

#[test]
fn a_save_whose_startup_fails_leaves_the_old_workers_serving() {
    let server = setup("").file("broken.py", FAILING).start();
    server.edit("app = 'broken:app'");
    server.says("RuntimeError: no database");
    assert_eq!(server.text("/"), "hello from /");
}

#[test]
fn a_shutdown_that_hangs_is_bounded() {
    let app = "
import asyncio

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        await asyncio.sleep(60)
";
    let server = Setup::with("app = 'app:app'\n[timeouts]\ngraceful = 1")
        .app(app)
        .start();
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    server.ended();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn uvloop_that_is_missing_is_said_before_anything_is_replaced() {
    let bare = crate::harness::interpreters()
        .iter()
        .find(|found| found.version >= (3, 10) && !has_uvloop(&found.path));
    let Some(bare) = bare else { return };
    let server = setup("worker_class = 'asgi'")
        .python(Some(bare.path.clone()))
        .start();
    server.edit("app = 'app:app'\nworker_class = 'asgi'\nloop = 'uvloop'");
    server.says("`loop = \"uvloop\"` needs the package uvloop…pip install uvloop");
    assert_eq!(server.text("/"), "hello from /");
}

fn has_uvloop(python: &std::path::Path) -> bool {
    let mut command = std::process::Command::new(python);
    let status = command.args(["-c", "import uvloop"]).output();
    status.is_ok_and(|output| output.status.success())
}

#[test]
fn gunicorns_word_for_uvicorn_is_understood_with_a_note() {
    let note = "`uvicorn.workers.UvicornWorker` is `worker_class = \"asgi\"` here";
    let line = "worker_class = 'uvicorn.workers.UvicornWorker'";
    let server = start(line);
    server.says(&format!("[INFO] rgunicorn.toml:5: {note}"));
    assert_eq!(server.text("/"), "hello from /");
    // What was said is not said again with each save.
    server.edit(&format!("app = 'app:app'\n{line}\nproc_name = 'other'"));
    server.applied();
    assert!(!server.has_said(note));

    let checked = setup(line).arguments(&["check", "-c", "rgunicorn.toml"]);
    let exit = checked.run();
    assert_eq!(exit.code, Some(0));
    assert!(
        exit.stdout.contains(&format!("rgunicorn.toml:5: {note}\n")),
        "{}",
        exit.stdout
    );
}

#[test]
fn a_slow_client_is_cut_off_and_holds_nothing_up() {
    let server = start("[timeouts]\nwrite = 1");
    let Address::Tcp(address) = server.address() else {
        panic!("a TCP address is expected")
    };
    let mut stalled = TcpStream::connect(address).unwrap();
    stalled
        .write_all(b"GET /flood?size=100000000 HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.text("/"), "hello from /");
    let mut got = Vec::new();
    let _ = stalled.read_to_end(&mut got);
    assert!(got.len() < 100_000_000);
}
