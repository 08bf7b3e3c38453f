//! What a person types: `rgunicorn [APP]`, and one file for each command. The only folder that talks to the terminal.

mod admin;
mod check;
mod color;
mod command;
mod completions;
mod find_server;
mod flags;
mod help;
mod init;
mod machine;
mod man;
mod migrate;
mod plan;
mod run;
mod save;
mod schema;
mod source;

use std::{
    ffi::OsString,
    io::{self, Write as _},
};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{arbiter::upgrade::CHECK_FLAG, config::advice_on_flag};

use command::BOOT_FLAG;
pub use source::ConfigSource;

/// Exit codes, as Gunicorn has them. 3 and 4 (the app did not boot) come from the arbiter.
pub const OK: u8 = 0;
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;

/// Does what was typed and says with which code to exit.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match command::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &arguments),
    };
    if let Some(code) = admin::run(&matches) {
        return code;
    }
    // What stands before a command counts for it, too; what stands after it is stronger.
    match matches.subcommand() {
        after if matches.get_flag(CHECK_FLAG) => run::check_state(
            &[Some(&matches), after.map(|(_, after)| after)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        ),
        Some(("schema", _)) => schema::schema(),
        Some(("plan", after)) => plan::plan(&matches, after),
        Some(("completions", after)) => completions::completions(after),
        Some(("man", _)) => man::man(),
        Some(("init", after)) => init::init(after),
        Some(("migrate", after)) => migrate::migrate(after),
        Some(("check", after)) => check::check(&[&matches, after], after.get_flag(BOOT_FLAG)),
        Some((_, after)) => run::run(&[&matches, after]),
        None => run::run(&[&matches]),
    }
}

/// Tells what came of a command: its text on standard output, with its exit code; or what is wrong, on standard error.
fn tell(outcome: Result<(String, u8), String>) -> u8 {
    // Whoever closed the pipe does not want to know.
    match outcome {
        Ok((told, code)) => {
            let _ = writeln!(io::stdout(), "{}", told.trim_end());
            code
        }
        Err(problems) => {
            let _ = writeln!(io::stderr(), "{problems}");
            FAILED
        }
    }
}

/// A line that is not understood. `--help` and `--version` are no mistakes. A terminal that is gone cannot be told so.
fn refused(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let command = command_of(arguments);
    // 2 means something else there.
    let if_wrong = if command.as_deref() == Some("plan") {
        FAILED
    } else {
        USAGE
    };
    // The other commands never had a flag of Gunicorn's.
    let serves = matches!(command.as_deref(), None | Some("run" | "check"));
    if serves
        && error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(advice) = advice_on_flag(flag)
    {
        let _ = writeln!(io::stderr(), "error: {flag}: {advice}");
        return if_wrong;
    }
    let _ = error.print();
    if error.use_stderr() { if_wrong } else { OK }
}

/// The command that a line which is not understood was meant for.
fn command_of(arguments: &[OsString]) -> Option<String> {
    let command = command::command().ignore_errors(true);
    let matches = command.try_get_matches_from(arguments).ok()?;
    matches.subcommand_name().map(str::to_owned)
}
