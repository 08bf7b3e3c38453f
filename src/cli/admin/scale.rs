//! `rgunicorn scale N`: another number of workers, until the file changes `workers`.

use std::io::{self, Write as _};

use clap::{Arg, Command, value_parser};
use serde_json::Value;

use super::{
    Context, Failure, NO_ANSWER, common,
    reload::{follow, timeout},
    text::safe_lines,
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
        Some("rejected") => {
            if !context.is_json() {
                tell(workers, &last);
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

/// As a reload that is rejected: the app's traceback first, and the outcome in the last line.
fn tell(workers: u16, last: &Value) {
    let line = format!(
        "scale to {workers} rejected: {}",
        last["reason"].as_str().unwrap_or_default()
    );
    let line = safe_lines(&line);
    let problems = safe_lines(last["problems"].as_str().unwrap_or_default());
    // Whoever closed the pipe does not want to know.
    let _ = match problems.trim_end() {
        "" => writeln!(io::stderr(), "{line}"),
        problems => writeln!(io::stderr(), "{problems}\n\n{line}"),
    };
}
