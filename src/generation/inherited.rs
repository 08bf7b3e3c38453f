//! What the arbiter hands to a generation with `Start`, and each worker inherits by fork.

use std::{io, os::fd::OwnedFd, sync::Arc};

use crate::{
    config::{LogLevel, LogTarget},
    sys::{Bell, Unshared},
    telemetry::{self, Sink},
    wire::{
        LastWords, LiveError, LiveView, LogDescriptors, PassedListener, Scoreboard,
        StartDescriptors, WorkerSettings,
    },
};

/// Settings and resources.
pub struct Inherited {
    /// The configuration in them is the one in force.
    pub settings: WorkerSettings,
    pub scoreboard: Scoreboard,
    /// Rung by a worker whose state in the scoreboard changed.
    pub bell: Bell,
    /// Hangs up when the arbiter dies.
    pub lifeline: OwnedFd,
    pub lobby: Lobby,
    /// Held by the arbiter, too.
    pub last_words: Arc<LastWords>,
    pub live: LiveView,
    /// Of what `live` shows.
    pub live_version: u64,
    /// `None` when the access log is off.
    pub access_log: Option<Sink>,
    /// Not shared with what the app forks while it is imported.
    pub listeners: Vec<(PassedListener, Unshared)>,
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
    /// The first of its generation, which logs what is true of all.
    pub is_first: bool,
    pub inherited: Inherited,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the arbiter sent {sent} descriptors where {wanted} belong: binary and engine are not of one version"
    )]
    Descriptors { sent: usize, wanted: usize },
    #[error("the scoreboard cannot be mapped")]
    Scoreboard(#[source] io::Error),
    #[error("what is in force cannot be taken over")]
    Live(#[source] LiveError),
}

impl Inherited {
    /// Gives each descriptor its meaning, and sets up the error log of this process.
    pub fn unpack(settings: WorkerSettings, descriptors: Vec<OwnedFd>) -> Result<Self, StartError> {
        let sent = descriptors.len();
        let wanted = StartDescriptors::<OwnedFd>::count_with(settings.listeners.len());
        let received = StartDescriptors::received(descriptors).filter(|_| sent == wanted);
        let (own, listeners) = received.ok_or(StartError::Descriptors { sent, wanted })?;
        telemetry::identify(telemetry::Role::Generation, settings.generation, 0);
        let last_words = Arc::new(LastWords::open(own.last_words));
        keep_last_words(Arc::clone(&last_words));
        let scoreboard = Scoreboard::open(own.scoreboard).map_err(StartError::Scoreboard)?;
        telemetry::count_in(scoreboard.another().map_err(StartError::Scoreboard)?);
        let live = LiveView::open(own.live_page, own.waiting_logs);
        let mut inherited = Self {
            scoreboard,
            bell: Bell::open(own.bell),
            lifeline: own.lifeline,
            lobby: Lobby {
                sender: own.lobby_sender,
                receiver: own.lobby_receiver,
            },
            last_words,
            live: live.map_err(|error| StartError::Live(error.into()))?,
            live_version: 0,
            access_log: None,
            listeners: (settings.listeners.iter().cloned())
                .zip(listeners.into_iter().map(Unshared::new))
                .collect(),
            settings,
        };
        inherited.try_to_take_live().map_err(StartError::Live)?;
        Ok(inherited)
    }

    /// Takes what the arbiter posted since the last time, so that workers to come begin with what is in force. A worker
    /// does it once more when it begins.
    pub fn take_live(&mut self) {
        if let Err(error) = self.try_to_take_live() {
            let generation = self.settings.generation;
            crate::error!("generation={generation} cannot take what was changed: {error}");
        }
    }

    fn try_to_take_live(&mut self) -> Result<(), LiveError> {
        let Some(taken) = self.live.take()? else {
            return Ok(());
        };
        let config = Arc::make_mut(&mut self.settings.config);
        taken.config.put_into(config);
        telemetry::set_level(config.log.level);
        telemetry::set_format(config.log.error_format);
        self.live_version = taken.version;
        if let Some(logs) = taken.logs {
            self.take_logs(logs?)?;
        }
        Ok(())
    }

    fn take_logs(&mut self, logs: LogDescriptors) -> io::Result<()> {
        let log = &self.settings.config.log;
        telemetry::redirect(logs.error, log, None)?;
        let access_log = match &log.access {
            LogTarget::Off => None,
            target => Some(Sink::from_descriptor(logs.access, target, None)?),
        };
        self.access_log = access_log.map(|sink| sink.called(&log.identifier, log.syslog_facility));
        Ok(())
    }

    /// In the forked child: the same, with the worker's place.
    pub fn into_worker(mut self, worker: u64, slot: u32, is_first: bool) -> WorkerStart {
        self.take_live();
        WorkerStart {
            worker,
            slot,
            is_first,
            inherited: self,
        }
    }
}

/// What goes wrong until a worker is ready, which closes the tap, is also told to the arbiter.
fn keep_last_words(words: Arc<LastWords>) {
    crate::telemetry::open_tap(Box::new(move |level, line, text_below| {
        if level >= LogLevel::Error {
            words.add(line, text_below);
        }
    }));
}
