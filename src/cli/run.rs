//! `rgunicorn` and `rgunicorn run`: serve.

use std::{
    env,
    io::{self, Read as _, Write as _},
    path::Path,
};

use clap::{ArgMatches, Command};

use super::{ConfigSource, FAILED, OK, USAGE, command};
use crate::{arbiter, migrate::CMD_ARGS_VARIABLE};

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
    if let Some(command) = typed
        .iter()
        .find_map(|matches| command_with_a_slip(matches))
    {
        let _ = writeln!(io::stderr(), "error: {command}");
        return USAGE;
    }
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

/// `rgunicorn relaod` would start a server, and most often a second one.
fn command_with_a_slip(typed: &ArgMatches) -> Option<String> {
    let app = typed.get_one::<String>("app")?;
    if app.contains(['.', ':'])
        || Path::new(&format!("{app}.py")).exists()
        || Path::new(app).exists()
    {
        return None;
    }
    let command = command::command();
    let names = command.get_subcommands().map(Command::get_name);
    let mut long = names.filter(|name| name.len() >= SLIP_NAME_MIN);
    let near = long.find(|name| strsim::osa_distance(app, name) <= SLIP_LETTERS_MAX)?;
    Some(format!(
        "there is neither a command nor a module `{app}` here\n  \
         = help: did you mean `rgunicorn {near}`? An app from elsewhere is written with its attribute: `{app}:application`"
    ))
}

/// Letters of a name below which others are near by chance.
const SLIP_NAME_MIN: usize = 5;
const SLIP_LETTERS_MAX: usize = 2;

/// Whoever comes from Gunicorn may have it set, and would wonder.
fn warn_of_gunicorns_variable() {
    if env::var_os(CMD_ARGS_VARIABLE).is_some_and(|value| !value.is_empty()) {
        let _ = writeln!(
            io::stderr(),
            "warning: {CMD_ARGS_VARIABLE} is not read; `rgunicorn migrate` writes what it says into a file"
        );
    }
}
