//! The Procfile of the examples, run by honcho as a platform would run it.

use std::{env, ffi::OsString, path::Path};

use nix::sys::signal::Signal;

use crate::harness::{APP, Client, Setup, free_port, loopback, venv_bin, venv_python};

const PROCFILE: &str = include_str!("../../examples/deploy/procfile/Procfile");

/// A slow request that tells when it is with the app.
const HOLD: &str = "
def route_hold(environ, start_response, query):
    print('held', flush=True)
    time.sleep(1)
    return answer(start_response, 'let go')
";

/// Our binary before everything else.
fn search_path() -> OsString {
    let own = Path::new(env!("CARGO_BIN_EXE_rgunicorn")).parent().unwrap();
    let others = env::var_os("PATH").unwrap_or_default();
    let folders = [own.to_owned()]
        .into_iter()
        .chain(env::split_paths(&others));
    env::join_paths(folders).unwrap()
}

#[test]
fn a_platform_chooses_port_and_workers_and_stops_it_without_cutting_anybody_off() {
    let port = free_port();
    let server = Setup::without_file(&["start"])
        .program(&venv_bin("honcho"))
        .environment("PORT", port.to_string())
        .environment("WEB_CONCURRENCY", "3")
        .environment("PYTHONUNBUFFERED", "1")
        .environment("PATH", search_path())
        .environment("RGUNICORN_PYTHON", venv_python())
        .file("Procfile", PROCFILE)
        .file("mysite/__init__.py", "")
        .file("mysite/wsgi.py", &format!("{APP}\n{HOLD}"))
        .spawn();
    server.prints(&format!("listening at http://0.0.0.0:{port}"));
    server.prints("workers=3 serving");
    let mut client = Client::to(&loopback(port));
    let request = "GET /environ HTTP/1.1\r\nHost: site\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n\
                   X-Forwarded-Proto: https\r\n\r\n";
    let environ = client.request(request).json();
    assert_eq!(environ["REMOTE_ADDR"], "192.0.2.1");
    assert_eq!(environ["wsgi.url_scheme"], "https");

    // Platforms send TERM to every process at once, as honcho does.
    let mut slow = Client::to(&loopback(port));
    slow.send("GET /hold HTTP/1.1\r\nHost: site\r\n\r\n");
    server.prints("held");
    server.signal(Signal::SIGTERM);
    assert_eq!(slow.response().text(), "let go");
    let exit = server.ended();
    assert!(exit.stdout.contains("stopped"), "{}", exit.stdout);
}
