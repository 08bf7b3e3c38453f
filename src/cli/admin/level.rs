//! `rgunicorn log-level LEVEL`: more or fewer messages, until the next reload.

use clap::{Arg, Command, builder::PossibleValuesParser};

use super::{Failure, Typed, server_arguments};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about(
            "Set the least important messages that go to the error log, until a reload is applied",
        )
        .arg(
            Arg::new("level")
                .value_name("LEVEL")
                .required(true)
                .value_parser(PossibleValuesParser::new([
                    "debug", "info", "warning", "error", "critical",
                ])),
        )
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let level = typed.matches().get_one::<String>("level");
    let level = level.map(String::as_str).unwrap_or_default();
    typed.order(&format!("/log-level?level={level}"))
}
