//! Clients that go at every stage, with a goodbye and without: in each class of worker the app is told or cleaned up after,
//! and the next client finds a worker that is well.

use crate::harness::{APP, Client, Server, Setup, eventually};

const ASGI: &str = include_str!("apps/asgi.py");

/// How a client goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Closes its side: FIN.
    Close,
    /// As when its process is killed: RST.
    Reset,
}

impl Way {
    fn go(self, client: Client) {
        match self {
            Self::Close => drop(client),
            Self::Reset => client.reset(),
        }
    }
}

fn counter(server: &Server, name: &str) -> usize {
    server
        .text(&format!("/counter?name={name}"))
        .parse()
        .unwrap()
}

fn ask(server: &Server, request: &str) -> Client {
    let mut client = server.client();
    client.send(request);
    client
}

fn get(server: &Server, target: &str) -> Client {
    ask(
        server,
        &format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"),
    )
}

/// What is the same for all apps: those who go before the app knows of them, and between two requests.
fn go_outside_the_app(server: &Server, way: Way) {
    for begin in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: te",
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        way.go(ask(server, begin));
    }
    let mut idle = server.client();
    assert_eq!(idle.get("/").text(), "hello from /");
    way.go(idle);
    // Several requests at once, of which the last are never read.
    let many = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(20);
    way.go(ask(server, &many));
}

#[test]
fn in_each_class_that_serves_wsgi() {
    for config in [
        "worker_class = 'sync'",
        "worker_class = 'gthread'\nthreads = 2",
        "worker_class = 'gevent'",
        "worker_class = 'eventlet'",
    ] {
        let server = Server::start(config);
        let worker = server.worker();
        for (turn, way) in [Way::Close, Way::Reset].into_iter().enumerate() {
            let turn = turn + 1;
            go_outside_the_app(&server, way);
            // In the body: the app is not called, for it would wait for the rest.
            let body = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nabc";
            way.go(ask(&server, body));
            let chunk =
                "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
            way.go(ask(&server, chunk));
            // While the app works on the answer: it is not interrupted.
            let waits = get(&server, "/sleep?s=0.3");
            eventually("it is in the app", || {
                config.contains("sync") || counter(&server, "/sleep") == turn
            });
            way.go(waits);
            // In the answer: its iterable is closed, so that it can let go of what it holds.
            let mut stream = get(&server, "/stream?n=1000&pause=0.02");
            stream.some().unwrap();
            way.go(stream);
            eventually("the stream is closed", || {
                counter(&server, "closed+stream") == turn
            });
            let mut large = get(&server, "/large?size=50000000");
            large.some().unwrap();
            way.go(large);
            eventually("the large answer is closed", || {
                counter(&server, "closed+large") == turn
            });
            assert_eq!(counter(&server, "/sleep"), turn, "{config} {way:?}");
            assert_eq!(counter(&server, "/echo"), 0, "{config} {way:?}");
        }
        assert_eq!(server.worker(), worker, "{config}");
        let blames_the_app = |log: &str| log.contains("Traceback") || log.contains("less than");
        assert!(!blames_the_app(&server.log()), "{}", server.log());
    }
}

#[test]
fn in_an_asgi_worker() {
    for event_loop in ["asyncio", "uvloop"] {
        let server = Setup::with(&format!("app = 'app:app'\nloop = '{event_loop}'"))
            .app(ASGI)
            .start();
        let worker = server.worker();
        for (turn, way) in [Way::Close, Way::Reset].into_iter().enumerate() {
            let turn = turn + 1;
            go_outside_the_app(&server, way);
            let body = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nabc";
            let client = ask(&server, body);
            eventually("it reads", || counter(&server, "/echo") == turn);
            way.go(client);
            eventually("it was told", || counter(&server, "cut") == turn);
            let client = get(&server, "/wait-for-disconnect");
            eventually("it waits", || {
                counter(&server, "/wait-for-disconnect") == turn
            });
            way.go(client);
            eventually("it was told", || counter(&server, "gone") == turn);
            let mut events = get(&server, "/events");
            events.some().unwrap();
            way.go(events);
            // `send` raises where the client was gone first, else `receive` tells.
            let noticed = || counter(&server, "told") + counter(&server, "raised");
            eventually("the events end", || noticed() >= turn);
            let mut flood = get(&server, "/flood?size=50000000");
            flood.some().unwrap();
            way.go(flood);
        }
        assert_eq!(server.worker(), worker, "{event_loop}");
        assert!(!server.log().contains("Traceback"), "{}", server.log());
    }
}

#[test]
fn a_crowd_that_leaves_in_the_middle_frees_what_it_held() {
    for config in ["threads = 4", "worker_class = 'gevent'"] {
        let server = Setup::with(&format!("{config}\n[limits]\nconnections = 60"))
            .app(APP)
            .start();
        for way in [Way::Close, Way::Reset] {
            let crowd: Vec<Client> = (0..50)
                .map(|number| match number % 3 {
                    0 => get(&server, "/large?size=9000000"),
                    1 => ask(
                        &server,
                        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\na",
                    ),
                    _ => ask(&server, "GET / HT"),
                })
                .collect();
            for client in crowd {
                way.go(client);
            }
            // Were their places not free again, these would wait.
            let mut next: Vec<Client> = (0..50).map(|_| server.client()).collect();
            for client in &mut next {
                assert_eq!(client.get("/").text(), "hello from /", "{config} {way:?}");
            }
        }
    }
}

#[test]
fn a_client_that_goes_while_a_file_is_sent_kills_no_worker_whose_app_wants_the_signal() {
    let app = format!(
        "{APP}
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)

def route_file(environ, start_response, query):
    file = open('large', 'rb')
    start_response('200 OK', [('Content-Length', str(os.fstat(file.fileno()).st_size))])
    return environ['wsgi.file_wrapper'](file)
"
    );
    let server = Setup::with("bind = 'unix:{dir}/app.sock'")
        .app(&app)
        .file("large", &"x".repeat(4 << 20))
        .start();
    let worker = server.worker();
    for reads in 0..300 {
        let mut client = get(&server, "/file");
        for _ in 0..reads % 8 + 1 {
            client.some().unwrap();
        }
    }
    assert_eq!(server.worker(), worker);
}
