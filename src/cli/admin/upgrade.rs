//! `rgunicorn upgrade`: the program on disk takes over, in place; waits through it.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Command;
use serde_json::Value;

use super::{
    Failure, NO_ANSWER, Typed,
    client::{AskError, Socket},
    server_arguments, succeeded,
    wait::{time_allowed, timeout},
};
use crate::{
    cli::{FAILED, OK},
    sys::PidFd,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Let the program on disk take over in place, as SIGUSR2 does: exit with 1 when it cannot")
        .arg(timeout())
        .args(server_arguments())
}

pub(super) fn run(typed: &Typed<'_>) -> Result<u8, Failure> {
    let deadline = Instant::now() + time_allowed(typed);
    let socket = typed.socket()?;
    // It stays the same process.
    let process = socket.server()?.and_then(|pid| PidFd::open(pid).ok());
    let before = succeeded(socket.look("/status")?)?;
    let number = |status: &Value| status["upgrade"]["upgrade"].as_u64().unwrap_or_default();
    match socket.order("/upgrade") {
        Ok(reply) => drop(succeeded(reply)?),
        // The program was gone before it could say so.
        Err(AskError::Broken(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let after = loop {
        let status = look(&socket, process.as_ref(), deadline)?;
        let is_over = status["upgrade"]["outcome"] != "pending";
        if number(&status) > number(&before) && is_over {
            break status;
        }
        if Instant::now() >= deadline {
            let told = "the upgrade waits until what is under way is over";
            return Err(Failure::new(NO_ANSWER, told));
        }
        thread::sleep(LOOK_EVERY);
    };
    let upgrade = &after["upgrade"];
    if upgrade["outcome"] == "done" {
        let words = |status: &Value| status["version"].as_str().unwrap_or_default().to_owned();
        let told = format!("rgunicorn {} goes on for {}", words(&after), words(&before));
        typed.show(upgrade, &told);
        return Ok(OK);
    }
    let reason = upgrade["reason"].as_str().unwrap_or_default();
    if typed.is_json() {
        typed.show(upgrade, "");
        return Ok(FAILED);
    }
    Err(Failure::new(
        FAILED,
        format!("the upgrade was rejected: {reason}; all goes on"),
    ))
}

/// The server changes while it is asked, and so may break off.
fn look(socket: &Socket, process: Option<&PidFd>, deadline: Instant) -> Result<Value, Failure> {
    loop {
        match socket.look("/status") {
            Ok(reply) => return succeeded(reply),
            Err(_) if process.is_some_and(PidFd::has_ended) => {
                let told = "the server ended instead of being upgraded\n  = help: its error log tells why; it has to be started again";
                return Err(Failure::new(FAILED, told));
            }
            Err(error @ (AskError::Broken(_) | AskError::Connect { .. })) => {
                if Instant::now() >= deadline {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        thread::sleep(LOOK_EVERY);
    }
}
