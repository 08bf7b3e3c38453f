//! `rgunicorn` and `rgunicorn run`: serve.

use std::{
    env,
    io::{self, Read as _, Write as _},
};

use clap::ArgMatches;

use super::{ConfigSource, FAILED, OK};
use crate::{arbiter, migrate::VARIABLE};

/// Whether this build, called so, would take over from the running one, whose state is the standard input. For the
/// arbiter, before it becomes this program.
pub(super) fn check_state(typed: &[&ArgMatches]) -> u8 {
    let mut text = Vec::new();
    let answer = ConfigSource::find(typed).and_then(|_| {
        let read = io::stdin().read_to_end(&mut text);
        read.map_err(|error| error.to_string())?;
        arbiter::upgrade::check(&text)
    });
    match answer {
        Ok(()) => {
            let _ = writeln!(io::stdout(), "{}", arbiter::upgrade::ANSWER);
            OK
        }
        Err(reason) => {
            let _ = writeln!(io::stderr(), "{reason}");
            FAILED
        }
    }
}

pub(super) fn run(typed: &[&ArgMatches]) -> u8 {
    warn_of_gunicorns_variable();
    match ConfigSource::find(typed) {
        Ok(source) => arbiter::run(Box::new(source)),
        Err(error) => {
            // There is no log yet, and without a terminal nobody to tell.
            let _ = writeln!(io::stderr(), "error: cannot start: {error}");
            FAILED
        }
    }
}

/// Whoever comes from Gunicorn may have it set, and would wonder.
fn warn_of_gunicorns_variable() {
    if env::var_os(VARIABLE).is_some_and(|value| !value.is_empty()) {
        let _ = writeln!(
            io::stderr(),
            "warning: {VARIABLE} is not read; `rgunicorn migrate` writes what it says into a file"
        );
    }
}
