//! Asks the program on disk whether it would take over, by running it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, OwnedFd},
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::{ANSWER, CHECK_FLAG, Invocation};
use crate::sys::PidFd;

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Characters of a complaint that are shown.
const COMPLAINT_CHARS_MAX: usize = 500;

/// Waits for the answer of the program, called as it will be, to the state; an error says what is wrong with it.
pub(in crate::arbiter) fn ask(invocation: &Invocation, state: &OwnedFd) -> Result<(), String> {
    run(invocation, state).unwrap_or_else(|error| Err(format!("it cannot be executed: {error}")))
}

fn run(invocation: &Invocation, state: &OwnedFd) -> io::Result<Result<(), String>> {
    let mut file = File::from(state.try_clone()?);
    file.rewind()?;
    let (mut output, their_output) = io::pipe()?;
    let their_errors = their_output.try_clone()?;
    let mut command = Command::new(&invocation.program);
    command
        .arg(OsString::from(format!("--{CHECK_FLAG}")))
        .args(invocation.arguments.iter().skip(1))
        .stdin(file)
        .stdout(their_output)
        .stderr(their_errors);
    let mut child = command.spawn()?;
    // It holds their end of the pipe.
    drop(command);
    let pidfd = PidFd::open(child.id())?;
    let deadline = Instant::now() + TIME_MAX;
    let mut said = String::new();
    let mut buffer = [0; 4096];
    // Until it closes its output, which is when it exits, or the time is up.
    let in_time = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut entries = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut entries, timeout) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match output.read(&mut buffer)? {
            0 => break true,
            length if said.len() < COMPLAINT_CHARS_MAX => {
                said.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            _ => {}
        }
    };
    if !in_time {
        let _ = pidfd.signal(Signal::SIGKILL);
    }
    let status = child.wait()?;
    Ok(match (in_time, status.success()) {
        (true, true) if said.trim_end().ends_with(ANSWER) => Ok(()),
        (true, true) => Err("it does not say that it takes over".to_owned()),
        (true, false) => Err(complaint(&said, &status.to_string())),
        (false, _) => Err(format!(
            "it did not answer within {} seconds",
            TIME_MAX.as_secs()
        )),
    })
}

fn complaint(said: &str, status: &str) -> String {
    let said: Vec<&str> = said.split_whitespace().collect();
    match said.join(" ") {
        said if said.is_empty() => status.to_owned(),
        said => said.chars().take(COMPLAINT_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn asked(script: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let arguments = ["program", "-c", "x.toml"].map(OsString::from).to_vec();
        let state = crate::sys::memory_file("test", b"the state").unwrap();
        ask(&Invocation { program, arguments }, &state)
    }

    #[test]
    fn a_program_is_asked_with_its_arguments_and_the_state() {
        let script = "echo takes over; [ \"$*\" = '--check-state -c x.toml' ] && [ \"$(cat)\" = 'the state' ]";
        assert_eq!(asked(script), Ok(()));
    }

    #[test]
    fn one_that_refuses_or_crashes_is_quoted() {
        assert_eq!(
            asked("echo no, >&2; echo thanks >&2; exit 1"),
            Err("no, thanks".to_owned())
        );
        assert!(asked("kill -SEGV $$").unwrap_err().contains("SIGSEGV"));
    }

    #[test]
    fn one_that_is_not_there_is_told() {
        let invocation = Invocation {
            program: "/no/such/program".into(),
            arguments: Vec::new(),
        };
        let state = crate::sys::memory_file("test", b"").unwrap();
        assert!(
            ask(&invocation, &state)
                .unwrap_err()
                .starts_with("it cannot be executed")
        );
    }
}
