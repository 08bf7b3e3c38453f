//! `wsgi.file_wrapper`: files are sent without the app, and as they would be read.

use crate::harness::{Setup, eventually};

#[test]
fn a_file_wrapper_sends_the_rest_of_the_file_and_closes_it() {
    let app = "
closed = 0
class File:
    def __init__(self, file):
        self.file, self.read, self.fileno = file, file.read, file.fileno
    def close(self):
        global closed
        closed += 1
        self.file.close()

def application(environ, start_response):
    fields = {'/length': [('Content-Length', '70000')]}.get(environ['PATH_INFO'], [])
    start_response('200 OK', fields)
    if environ['PATH_INFO'] == '/closed':
        return [b'%d' % closed]
    if environ['PATH_INFO'] == '/memory':
        import io
        return environ['wsgi.file_wrapper'](io.BytesIO(b'memory' * 10000), 8192)
    file = open('data', 'rb')
    file.seek(5)
    return environ['wsgi.file_wrapper'](File(file), 8192)
";
    let data: String = (0..200_000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    let server = Setup::plain().app(app).file("data", &data).start();
    let mut client = server.client();
    assert!(
        client.get("/").text() == data[5..],
        "the file from its position on"
    );
    assert!(
        client.get("/length").text() == data[5..70_005],
        "as much as Content-Length says"
    );
    assert_eq!(client.get("/memory").text(), "memory".repeat(10_000));
    assert_eq!(
        client
            .request("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            .status,
        200
    );
    eventually("all files are closed", || server.text("/closed") == "3");
}

#[test]
fn a_file_wrapper_sends_what_the_file_reads_as() {
    let app = r#"
import bz2, gzip, lzma, os, tempfile

PLAIN = b"plain text, well compressible " * 2000

def made(opened):
    with opened("packed", "wb") as file:
        file.write(PLAIN)
    return opened("packed", "rb")

class Shouting:
    def __init__(self, file):
        self.file, self.fileno, self.tell = file, file.fileno, file.tell
    def read(self, size=-1):
        return self.file.read(size).upper()

def temporary():
    file = tempfile.NamedTemporaryFile()
    file.write(PLAIN)
    file.seek(0)
    return file

def plain():
    with open("plain", "wb") as file:
        file.write(PLAIN)
    return open("plain", "rb")

FILES = {
    "/gzip": lambda: made(gzip.open),
    "/bz2": lambda: made(bz2.open),
    "/lzma": lambda: made(lzma.open),
    "/temporary": temporary,
    "/plain": plain,
    "/unbuffered": lambda: plain() and open("plain", "rb", buffering=0),
    "/shouting": lambda: Shouting(plain()),
    "/proc": lambda: open("/proc/self/status", "rb"),
}

def application(environ, start_response):
    file = FILES[environ["PATH_INFO"]]()
    length = [("Content-Length", str(len(PLAIN)))] if environ["PATH_INFO"] != "/proc" else []
    start_response("200 OK", length)
    return environ["wsgi.file_wrapper"](file, 4096)
"#;
    let server = Setup::plain().app(app).start();
    let text = "plain text, well compressible ".repeat(2000);
    for target in [
        "/gzip",
        "/bz2",
        "/lzma",
        "/temporary",
        "/plain",
        "/unbuffered",
    ] {
        assert!(server.text(target) == text, "{target}");
    }
    assert!(server.text("/shouting") == text.to_uppercase());
    let status = server.text("/proc");
    assert!(status.contains("VmRSS"), "{status}");
}
