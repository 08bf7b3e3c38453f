//! What the arbiter hands to a generation with `Start`, and each worker inherits by fork.

use std::{io, os::fd::OwnedFd};

use crate::{
    config::LogLevel,
    sys::Bell,
    telemetry::Sink,
    wire::{LastWords, PassedListener, Scoreboard, WorkerSettings},
};

/// Settings and resources, in the order in which [`crate::wire::ToGeneration::Start`] lists their descriptors.
pub struct Inherited {
    pub settings: WorkerSettings,
    pub scoreboard: Scoreboard,
    /// Rung by a worker whose state in the scoreboard changed.
    pub bell: Bell,
    /// Hangs up when the arbiter dies.
    pub lifeline: OwnedFd,
    pub lobby: Lobby,
    /// `None` when the access log is off.
    pub access_log: Option<Sink>,
    pub listeners: Vec<(PassedListener, OwnedFd)>,
}

/// The two ends of the socket pair through which workers hand connections over.
#[derive(Debug)]
pub struct Lobby {
    pub sender: OwnedFd,
    pub receiver: OwnedFd,
}

/// All that a worker has when it begins: its place, and what its generation held. The error log is set up already, see
/// [`crate::telemetry`].
pub struct WorkerStart {
    /// The worker's name, unique for the life of the arbiter.
    pub worker: u64,
    /// Its place in the scoreboard.
    pub slot: u32,
    pub settings: WorkerSettings,
    pub scoreboard: Scoreboard,
    pub bell: Bell,
    pub lifeline: OwnedFd,
    pub lobby: Lobby,
    pub access_log: Option<Sink>,
    pub listeners: Vec<(PassedListener, OwnedFd)>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the arbiter sent {sent} descriptors where {wanted} belong: binary and engine are not of one version"
    )]
    Descriptors { sent: usize, wanted: usize },
    #[error("the scoreboard cannot be mapped")]
    Scoreboard(#[source] io::Error),
    #[error("the logs cannot be taken over")]
    Log(#[source] io::Error),
}

/// Descriptors that come with every `Start`: scoreboard, bell, lifeline, two of the lobby, two logs, last words.
const FIXED: usize = 8;

impl Inherited {
    /// Gives each descriptor its meaning, and sets up the error log of this process.
    pub fn unpack(settings: WorkerSettings, descriptors: Vec<OwnedFd>) -> Result<Self, StartError> {
        let sent = descriptors.len();
        let wanted = FIXED + settings.listeners.len();
        let unequal = || StartError::Descriptors { sent, wanted };
        let mut rest = descriptors.into_iter();
        let mut next = || rest.next().ok_or_else(unequal);
        let (scoreboard, bell, lifeline) = (next()?, next()?, next()?);
        let lobby = Lobby {
            sender: next()?,
            receiver: next()?,
        };
        let (access_log, error_log) = (next()?, next()?);
        let last_words = next()?;
        if sent != wanted {
            return Err(unequal());
        }
        keep_last_words(LastWords::open(last_words));
        let log = &settings.config.log;
        crate::telemetry::init_from_descriptor(error_log, &log.error, log.level)
            .map_err(StartError::Log)?;
        let access_log = match &log.access {
            crate::config::LogTarget::Off => None,
            target => Some(Sink::from_descriptor(access_log, target).map_err(StartError::Log)?),
        };
        let scoreboard = Scoreboard::open(scoreboard).map_err(StartError::Scoreboard)?;
        crate::telemetry::count_in(scoreboard.another().map_err(StartError::Scoreboard)?);
        Ok(Self {
            scoreboard,
            bell: Bell::open(bell),
            lifeline,
            lobby,
            access_log,
            listeners: settings.listeners.iter().cloned().zip(rest).collect(),
            settings,
        })
    }

    /// In the forked child: the same, with the worker's place.
    pub fn into_worker(self, worker: u64, slot: u32) -> WorkerStart {
        WorkerStart {
            worker,
            slot,
            settings: self.settings,
            scoreboard: self.scoreboard,
            bell: self.bell,
            lifeline: self.lifeline,
            lobby: self.lobby,
            access_log: self.access_log,
            listeners: self.listeners,
        }
    }

    /// Opens log files again after they were moved away, so that the workers to come do not inherit the old ones.
    pub fn reopen_logs(&mut self) {
        crate::telemetry::reopen();
        if let Some(Err(error)) = self.access_log.as_mut().map(Sink::reopen) {
            crate::error!(
                "generation={} cannot reopen the access log: {error}; the old file stays in use",
                self.settings.generation
            );
        }
    }
}

/// What goes wrong until a worker is ready, which closes the tap, is also told to the arbiter.
fn keep_last_words(words: LastWords) {
    crate::telemetry::open_tap(Box::new(move |level, line, text_below| {
        if level >= LogLevel::Error {
            words.add(line, text_below);
        }
    }));
}
