//! ASGI: scope, messages, lifespan, and what happens when clients or apps misbehave.

mod bodies;
mod class;
mod frameworks;
mod leaving;
mod lifespan;
mod responses;
mod scope;
mod side_by_side;
mod tasks;

use crate::harness::{Server, Setup};

const APP: &str = include_str!("apps/asgi.py");

fn setup(config: &str) -> Setup {
    Setup::with(&format!("app = 'app:app'\n{config}")).app(APP)
}

#[track_caller]
fn start(config: &str) -> Server {
    setup(config).start()
}

fn counter(server: &Server, name: &str) -> String {
    server.text(&format!("/counter?name={name}"))
}
