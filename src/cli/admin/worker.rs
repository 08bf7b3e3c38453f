//! `rgunicorn worker kill PID`: replaces one worker.

use clap::{Arg, Command, value_parser};

use super::{Failure, Typed, server_arguments, stop::quick};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Act upon one worker")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("kill")
                .about("Let a worker finish its requests and leave; another takes its place")
                .arg(
                    Arg::new("worker")
                        .value_name("PID")
                        .required(true)
                        .help("Of the worker, as `rgunicorn status` shows it")
                        .value_parser(value_parser!(u32)),
                )
                .arg(quick("Kill it now: its requests are lost"))
                .args(server_arguments()),
        )
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let pid = typed.matches().get_one::<u32>("worker");
    let pid = pid.copied().unwrap_or_default();
    let quick = if typed.matches().get_flag("quick") {
        "&quick"
    } else {
        ""
    };
    typed.order(&format!("/worker/kill?pid={pid}{quick}"))
}
