//! Apps: the frameworks keep their requests apart, and what is imported is patched before.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{CLASSES, app, at_once, send, setup};
use crate::harness::Client;

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
    let django = include_str!("../apps/django_notes.py");
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

/// A greenlet that has served a request waits for the next one: nobody else can make it begin with one.
#[test]
fn an_app_that_switches_to_a_greenlet_of_an_earlier_request_confuses_nothing() {
    let app = app("
kept = []

def route_keep(environ, start_response, query):
    import greenlet
    kept.append(greenlet.getcurrent())
    time.sleep(0.2)
    return answer(start_response, 'kept')

def route_poke(environ, start_response, query):
    import greenlet
    others = [one for one in kept if one is not greenlet.getcurrent()]
    if hub == 'gevent':
        import gevent
        for one in others:
            gevent.get_hub().loop.run_callback(one.switch)
    else:
        import eventlet.hubs
        for one in others:
            eventlet.hubs.get_hub().schedule_call_global(0, one.switch)
    time.sleep(0.05)
    return answer(start_response, 'poked')

def route_pair(environ, start_response, query):
    begun = time.monotonic()
    time.sleep(0.3)
    slept = time.monotonic() - begun
    return answer(start_response, 'long enough' if slept >= 0.3 else f'{slept}')
");
    for class in CLASSES {
        let app = format!("{app}\nhub = '{class}'\n");
        let server = setup(class, "[timeouts]\ngraceful = '20s'")
            .app(&app)
            .start();
        let (kept, _) = at_once(&server, 3, "/keep");
        assert_eq!(kept, ["kept"; 3]);
        assert_eq!(server.text("/poke"), "poked", "{class}");
        let (slept, _) = at_once(&server, 6, "/pair");
        assert_eq!(slept, ["long enough"; 6], "{class}");
        let begun = Instant::now();
        server.signal(Signal::SIGTERM);
        server.says("stopped");
        assert!(begun.elapsed() < Duration::from_secs(5), "{class}");
    }
}

/// Runs a program when it is imported, in requests, and in a hook.
const RUNS_PROGRAMS: &str = "
import subprocess

VERSION = subprocess.check_output(['echo', '1'], text=True)

def application(environ, start_response):
    start_response('200 OK', [])
    return [subprocess.check_output(['echo', 'ran'])]

def when_ready(server):
    print(subprocess.check_output(['echo', 'the hook ran'], text=True), flush=True)
";

#[test]
fn programs_are_waited_for_where_some_ran_before_the_fork() {
    let hook = "[hooks]\nwhen_ready = 'app:when_ready'";
    for class in CLASSES {
        for config in ["preload = true", hook] {
            let server = setup(class, config).app(RUNS_PROGRAMS).start();
            for _ in 0..2 {
                assert_eq!(server.text("/"), "ran\n", "{class} {config}");
            }
            if config == hook {
                server.prints("the hook ran");
            }
        }
    }
}
