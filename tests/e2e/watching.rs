//! Who watches files must not wake for every one that is read, and must not miss those that change meanwhile.

use std::{fs, thread::sleep, time::Duration};

use crate::harness::{Hammer, Server, Setup};

/// Opens a template for each request, and writes to a database beside the config file.
const APP: &str = r#"
import os
here = os.path.dirname(__file__)
def application(environ, start_response):
    with open(os.path.join(here, "templates", "page.html")) as page:
        body = page.read().encode()
    with open(os.path.join(here, "rgunicorn.toml")), open(os.path.join(here, "db.sqlite3"), "a") as database:
        database.write("x")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;
const CODE: &str = "[reload]\ncode = ['**/*.py', 'templates/**']\n";

fn start(config: &str) -> Server {
    let setup = Setup::with(config).app(APP);
    setup.file("templates/page.html", "one").start()
}

#[test]
fn the_arbiter_sleeps_while_nothing_changes() {
    for reload in ["", CODE] {
        let server = start(reload);
        server.edit(&format!("threads = 2\n{reload}"));
        server.applied();
        fs::read(server.config_path()).unwrap();
        // Whoever replaced workers has something to put in order still.
        sleep(Duration::from_millis(500));
        let before = server.arbiter().first_thread_sleeps();
        sleep(Duration::from_secs(4));
        let sleeps = server.arbiter().first_thread_sleeps() - before;
        // Two looks at the file, the workers' clocks, and what a busy machine adds; 200 if it woke itself.
        assert!(sleeps <= 60, "it woke {sleeps} times");
    }
}

#[test]
fn requests_that_read_and_write_beside_what_is_watched_seldom_wake_the_arbiter() {
    for reload in ["", CODE] {
        let server = start(reload);
        let hammer = Hammer::start(server.address(), "/", 2, 0);
        sleep(Duration::from_millis(300));
        let before = server.arbiter().first_thread_sleeps();
        hammer.lands(300);
        let sleeps = server.arbiter().first_thread_sleeps() - before;
        // For what is written it wakes twenty times a second at most: 300 requests take a second or two.
        assert!(sleeps <= 150, "it woke {sleeps} times for 300 requests");
        hammer.stop();
    }
}

#[test]
fn an_edit_is_seen_while_requests_open_what_is_watched() {
    let server = start(CODE);
    let hammer = Hammer::start(server.address(), "/", 4, 0);
    server.edit(&format!("threads = 2\n{CODE}"));
    server.applied();
    server.from_now();
    server.directory.write("templates/page.html", "two");
    server.says("templates/page.html");
    server.applied();
    assert_eq!(server.text("/"), "two");
    hammer.stop();
}
