//! `worker_class = "gevent"` and `"eventlet"`, with the real packages: what waits lets others run, and all else is as in
//! the other classes.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::harness::{
    APP, Client, Process, Server, Setup, eventually, interpreters, phrases::REJECTED,
};

const CLASSES: [&str; 2] = ["gevent", "eventlet"];

/// The tests' app with one of the two classes and more lines of TOML.
#[track_caller]
fn start(class: &str, config: &str) -> Server {
    setup(class, config).start()
}

fn setup(class: &str, config: &str) -> Setup {
    Setup::with(&format!("worker_class = '{class}'\n{config}"))
}

fn send(client: &mut Client, target: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
}

/// So many requests at once, each on a connection of its own: their bodies, and how long all took.
fn at_once(server: &Server, count: usize, target: &str) -> (Vec<String>, Duration) {
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    let begun = Instant::now();
    for client in &mut clients {
        send(client, target);
    }
    let bodies = clients.iter_mut().map(|client| client.response().text());
    let bodies = bodies.collect();
    (bodies, begun.elapsed())
}

/// The app with routes that need more than the standard app has.
fn app(more: &str) -> String {
    format!("{APP}\n{more}")
}

#[test]
fn a_thousand_requests_that_sleep_run_at_once_in_one_worker() {
    for class in CLASSES {
        let server = start(class, "[limits]\nconnections = 1100\n[log]\naccess = 'off'");
        let (bodies, took) = at_once(&server, 1000, "/sleep?s=0.1");
        assert!(bodies.iter().all(|body| body == "slept"), "{class}");
        assert!(took < Duration::from_secs(2), "{class}: {took:?}");
        assert_eq!(server.text("/"), "hello from /", "{class}");
    }
}

#[test]
fn flask_keeps_the_requests_of_its_greenlets_apart() {
    let flask = "
import threading, time
from flask import Flask, g, request

application = Flask(__name__)
lock = threading.Lock()

@application.get('/hold/<name>')
def hold(name):
    g.name = name
    with lock:
        time.sleep(0.005)
    time.sleep(0.2)
    return f'{g.name} {request.path}'
";
    for class in CLASSES {
        let server = setup(class, "").app(flask).start();
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for _ in 0..2 {
            let begun = Instant::now();
            for (number, client) in clients.iter_mut().enumerate() {
                send(client, &format!("/hold/{number}"));
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let expected = format!("{number} /hold/{number}");
                assert_eq!(client.response().text(), expected, "{class}");
            }
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(3), "{class}: {took:?}");
        }
    }
}

#[test]
fn django_keeps_requests_and_database_connections_of_its_greenlets_apart() {
    let django = r#"
import time
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "data.sqlite3", "OPTIONS": {"timeout": 20}}},
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
)

from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()

from django.db import connection, transaction
from django.views.decorators.csrf import csrf_exempt

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE note (text TEXT)")
connection.close()

def slow(request, name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [name])
        time.sleep(0.2)
        return HttpResponse(f"{cursor.fetchone()[0]} {request.path}")

@csrf_exempt
def add(request):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (%s)", [request.body.decode()])
    return HttpResponse(status=204)

def count(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(DISTINCT text) FROM note")
        return HttpResponse(str(cursor.fetchone()[0]))

def stream(request):
    return StreamingHttpResponse(f"{number} " for number in range(3))

urlpatterns = [path("slow/<name>", slow), path("add", add), path("count", count), path("stream", stream)]
"#;
    for class in CLASSES {
        let server = setup(class, "").app(django).start();
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        let begun = Instant::now();
        for (number, client) in clients.iter_mut().enumerate() {
            send(client, &format!("/slow/{number}"));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(
                client.response().text(),
                format!("{number} /slow/{number}"),
                "{class}"
            );
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{class}: {took:?}");
        for (number, client) in clients.iter_mut().enumerate() {
            let note = format!("note {number}");
            let length = note.len();
            client.send(format!(
                "POST /add HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{note}"
            ));
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 204, "{class}");
        }
        assert_eq!(server.text("/count"), "20", "{class}");
        assert_eq!(server.text("/stream"), "0 1 2 ", "{class}");
        assert_eq!(server.get("/nowhere").status, 404, "{class}");
    }
}

#[test]
fn what_waits_for_a_socket_lets_others_run() {
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = slow.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in slow.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                thread::sleep(Duration::from_millis(300));
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom afar");
            });
        }
    });
    let app = app(&format!(
        "
def route_fetch(environ, start_response, query):
    import urllib.request
    with urllib.request.urlopen('http://127.0.0.1:{port}/') as response:
        return answer(start_response, response.read())
"
    ));
    for class in CLASSES {
        let server = setup(class, "").app(&app).start();
        let (bodies, took) = at_once(&server, 20, "/fetch");
        assert!(bodies.iter().all(|body| body == "from afar"), "{class}");
        assert!(took < Duration::from_secs(2), "{class}: {took:?}");
    }
}

#[test]
fn context_variables_do_not_leak_from_request_to_request() {
    let app = app("
import contextvars
mark = contextvars.ContextVar('mark', default='unmarked')
booted = contextvars.ContextVar('booted')
booted.set('at import')

def route_mark(environ, start_response, query):
    before = mark.get()
    mark.set(query['as'])
    time.sleep(float(query.get('s', 0)))
    return answer(start_response, f'{before} {mark.get()} {booted.get(None)}')
");
    for class in CLASSES {
        for preload in ["", "preload = true"] {
            let server = setup(class, preload).app(&app).start();
            let mut one = server.client();
            let mut other = server.client();
            for _ in 0..3 {
                send(&mut one, "/mark?as=one&s=0.1");
                send(&mut other, "/mark?as=other");
                assert_eq!(other.response().text(), "unmarked other at import");
                assert_eq!(one.response().text(), "unmarked one at import");
            }
        }
    }
}

#[test]
fn the_library_is_patched_before_a_preloaded_app_is_imported() {
    let app = app("
import socket
patched_at_import = socket.socket.__module__
time.sleep(0.01)  # makes a hub in the process that forks the workers

def route_patched(environ, start_response, query):
    return answer(start_response, patched_at_import)
");
    for class in CLASSES {
        for preload in ["true", "false"] {
            let config = format!("workers = 2\npreload = {preload}");
            let server = setup(class, &config).app(&app).start();
            assert!(server.text("/patched").contains(class), "{preload}");
            let (bodies, took) = at_once(&server, 40, "/sleep?s=0.2");
            assert!(bodies.iter().all(|body| body == "slept"), "{class}");
            assert!(took < Duration::from_secs(2), "{class}: {took:?}");
            server.signal(Signal::SIGHUP);
            server.applied();
            let (bodies, _) = at_once(&server, 10, "/sleep?s=0.1");
            assert!(bodies.iter().all(|body| body == "slept"), "{class}");
        }
    }
}

#[test]
fn a_stream_waits_for_its_reader_and_holds_nobody_up() {
    let app = app("
def route_flood(environ, start_response, query):
    start_response('200 OK', [])
    for number in range(2000):
        count('flooded')
        yield b'x' * 100_000
");
    for class in CLASSES {
        let server = setup(class, "").app(&app).start();
        let mut slow = server.client();
        send(&mut slow, "/flood");
        for _ in 0..20 {
            assert_eq!(server.text("/"), "hello from /");
        }
        thread::sleep(Duration::from_millis(500));
        let produced: usize = server.text("/counter?name=flooded").parse().unwrap();
        assert!(produced < 300, "{class}: {produced} parts without a reader");
        assert_eq!(slow.response().body.len(), 200_000_000, "{class}");
    }
}

#[test]
fn a_response_whose_client_left_is_closed() {
    for class in CLASSES {
        let server = start(class, "");
        let mut client = server.client();
        send(&mut client, "/stream?n=1000&pause=0.05");
        client.some().unwrap();
        drop(client);
        eventually("the response is closed", || {
            server.text("/counter?name=closed+stream") == "1"
        });
        let mut client = server.client();
        send(&mut client, "/large?size=50000000");
        client.some().unwrap();
        drop(client);
        eventually("the large response is closed", || {
            server.text("/counter?name=closed+large") == "1"
        });
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped_after_its_time() {
    let app = app("
def route_flood(environ, start_response, query):
    start_response('200 OK', [])
    return Body((b'x' * 100_000 for number in range(2000)), 'flood')
");
    let server = setup("gevent", "[timeouts]\nwrite = '1s'")
        .app(&app)
        .start();
    let mut slow = server.client();
    send(&mut slow, "/flood");
    eventually("the response is closed", || {
        server.text("/counter?name=closed+flood") == "1"
    });
}

#[test]
fn an_upload_reaches_the_app_whole() {
    for class in CLASSES {
        let server = start(class, "");
        let body = vec![b'u'; 3_000_000];
        let mut client = server.client();
        assert!(client.post("/echo", &body).body == body, "{class}");
        assert_eq!(client.post("/echo", "small").text(), "small", "{class}");
    }
}

#[test]
fn term_finishes_what_is_in_flight_and_runs_what_was_registered_at_exit() {
    let app = app("
import atexit, pathlib
atexit.register(lambda: pathlib.Path('left').write_text('in order'))
");
    for class in CLASSES {
        let server = setup(class, "").app(&app).start();
        let left = server.directory.path().join("left");
        let mut idle = server.client();
        idle.get("/");
        let mut client = server.client();
        send(&mut client, "/sleep?s=1");
        thread::sleep(Duration::from_millis(300));
        server.signal(Signal::SIGTERM);
        let response = client.response();
        assert_eq!(response.text(), "slept", "{class}");
        assert!(response.says_close(), "{class}");
        idle.expect_closed();
        eventually("the handler has run", || left.exists());
        assert_eq!(server.ended().code, Some(0), "{class}");
    }
}

#[test]
fn a_reload_lets_requests_in_flight_finish_and_keeps_idle_connections() {
    for class in CLASSES {
        let server = start(class, "");
        let before = server.worker();
        let mut idle = server.client();
        idle.get("/");
        let mut busy = server.client();
        send(&mut busy, "/sleep?s=1.5");
        thread::sleep(Duration::from_millis(200));
        server.signal(Signal::SIGHUP);
        server.says("ready");
        assert_eq!(busy.response().text(), "slept", "{class}");
        server.applied();
        assert_ne!(idle.get("/pid").text(), before.to_string(), "{class}");
        assert_ne!(busy.get("/pid").text(), before.to_string(), "{class}");
    }
}

#[test]
fn int_and_quit_end_it_at_once() {
    for class in CLASSES {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            let server = start(class, "");
            let mut client = server.client();
            send(&mut client, "/sleep?s=60");
            thread::sleep(Duration::from_millis(200));
            let begun = Instant::now();
            server.signal(signal);
            assert_eq!(server.ended().code, Some(0), "{class} {signal}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{class} {signal}");
        }
    }
}

#[test]
fn a_request_past_its_time_is_answered_504_and_interrupted() {
    let app = app("
def route_patient(environ, start_response, query):
    try:
        time.sleep(60)
    finally:
        count('interrupted')
");
    for class in CLASSES {
        let server = setup(class, "[timeouts]\nrequest = '1s'").app(&app).start();
        let worker = server.worker();
        let mut late: Vec<Client> = (0..5).map(|_| server.client()).collect();
        let begun = Instant::now();
        for client in &mut late {
            send(client, "/patient");
        }
        for client in &mut late {
            assert_eq!(client.response().status, 504, "{class}");
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "{class}");
        server.says("GET /patient");
        assert_eq!(server.text("/counter?name=interrupted"), "5", "{class}");
        assert_eq!(server.worker(), worker, "{class}");
    }
}

#[test]
fn a_hub_that_is_blocked_is_noticed_and_replaced_its_stacks_in_the_log() {
    for class in CLASSES {
        let server = start(class, "[timeouts]\nworker = '1s'");
        thread::sleep(Duration::from_millis(2500));
        assert!(
            !server.log().contains("timeouts.worker"),
            "idle is no block"
        );
        let mut long = server.client();
        send(&mut long, "/sleep?s=3");
        assert_eq!(long.response().text(), "slept", "to wait is no block");
        server.from_now();
        let mut stuck = server.client();
        send(&mut stuck, "/spin?s=60");
        server.says("route_spin");
        server.says("GET /spin");
        server.says("timeouts.worker");
        server.says("worker=2 … ready");
        assert_eq!(server.text("/"), "hello from /", "{class}");
    }
}

#[test]
fn after_max_requests_a_worker_is_replaced() {
    for class in CLASSES {
        let server = start(class, "[limits]\nmax_requests = 20");
        let before = server.worker();
        let mut client = server.client();
        for _ in 0..60 {
            assert_eq!(client.get("/").status, 200, "{class}");
        }
        eventually("another worker answers", || server.worker() != before);
    }
}

#[test]
fn at_the_limit_of_connections_new_ones_wait() {
    for class in CLASSES {
        let server = start(class, "[limits]\nconnections = 4");
        let (mut clients, begun) = (Vec::new(), Instant::now());
        for _ in 0..8 {
            let mut client = server.client();
            client.send("GET /sleep?s=0.5 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "slept", "{class}");
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(950), "{class}: {took:?}");
    }
}

#[test]
fn an_exception_is_a_500_with_its_traceback_in_the_log() {
    for class in CLASSES {
        let server = start(class, "");
        let mut client = server.client();
        assert_eq!(client.get("/error").status, 500, "{class}");
        server.says("the app is broken on purpose");
        assert_eq!(server.text("/"), "hello from /", "{class}");
    }
}

#[test]
fn a_greenlet_that_kills_itself_costs_one_request() {
    let app = app("
def route_suicide(environ, start_response, query):
    import greenlet
    raise greenlet.GreenletExit

def route_exit_system(environ, start_response, query):
    sys.exit(3)
");
    for class in CLASSES {
        let server = setup(class, "").app(&app).start();
        let worker = server.worker();
        for target in ["/suicide", "/exit-system", "/suicide"] {
            assert_eq!(server.get(target).status, 500, "{class}");
        }
        assert_eq!(server.worker(), worker, "{class}");
    }
}

#[test]
fn a_save_that_switches_the_class_under_way_loses_no_request() {
    let server = Server::start("threads = 4");
    for class in ["gevent", "eventlet", "gthread", "gevent"] {
        let mut busy = server.client();
        send(&mut busy, "/sleep?s=1");
        let mut idle = server.client();
        idle.get("/");
        server.edit(&format!("worker_class = '{class}'"));
        assert_eq!(busy.response().text(), "slept", "to {class}");
        server.applied();
        assert_eq!(idle.get("/").text(), "hello from /", "to {class}");
        let environ = server.text("/environ");
        assert!(!environ.is_empty());
    }
}

#[test]
fn gunicorns_names_of_the_classes_are_understood() {
    for name in [
        "gunicorn.workers.ggevent.GeventWorker",
        "gevent_wsgi",
        "gunicorn.workers.geventlet.EventletWorker",
    ] {
        let server = start(name, "");
        let (bodies, took) = at_once(&server, 10, "/sleep?s=0.3");
        assert!(bodies.iter().all(|body| body == "slept"), "{name}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    }
}

#[test]
fn a_stream_past_its_time_is_cut() {
    let app = app("
def route_flood(environ, start_response, query):
    start_response('200 OK', [])
    return Body((b'x' * 100_000 for number in range(2000)), 'flood')
");
    for class in CLASSES {
        let server = setup(class, "[timeouts]\nrequest = '1s'").app(&app).start();
        let mut slow = server.client();
        send(&mut slow, "/flood");
        eventually("the response is closed", || {
            server.text("/counter?name=closed+flood") == "1"
        });
        server.says("GET /flood");
        let received = slow.rest().unwrap_or_default().len();
        assert!(received < 200_000_000, "{class}");
    }
}

#[test]
fn a_health_check_is_answered_by_a_greenlet() {
    let app = app("
def route_healthz(environ, start_response, query):
    time.sleep(0.05)
    return answer(start_response, 'well', '200 OK' if VERSION == '1' else '503 Service Unavailable')
");
    for class in CLASSES {
        let server = setup(class, "[reload]\nhealth_check = { path = '/healthz' }")
            .app(&app)
            .start();
        let before = server.worker();
        server
            .directory
            .write("app.py", &app.replace("VERSION = \"1\"", "VERSION = \"2\""));
        server.signal(Signal::SIGHUP);
        server.says(REJECTED);
        assert_eq!(server.worker(), before, "{class}");
    }
}

#[test]
fn a_missing_package_is_told_with_the_command_that_installs_it() {
    let bare = interpreters()
        .iter()
        .rfind(|found| lacks_greenlets(&found.path));
    let bare = bare.expect("an interpreter without gevent and eventlet");
    let command = |class| format!("{} -m pip install {class}", bare.path.display());
    for class in CLASSES {
        let without = || setup(class, "").python(Some(bare.path.clone()));
        let exit = without().start_and_fail();
        assert_eq!(exit.code, Some(1), "{class}");
        assert!(exit.log.contains(&command(class)), "{}", exit.log);

        let exit = without()
            .arguments(&["check", "-c", "rgunicorn.toml"])
            .run();
        assert_eq!(exit.code, Some(1), "{class}");
        assert!(exit.log.contains(&command(class)), "{}", exit.log);

        let server = Setup::plain().python(Some(bare.path.clone())).start();
        let before = server.worker();
        server.edit(&format!("worker_class = '{class}'"));
        let line = server.says(REJECTED);
        assert!(line.contains(&command(class)), "{line}");
        assert_eq!(server.worker(), before, "{class}: nothing was rolled");
    }
}

fn lacks_greenlets(python: &std::path::Path) -> bool {
    let question = "from importlib.util import find_spec as has; import sys; \
                    sys.exit(sys.version_info < (3, 10) or bool(has('gevent') or has('eventlet')))";
    let status = std::process::Command::new(python)
        .args(["-c", question])
        .status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_worker_of_greenlets_has_one_epoll_instance_of_its_own_and_few_threads() {
    let server = start("gevent", "workers = 2\npreload = true");
    server.says_times(2, " ready");
    for pid in server.workers() {
        let worker = Process::find(pid).unwrap();
        assert_eq!(worker.threads(), 1, "the hub's thread and no other");
    }
}
