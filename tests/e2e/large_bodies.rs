//! Bodies far larger than what a worker may use: memory stays bounded, up and down, in each kind of worker.
//!
//! A gigabyte takes a while: `cargo test --test e2e -- --ignored a_gigabyte`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::harness::{APP, Address, Client, DEADLINE, Process, Server, Setup};

const MEBIBYTE: usize = 1 << 20;
/// What a worker may have used at most: the interpreter, its libraries, and buffers.
const MEMORY_MAX: usize = 100 * MEBIBYTE;

const ASGI: &str = include_str!("apps/asgi.py");
const WSGI: &str = "
def route_count(environ, start_response, query):
    '''Counts a body without keeping it.'''
    total, body = 0, environ['wsgi.input']
    while piece := body.read(1 << 20):
        total += len(piece)
    return answer(start_response, json.dumps({'bytes': total}))


def route_flood(environ, start_response, query):
    size, piece = int(query['size']), bytes(1 << 20)
    start_response('200 OK', [('Content-Length', str(size))])
    return (piece for _ in range(size >> 20))
";

#[test]
fn a_large_body_takes_little_memory() {
    for server in servers() {
        there_and_back(&server, 160 * MEBIBYTE);
    }
}

#[test]
#[ignore = "takes a while"]
fn a_gigabyte_takes_little_memory() {
    for server in servers() {
        there_and_back(&server, 1024 * MEBIBYTE);
    }
}

fn servers() -> impl Iterator<Item = Server> {
    let wsgi = format!("{APP}\n{WSGI}");
    [
        ("worker_class = 'gthread'\nthreads = 2", wsgi.clone()),
        ("app = 'app:app'", ASGI.to_owned()),
        ("worker_class = 'gevent'", wsgi),
    ]
    .into_iter()
    .map(|(config, app)| {
        Setup::with(&format!("{config}\n[limits]\nbody = '2GiB'"))
            .app(&app)
            .start()
    })
}

#[track_caller]
fn there_and_back(server: &Server, size: usize) {
    let pid = server.worker();
    assert_eq!(upload(server, size), size);
    download(server, size);
    assert_eq!(server.worker(), pid);
    let peak = Process::find(pid).unwrap().peak_memory();
    assert!(peak < MEMORY_MAX, "{} MiB", peak / MEBIBYTE);
}

/// How many bytes the app counted.
fn upload(server: &Server, size: usize) -> usize {
    let head = format!("POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n");
    let mut client = server.client();
    client.send(head);
    let piece = vec![0; MEBIBYTE];
    for _ in 0..size / MEBIBYTE {
        client.send(&piece);
    }
    let counted = client.response().json();
    counted["bytes"].as_u64().unwrap() as usize
}

/// Takes in exactly that much, and keeps none of it.
fn download(server: &Server, size: usize) {
    let Address::Tcp(address) = server.address() else {
        panic!("a TCP address is expected")
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request =
        format!("GET /flood?size={size} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut buffer = vec![0; MEBIBYTE];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut buffer[..1]).unwrap();
        head.push(buffer[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(
        head.contains(&format!("content-length: {size}\r\n")),
        "{head}"
    );
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            count => received += count,
        }
    }
    assert_eq!(received, size);
}

/// As on a full disk: a write to a file fails. Python has the signal that comes with it ignored.
const FULL: &str = "import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
";

#[test]
fn a_response_that_cannot_be_kept_for_its_client_is_cut_short_and_it_is_said() {
    let app = format!("{FULL}{APP}\n{WSGI}");
    let chunked = "
def route_chunks(environ, start_response, query):
    start_response('200 OK', [])
    return (bytes(1 << 20) for _ in range(100))
";
    let server = Setup::plain().app(&format!("{app}{chunked}")).start();
    for target in ["/chunks", "/flood?size=104857600"] {
        let mut client = server.client();
        server.from_now();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        server.says(&format!("cannot buffer the response to GET {target} in"));
        server.says("File too large (os error 27); it is cut short");
        client.try_response("GET").expect_err("a whole response");
    }
    assert_eq!(server.text("/"), "hello from /");
    assert!(
        !server.has_said("than its Content-Length"),
        "{}",
        server.log()
    );
}

#[test]
fn a_body_that_cannot_be_kept_is_answered_500_and_the_app_not_called() {
    for config in ["", "worker_class = 'gevent'"] {
        let server = Setup::with(config).app(&format!("{FULL}{APP}")).start();
        for framing in ["Content-Length: 2000000", "Transfer-Encoding: chunked"] {
            let mut client = server.client();
            client.send(format!(
                "POST /echo HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"
            ));
            if framing.starts_with('T') {
                client.send("1e8480\r\n");
            }
            client.send("x".repeat(2_000_000));
            let response = client.response();
            assert_eq!(response.status, 500, "{config}");
            assert!(response.says_close());
        }
        server.says_times(2, "cannot buffer a request body … File too large");
        assert_eq!(server.text("/counter?name=/echo"), "0");
    }
}

/// nginx sends the head and the body of an upload to its upstream one after the other, and keeps the end of the body back until
/// what it sent before was acknowledged.
#[test]
fn a_body_behind_its_head_is_not_kept_back_by_a_client_that_waits_to_fill_a_segment() {
    let size = 20_000;
    for server in servers() {
        let Address::Tcp(address) = server.address() else {
            unreachable!("the server listens on TCP")
        };
        let mut client = Client::over(TcpStream::connect(address).unwrap());
        let uploads = (0..12).map(|_| {
            let begun = Instant::now();
            client.send(format!(
                "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"
            ));
            client.send(vec![b'x'; size]);
            assert_eq!(client.response().json()["bytes"], size);
            begun.elapsed()
        });
        // The kernel's pause is 40 ms at least; the first uploads of a connection have none.
        let quickest_later = uploads.skip(6).min().unwrap();
        assert!(
            quickest_later < Duration::from_millis(30),
            "{quickest_later:?}"
        );
    }
}
