//! `rgunicorn completions`: what a shell needs to complete the command line.

use std::io::{self, Write as _};

use clap::{Arg, ArgMatches, value_parser};
use clap_complete::{Shell, generate};

use super::{FAILED, OK, command::command};

pub(super) fn arguments() -> [Arg; 1] {
    [Arg::new("shell")
        .value_name("SHELL")
        .required(true)
        .value_parser(value_parser!(Shell))
        .help("Where the output belongs is said in docs/command-line.md")]
}

pub(super) fn completions(typed: &ArgMatches) -> u8 {
    let Some(shell) = typed.get_one::<Shell>("shell") else {
        return FAILED;
    };
    let mut script = Vec::new();
    generate(*shell, &mut command(), "rgunicorn", &mut script);
    match io::stdout().write_all(&script) {
        Ok(()) => OK,
        Err(_) => FAILED,
    }
}
