//! `rgunicorn reload`: takes configuration and code up anew, and tells how it went.

use std::io::{self, Write as _};

use clap::Command;

use super::{
    Failure, NO_ANSWER, Typed, server_arguments,
    text::{safe_lines, span},
    wait::{follow, tell_rejected, timeout},
};
use crate::{
    admin::{Outcome, ReloadStatus},
    cli::{FAILED, OK},
};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Take up the configuration and the code anew, wait, and tell the outcome: exit with 1 when it is rejected")
        .arg(timeout())
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let last = follow(typed, "/reload?")?;
    let Ok(reload) = serde_json::from_value::<ReloadStatus>(last["reload"].clone()) else {
        return Err(Failure::new(
            NO_ANSWER,
            "the reload was not done in time; it goes on",
        ));
    };
    if !typed.is_json() {
        tell(&reload);
    }
    Ok(match reload.outcome {
        Outcome::Done | Outcome::Unchanged => OK,
        _ => FAILED,
    })
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
    match reload.outcome {
        Outcome::Done | Outcome::Unchanged => {
            // Whoever closed the pipe does not want to know.
            let _ = writeln!(io::stdout(), "{}", safe_lines(&line));
        }
        _ => tell_rejected(&line, reload.problems.as_deref()),
    }
}
