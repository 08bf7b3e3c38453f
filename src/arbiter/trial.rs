//! A trial of the app, for `rgunicorn check`: a generation that imports it and serves nothing.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::{
    GenerationProcess, SpawnError,
    engine::{self, EngineError},
    interpreter::{self, InterpreterError},
};
use crate::{
    config::{Config, LiveConfig, LogTarget},
    sys::{Bell, Lifeline, seqpacket_pair},
    wire::{
        FromGeneration, LastWords, LiveError, LivePage, LogDescriptors, Received, Scoreboard,
        ToGeneration, WorkerSettings,
    },
};

/// How long the interpreter may take to leave after the trial.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Why the app would not run. The traceback of its code is on standard error already.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the app does not load: {0}")]
    App(String),
    #[error("the app was not loaded within `timeouts.boot`, {0:?}")]
    TooSlow(Duration),
    #[error("the interpreter ended while it loaded the app")]
    Gone,
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("the trial could not be made")]
    Os(#[from] io::Error),
}

/// Imports the app as a worker would, in the configured interpreter, as the configured user.
pub fn load_app(config: &Config) -> Result<(), TrialError> {
    let interpreter = interpreter::find(config)?;
    let engine = engine::find()?;
    let mut config = config.clone();
    config.preload = true;
    config.log.error = LogTarget::Stderr;
    config.log.access = LogTarget::Off;
    let mut process = GenerationProcess::spawn(&interpreter, &engine, &config)?;
    let result = try_to_load(&mut process, &config);
    leave(&mut process);
    result
}

fn try_to_load(process: &mut GenerationProcess, config: &Config) -> Result<(), TrialError> {
    let scoreboard = Scoreboard::create()?;
    let bell = Bell::create()?;
    let (_lifeline, lifeline_end) = Lifeline::create()?;
    let lobby = seqpacket_pair()?;
    let standard_error = || io::stderr().as_fd().try_clone_to_owned();
    let logs = LogDescriptors {
        access: standard_error()?,
        error: standard_error()?,
    };
    let live = LivePage::create(&LiveConfig::of(config), &logs)?;
    let [page, waiting_logs] = live.descriptors();
    let last_words = LastWords::create()?;
    let descriptors: [BorrowedFd<'_>; 8] = [
        scoreboard.descriptor(),
        bell.as_fd(),
        lifeline_end.as_fd(),
        lobby.0.as_fd(),
        lobby.1.as_fd(),
        last_words.descriptor(),
        page,
        waiting_logs,
    ];
    let settings = WorkerSettings {
        generation: 0,
        config: config.clone(),
        listeners: Vec::new(),
    };
    let start = ToGeneration::Start(Box::new(settings));
    process
        .channel
        .send(start, &descriptors)
        .map_err(|_| TrialError::Gone)?;
    let deadline = Instant::now() + config.timeouts.boot;
    loop {
        match process.channel.receive().map_err(|_| TrialError::Gone)? {
            Received::Message(FromGeneration::Prepared, _) => return Ok(()),
            Received::Message(FromGeneration::Failed { reason }, _) => {
                return Err(TrialError::App(reason));
            }
            Received::Message(_, _) => {}
            Received::Closed => return Err(TrialError::Gone),
            Received::Empty if wait_readable(process.channel.as_fd(), deadline) => {}
            Received::Empty => {
                // Its stacks tell where it hangs.
                let _ = process.pidfd.signal(Signal::SIGABRT);
                return Err(TrialError::TooSlow(config.timeouts.boot));
            }
        }
    }
}

fn leave(process: &mut GenerationProcess) {
    let told = process.channel.send(ToGeneration::Retire, &[]);
    let left = told.is_ok() && wait_readable(process.pidfd.as_fd(), Instant::now() + LEAVE_WITHIN);
    if !left {
        let _ = process.pidfd.signal(Signal::SIGKILL);
        wait_readable(process.pidfd.as_fd(), Instant::now() + LEAVE_WITHIN);
    }
    crate::sys::reap_any();
}

/// False when the deadline came first.
fn wait_readable(descriptor: BorrowedFd<'_>, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut entries = [PollFd::new(descriptor, PollFlags::POLLIN)];
        match poll(&mut entries, timeout) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(ready) if ready > 0 => return true,
            Ok(_) | Err(_) => {}
        }
    }
}
