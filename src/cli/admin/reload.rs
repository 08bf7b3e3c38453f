//! `rgunicorn reload`: takes configuration and code up anew, and tells how it went.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::{Arg, Command, value_parser};
use serde_json::Value;

use super::{
    Context, Failure, NO_ANSWER,
    client::ORDER_PATIENCE,
    common, succeeded,
    text::{safe_lines, span},
};
use crate::{
    admin::{Outcome, ReloadStatus},
    cli::{FAILED, OK},
};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Take up the configuration and the code anew, wait, and tell the outcome: exit with 1 when it is rejected")
        .arg(timeout())
        .args(common())
}

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
pub(super) fn time_allowed(context: &Context<'_>) -> Duration {
    let seconds = context.matches().get_one::<u64>("timeout").copied();
    Duration::from_secs(seconds.unwrap_or_default())
}

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    let last = follow(context, "/reload?")?;
    let Ok(reload) = serde_json::from_value::<ReloadStatus>(last["reload"].clone()) else {
        return Err(Failure::new(
            NO_ANSWER,
            "the reload was not done in time; it goes on",
        ));
    };
    if !context.is_json() {
        tell(&reload);
    }
    Ok(match reload.outcome {
        Outcome::Done | Outcome::Unchanged => OK,
        _ => FAILED,
    })
}

/// Gives the order and shows each step; the last one is returned.
pub(super) fn follow(context: &Context<'_>, path: &str) -> Result<Value, Failure> {
    let timeout = time_allowed(context);
    let path = format!("{path}timeout={}", timeout.as_secs());
    // The server ends it in time itself, unless it cannot.
    let patience = timeout + ORDER_PATIENCE;
    let is_json = context.is_json();
    let reply = context.socket()?.follow(&path, patience, |line| {
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

fn tell(reload: &ReloadStatus) {
    let took = reload
        .took_seconds
        .map_or(String::new(), |seconds| format!(" in {}", span(seconds)));
    let why = reload.reason.as_deref().unwrap_or(&reload.told);
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    };
    let line = format!(
        "reload {} {}{took}{why}",
        reload.reload,
        reload.outcome.words()
    );
    let line = safe_lines(&line);
    let problems = safe_lines(reload.problems.as_deref().unwrap_or_default());
    // What failed belongs to the errors.
    let _ = match reload.outcome {
        Outcome::Done | Outcome::Unchanged => writeln!(io::stdout(), "{line}"),
        _ if problems.is_empty() => writeln!(io::stderr(), "{line}"),
        _ => writeln!(io::stderr(), "{}\n\n{line}", problems.trim_end()),
    };
}
