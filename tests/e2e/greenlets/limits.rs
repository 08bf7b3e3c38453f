//! Limits of number and time, for requests and for the hub.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{CLASSES, app, at_once, send, setup, start};
use crate::harness::{Client, eventually};

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
        let received = slow.rest_until_closed().len();
        assert!(received < 200_000_000, "{class}");
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
fn the_greenlets_of_a_burst_are_let_go() {
    let app = app("
def route_greenlets(environ, start_response, query):
    import gc, greenlet
    alive = [one for one in gc.get_objects() if isinstance(one, greenlet.greenlet) and not one.dead]
    return answer(start_response, str(len(alive)))
");
    for class in CLASSES {
        let server = setup(class, "").app(&app).start();
        let greenlets = || server.text("/greenlets").parse::<usize>().unwrap();
        let before = greenlets();
        let (bodies, _) = at_once(&server, 50, "/sleep?s=0.3");
        assert!(bodies.iter().all(|body| body == "slept"), "{class}");
        assert!(greenlets() >= before + 40, "{class}");
        eventually("most have ended", || greenlets() <= before + 8);
        let (bodies, _) = at_once(&server, 50, "/sleep?s=0.3");
        assert!(bodies.iter().all(|body| body == "slept"), "{class}");
    }
}
