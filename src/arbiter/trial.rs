//! A trial of the app, for `rgunicorn check`: a generation that imports it, or boots a worker with it, and serves nothing.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
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
    config::{Bind, Config, LiveConfig, LogLevel, LogTarget},
    sys::{Bell, Identity, Lifeline, PidFd, describe_exit, seqpacket_pair},
    wire::{
        ForkDescriptors, FromGeneration, LastWords, ListenerAddress, LiveError, LivePage,
        LogDescriptors, PassedListener, Received, Scoreboard, StackSheet, StartDescriptors,
        ToGeneration, WorkerSettings, WorkerState,
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
    #[error("a worker does not boot: {0}")]
    Worker(String),
    #[error("the interpreter ended while it loaded the app")]
    Gone,
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("the trial could not be made")]
    Os(#[from] io::Error),
}

impl TrialError {
    /// The key that asks for what cannot be had, where it is one.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Interpreter(error) => Some(error.key()),
            Self::App(_) | Self::TooSlow(_) | Self::Worker(_) => Some("app"),
            Self::Engine(_) | Self::Spawn(_) | Self::Gone | Self::Live(_) | Self::Os(_) => None,
        }
    }

    /// What helps, where the message does not say it itself.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Interpreter(error) => error.help(),
            _ => None,
        }
    }
}

/// Imports the app as a worker would, in the configured interpreter, as the configured user.
pub fn load_app(config: &Config) -> Result<(), TrialError> {
    run(config.clone(), true, Trial::after_import)
}

/// Boots a worker as a real one would be, up to its being ready: with what runs before it serves (an ASGI app's lifespan,
/// `reload.health_check`), but without a listening socket.
pub fn boot_worker(config: &Config) -> Result<(), TrialError> {
    run(config.clone(), config.preload, Trial::boot)
}

fn run(
    mut config: Config,
    imports_app: bool,
    goal: impl FnOnce(&mut Trial) -> Result<(), TrialError>,
) -> Result<(), TrialError> {
    let identity = Identity::resolve(config.user.as_deref(), config.group.as_deref());
    let identity = identity.map_err(SpawnError::from)?;
    let interpreter = interpreter::find(&config, identity.as_ref())?;
    let engine = engine::find()?;
    config.log.error = LogTarget::Stderr;
    config.log.level = config.log.level.max(LogLevel::Warning);
    config.log.access = LogTarget::Off;
    let process = GenerationProcess::spawn(&interpreter, &engine, &config)?;
    let deadline = Instant::now() + config.timeouts.boot;
    let mut trial = Trial {
        process,
        scoreboard: Scoreboard::create()?,
        bell: Bell::create()?,
        worker: None,
        last_words: LastWords::create()?,
        live: live_page(&config)?,
        stand_in: seqpacket_pair()?,
        config,
        imports_app,
        deadline,
    };
    let (lifeline, lifeline_end) = Lifeline::create()?;
    let result = trial.start(&lifeline_end).and_then(|()| goal(&mut trial));
    trial.leave();
    tell_crash(&trial.last_words)?;
    drop(lifeline);
    result
}

/// Where the app crashed, beside the tracebacks.
fn tell_crash(last_words: &LastWords) -> io::Result<()> {
    match last_words.crash() {
        crash if crash.is_empty() => Ok(()),
        crash => writeln!(io::stderr(), "{crash}"),
    }
}

/// With both logs on standard error.
fn live_page(config: &Config) -> Result<LivePage, TrialError> {
    let standard_error = || io::stderr().as_fd().try_clone_to_owned();
    let logs = LogDescriptors {
        access: standard_error()?,
        error: standard_error()?,
    };
    Ok(LivePage::create(&LiveConfig::of(config), &logs)?)
}

/// A generation that nobody but us knows of.
struct Trial {
    process: GenerationProcess,
    scoreboard: Scoreboard,
    bell: Bell,
    worker: Option<PidFd>,
    last_words: LastWords,
    live: LivePage,
    /// Passed where a listening socket would be, so that a request of health has an address. Nobody can connect to it; the
    /// other end keeps it silent.
    stand_in: (OwnedFd, OwnedFd),
    config: Config,
    /// See [`WorkerSettings::imports_app`].
    imports_app: bool,
    deadline: Instant,
}

/// The one worker's place.
const SLOT: u32 = 0;
const WORKER: u64 = 1;

impl Trial {
    /// Sends what a generation begins with.
    fn start(&mut self, lifeline: &impl AsFd) -> Result<(), TrialError> {
        let lobby = seqpacket_pair()?;
        let [live_page, waiting_logs] = self.live.descriptors();
        let descriptors = StartDescriptors {
            scoreboard: self.scoreboard.descriptor(),
            bell: self.bell.as_fd(),
            lifeline: lifeline.as_fd(),
            lobby_sender: lobby.0.as_fd(),
            lobby_receiver: lobby.1.as_fd(),
            last_words: self.last_words.descriptor(),
            live_page,
            waiting_logs,
        };
        let descriptors = descriptors.with_listeners([self.stand_in.0.as_fd()]);
        let settings = WorkerSettings {
            generation: 0,
            config: Arc::new(self.config.clone()),
            imports_app: self.imports_app,
            listeners: vec![PassedListener {
                id: 0,
                address: address(&self.config),
            }],
        };
        let start = ToGeneration::Start(Box::new(settings));
        let sent = self.process.channel.send(start, &descriptors);
        sent.map_err(|_| TrialError::Gone)
    }

    /// The app is imported, if that comes before the fork.
    fn after_import(&mut self) -> Result<(), TrialError> {
        self.until(|_, fact| match fact {
            Some(FromGeneration::Prepared) => Some(Ok(())),
            Some(FromGeneration::Failed { reason }) => Some(Err(TrialError::App(reason))),
            _ => None,
        })
    }

    fn boot(&mut self) -> Result<(), TrialError> {
        self.after_import()?;
        self.scoreboard.assign(SLOT, WORKER, 0);
        let fork = ToGeneration::Fork {
            worker: WORKER,
            slot: SLOT,
        };
        let sheet = StackSheet::create()?;
        let descriptors = ForkDescriptors {
            stack_sheet: sheet.descriptor(),
        };
        let sent = self.process.channel.send(fork, &descriptors.into_list());
        sent.map_err(|_| TrialError::Gone)?;
        self.until(|trial, fact| match fact {
            Some(FromGeneration::Exited { status, .. }) => {
                Some(Err(TrialError::Worker(describe_exit(status))))
            }
            Some(FromGeneration::NotForked { reason, .. }) => Some(Err(TrialError::Worker(reason))),
            _ => {
                let slot = &trial.scoreboard.slots()[SLOT as usize];
                (slot.state() == WorkerState::Ready).then_some(Ok(()))
            }
        })
    }

    /// Hears the generation, and looks when the worker rang, until there is a result.
    fn until(
        &mut self,
        mut result: impl FnMut(&Self, Option<FromGeneration>) -> Option<Result<(), TrialError>>,
    ) -> Result<(), TrialError> {
        loop {
            let received = self.process.channel.receive();
            let fact = match received.map_err(|_| TrialError::Gone)? {
                Received::Message(fact, descriptors) => {
                    if let FromGeneration::Forked { .. } = fact {
                        self.worker = descriptors.into_iter().next().map(PidFd::received);
                    }
                    Some(fact)
                }
                Received::Closed => return Err(TrialError::Gone),
                Received::Empty => None,
            };
            let is_quiet = fact.is_none();
            if let Some(result) = result(self, fact) {
                return result;
            }
            if is_quiet && !self.wait() {
                // Its stacks tell where it hangs.
                let stuck = self.worker.as_ref().unwrap_or(&self.process.pidfd);
                let _ = stuck.signal(Signal::SIGABRT);
                return Err(TrialError::TooSlow(self.config.timeouts.boot));
            }
        }
    }

    /// False when the deadline came first.
    fn wait(&mut self) -> bool {
        let descriptors = [self.process.channel.as_fd(), self.bell.as_fd()];
        let is_readable = wait_readable(&descriptors, self.deadline);
        self.bell.drain();
        is_readable
    }

    /// The worker finishes, the generation goes after it. One that is gone already cannot be told, and need not.
    fn leave(&mut self) {
        let worker = self.worker.as_ref();
        let _ = worker.map(|worker| worker.signal(Signal::SIGTERM));
        let _ = self.process.channel.send(ToGeneration::Retire, &[]);
        let deadline = Instant::now() + LEAVE_WITHIN;
        if !wait_readable(&[self.process.pidfd.as_fd()], deadline) {
            let worker = self.worker.as_ref();
            let _ = worker.map(|worker| worker.signal(Signal::SIGKILL));
            let _ = self.process.pidfd.signal(Signal::SIGKILL);
            wait_readable(&[self.process.pidfd.as_fd()], Instant::now() + LEAVE_WITHIN);
        }
        crate::sys::reap_any();
    }
}

/// Where the app would be reached, as far as the configuration tells.
fn address(config: &Config) -> ListenerAddress {
    match config.bind.first() {
        Some(Bind::Unix(path)) => ListenerAddress::Unix(path.display().to_string()),
        Some(Bind::Tcp(tcp)) => {
            let host = tcp.host.parse().unwrap_or(Ipv4Addr::LOCALHOST.into());
            ListenerAddress::Tcp(SocketAddr::new(host, tcp.port))
        }
        _ => ListenerAddress::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
    }
}

/// False when the deadline came first.
fn wait_readable(descriptors: &[BorrowedFd<'_>], deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut entries: Vec<PollFd<'_>> = descriptors
            .iter()
            .map(|descriptor| PollFd::new(*descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut entries, timeout) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(ready) if ready > 0 => return true,
            Ok(_) | Err(_) => {}
        }
    }
}
