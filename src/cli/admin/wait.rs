//! Commands that wait until what they began is over.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::{Arg, value_parser};
use serde_json::Value;

use super::{Failure, Typed, client::ORDER_PATIENCE, succeeded, text::safe_lines};

/// How long a command waits for the end of what it began.
pub(super) fn timeout() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .value_parser(value_parser!(u64).range(1..=3600))
        .default_value("600")
        .help("How long to wait; then exit with 5, while it goes on")
}

/// What `--timeout` says.
pub(super) fn time_allowed(typed: &Typed<'_>) -> Duration {
    let seconds = typed.matches().get_one::<u64>("timeout").copied();
    Duration::from_secs(seconds.unwrap_or_default())
}

/// Gives the order and shows each step; the last one is returned.
pub(super) fn follow(typed: &Typed<'_>, path: &str) -> Result<Value, Failure> {
    let timeout = time_allowed(typed);
    let path = format!("{path}timeout={}", timeout.as_secs());
    // The server ends it in time itself, unless it cannot.
    let patience = timeout + ORDER_PATIENCE;
    let is_json = typed.is_json();
    let reply = typed.socket()?.follow(&path, patience, |line| {
        // Whoever closed the pipe does not want to know.
        let _ = if is_json {
            writeln!(io::stdout(), "{line}")
        } else {
            show_step(line)
        };
    })?;
    succeeded(reply)
}

fn show_step(line: &Value) -> io::Result<()> {
    match line["event"].as_str() {
        Some("workers") => writeln!(
            io::stdout(),
            "generation {}: {} of {} workers ready",
            line["generation"],
            line["ready"],
            line["of"]
        ),
        _ => Ok(()),
    }
}

/// What the server rejected belongs to the errors: the app's traceback first, and the outcome in the last line.
pub(super) fn tell_rejected(line: &str, problems: Option<&str>) {
    let (line, problems) = (safe_lines(line), safe_lines(problems.unwrap_or_default()));
    // Whoever closed the pipe does not want to know.
    let _ = match problems.trim_end() {
        "" => writeln!(io::stderr(), "{line}"),
        problems => writeln!(io::stderr(), "{problems}\n\n{line}"),
    };
}
