//! `rgunicorn events`: what the arbiter told its log last.

use std::fmt::Write as _;

use clap::{Arg, Command, value_parser};

use super::{Failure, Typed, server_arguments};
use crate::{admin::Event, cli::OK};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Show what the server did last: starts, reloads, deaths of workers")
        .arg(
            Arg::new("after")
                .long("after")
                .value_name("NUMBER")
                .value_parser(value_parser!(u64))
                .help("Only events with a greater number"),
        )
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let after = typed.matches().get_one::<u64>("after").copied();
    let after = after.unwrap_or_default();
    let answer = typed.look(&format!("/events?after={after}"))?;
    let events: Vec<Event> = serde_json::from_value(answer["events"].clone()).unwrap_or_default();
    let mut text = String::new();
    for event in &events {
        let level = event.level.word().to_uppercase();
        let _ = writeln!(text, "{} [{level}] {}", event.at, event.text);
        if !event.detail.is_empty() {
            let _ = writeln!(text, "{}", event.detail.trim_end());
        }
    }
    typed.show(&answer, text.trim_end());
    Ok(OK)
}
