//! `rgunicorn stop`: ends the server and waits until it has gone.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::{Arg, ArgAction, Command};
use serde_json::json;

use super::{
    Failure, NO_ANSWER, Typed,
    client::{AskError, ORDER_PATIENCE, Socket},
    server_arguments, succeeded,
    wait::{time_allowed, timeout},
};
use crate::{cli::OK, sys::PidFd};

/// Between two looks whether it has gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Finish the requests in flight, stop the server and wait until it has gone")
        .arg(quick("Do not wait for the requests in flight"))
        .arg(timeout())
        .args(server_arguments())
}

pub(super) fn quick(help: &'static str) -> Arg {
    Arg::new("quick")
        .long("quick")
        .action(ArgAction::SetTrue)
        .help(help)
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let deadline = Instant::now() + time_allowed(typed);
    let socket = typed.socket()?;
    // Opened before it stops: the number may be another's later.
    let process = socket.server()?.and_then(|pid| PidFd::open(pid).ok());
    let path = match typed.matches().get_flag("quick") {
        true => "/stop?quick",
        false => "/stop",
    };
    let patience = time_allowed(typed).min(ORDER_PATIENCE);
    let answer = match socket.ask("POST", path, patience) {
        Ok(reply) => succeeded(reply)?,
        // It was gone before it could say so, or goes now.
        Err(AskError::Broken(_)) => json!({ "done": "stopped" }),
        Err(error) => return Err(error.into()),
    };
    while !has_gone(process.as_ref(), &socket) {
        if Instant::now() >= deadline {
            let told = "the server did not stop in time; it goes on doing so";
            return Err(Failure::new(NO_ANSWER, told));
        }
        thread::sleep(LOOK_EVERY);
    }
    typed.show(&answer, "stopped");
    Ok(OK)
}

/// One whose process cannot be seen from here, as from within a container, has gone when nobody is asked at its socket.
fn has_gone(process: Option<&PidFd>, socket: &Socket) -> bool {
    match process {
        Some(process) => process.has_ended(),
        None => matches!(socket.server(), Err(AskError::Connect { .. })),
    }
}
