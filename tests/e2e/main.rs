//! The real binary with real Python, from outside: one module per theme, each test a sentence.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what the harness cannot do is a failed test, and people read the failure"
)]

#[path = "../http/corpus.rs"]
mod corpus;
pub mod harness;

mod admin;
mod agents;
mod app_signals;
mod asgi;
mod bad_edits;
mod change_speed;
mod command_line;
mod containers;
mod contexts;
mod death;
mod disconnects;
mod endings;
mod environment;
mod examples;
mod exit_codes;
mod fairness;
mod forked_children;
mod forwarded;
mod greenlets;
mod gunicorn_settings;
mod half_deployed;
mod health_check;
mod held_responses;
mod hooks;
mod http_wire;
mod idle_connections;
mod init;
mod kubernetes;
mod large_bodies;
mod lent_sockets;
mod live;
mod logs;
mod merge_memory;
mod metrics;
mod migrate;
mod misfits;
mod nginx;
mod open_files;
mod plan;
mod privilege;
mod probation;
mod procfile;
mod proxy_protocol;
mod reload;
mod serving;
mod signals;
mod slow_clients;
mod statsd;
mod stopping;
mod systemd;
mod systemd_units;
mod threads;
mod upgrade;
mod watching;
mod websocket;
mod wsgi;
mod wsgi_requests;
