//! `rgunicorn stop`: ends the server and waits until it has gone.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use clap::{Arg, ArgAction, Command};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Context, Failure, NO_ANSWER, common, reload::timeout, succeeded};
use crate::{cli::OK, sys::PidFd};

pub(super) fn grammar(command: Command) -> Command {
    command
        .about("Finish the requests in flight, stop the server and wait until it has gone")
        .arg(quick("Do not wait for the requests in flight"))
        .arg(timeout())
        .args(common())
}

pub(super) fn quick(help: &'static str) -> Arg {
    Arg::new("quick")
        .long("quick")
        .action(ArgAction::SetTrue)
        .help(help)
}

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    let socket = context.socket()?;
    // Opened before it stops: the number may be another's later.
    let status = succeeded(socket.ask("GET", "/status")?)?;
    let pid = status["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok());
    let process = pid.and_then(|pid| PidFd::open(pid).ok());
    let path = match context.matches().get_flag("quick") {
        true => "/stop?quick",
        false => "/stop",
    };
    let answer = succeeded(socket.ask("POST", path)?)?;
    let seconds = context.matches().get_one::<u64>("timeout").copied();
    let deadline = Instant::now() + Duration::from_secs(seconds.unwrap_or_default());
    if process.is_some_and(|process| !ends(&process, deadline)) {
        let told = "the server did not stop in time; it goes on doing so";
        return Err(Failure::new(NO_ANSWER, told));
    }
    context.show(&answer, "stopped");
    Ok(OK)
}

fn ends(process: &PidFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut entries = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut entries, timeout) {
            Ok(ready) if ready > 0 => return true,
            Ok(_) if left.is_zero() => return false,
            Ok(_) | Err(_) => {}
        }
    }
}
