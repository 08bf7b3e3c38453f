//! `rgunicorn scale N`: another number of workers, until the file changes `workers`.

use std::io::{self, Write as _};

use clap::{Arg, Command, value_parser};

use super::{
    Context, Failure, NO_ANSWER, common,
    reload::{follow, timeout},
};
use crate::cli::{FAILED, OK};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about(
            "Serve with so many workers until the file changes `workers`, and wait until they do",
        )
        .arg(
            Arg::new("workers")
                .value_name("N")
                .required(true)
                .value_parser(value_parser!(u16).range(1..=256)),
        )
        .arg(timeout())
        .args(common())
}

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    let workers = context.matches().get_one::<u16>("workers");
    let workers = workers.copied().unwrap_or_default();
    let last = follow(context, &format!("/scale?workers={workers}&"))?;
    match last["outcome"].as_str() {
        Some("done") => {
            if !context.is_json() {
                let _ = writeln!(io::stdout(), "{} workers serve", last["workers"]);
            }
            Ok(OK)
        }
        Some(_) => Err(Failure::new(FAILED, "the server stops")),
        None => Err(Failure::new(
            NO_ANSWER,
            "the workers were not ready in time; it goes on",
        )),
    }
}
