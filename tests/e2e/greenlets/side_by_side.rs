//! Many requests in one worker: what waits lets others run.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use super::{CLASSES, app, at_once, setup, start};

#[test]
fn a_thousand_requests_that_sleep_run_at_once_in_one_worker() {
    for class in CLASSES {
        let server = start(class, "[limits]\nconnections = 1100\n[log]\naccess = 'off'");
        let (bodies, took) = at_once(&server, 1000, "/sleep?s=0.1");
        assert!(bodies.iter().all(|body| body == "slept"), "{class}");
        // One after the other they need 100 seconds.
        assert!(took < Duration::from_secs(15), "{class}: {took:?}");
        assert_eq!(server.text("/"), "hello from /", "{class}");
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
        // One after the other they need 6 seconds.
        assert!(took < Duration::from_secs(5), "{class}: {took:?}");
    }
}
