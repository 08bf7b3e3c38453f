//! `worker_class = "gevent"` and `"eventlet"`, with the real packages: what waits lets others run, and all else is as in
//! the other classes.

mod apps;
mod bodies;
mod class;
mod leaving;
mod limits;
mod side_by_side;

use std::time::{Duration, Instant};

use crate::harness::{APP, Client, Server, Setup};

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
