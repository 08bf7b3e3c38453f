//! `rgunicorn scale N`: another number of workers, until the file changes `workers`.

use std::io::{self, Write as _};

use clap::{Arg, Command, value_parser};

use super::{
    Failure, NO_ANSWER, Typed, server_arguments,
    wait::{follow, tell_rejected, timeout},
};
use crate::cli::{FAILED, OK};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about(
            "Serve with so many workers until the file changes `workers`, and wait until they do: exit with 1 when they cannot boot",
        )
        .arg(
            Arg::new("workers")
                .value_name("N")
                .required(true)
                .value_parser(value_parser!(u16).range(1..=256)),
        )
        .arg(timeout())
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let workers = typed.matches().get_one::<u16>("workers");
    let workers = workers.copied().unwrap_or_default();
    let last = follow(typed, &format!("/scale?workers={workers}&"))?;
    match last["outcome"].as_str() {
        Some("done") => {
            if !typed.is_json() {
                let _ = writeln!(io::stdout(), "{} workers serve", last["workers"]);
            }
            Ok(OK)
        }
        Some("rejected") => {
            if !typed.is_json() {
                let reason = last["reason"].as_str().unwrap_or_default();
                let line = format!("scale to {workers} rejected: {reason}");
                tell_rejected(&line, last["problems"].as_str());
            }
            Ok(FAILED)
        }
        Some(_) => Err(Failure::new(FAILED, "the server stops")),
        None => Err(Failure::new(
            NO_ANSWER,
            "the workers were not ready in time; it goes on",
        )),
    }
}
