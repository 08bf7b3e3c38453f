//! Bodies in both directions, responses that fail, and clients that leave or do not read.

use std::{thread, time::Duration};

use super::{CLASSES, app, send, setup, start};
use crate::harness::eventually;

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
