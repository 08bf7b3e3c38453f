//! `rgunicorn check`: everything that is wrong, without serving anything.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ArgMatches;

use super::{ConfigSource, FAILED, OK};
use crate::{arbiter::interpreter, config::Loaded};

pub(super) fn check(typed: &[&ArgMatches]) -> u8 {
    match checked(typed) {
        Ok(said) => {
            // Whoever closed the pipe does not want to know.
            let _ = writeln!(io::stdout(), "{said}");
            OK
        }
        Err(problems) => {
            let _ = writeln!(io::stderr(), "{problems}");
            FAILED
        }
    }
}

fn checked(typed: &[&ArgMatches]) -> Result<String, String> {
    let source =
        ConfigSource::find(typed).map_err(|error| format!("error: cannot check: {error}"))?;
    let loaded = source.load_with(wants_color())?;
    beyond_the_text(&loaded)?;
    Ok(match source.name() {
        Some(path) => format!("{}: ok", path.display()),
        None => "ok".to_owned(),
    })
}

/// What only a run of Python can tell: whether the interpreter has the package that the worker class needs.
fn beyond_the_text(loaded: &Loaded) -> Result<(), String> {
    if loaded.config.worker_class.package().is_some() {
        interpreter::find(&loaded.config).map_err(|error| format!("error: {error}"))?;
    }
    Ok(())
}

/// See no-color.org.
fn wants_color() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}
