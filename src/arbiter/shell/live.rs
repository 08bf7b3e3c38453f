//! Live keys: what is posted for a generation and its workers to take, and whether they have.

use std::{fs::OpenOptions, io, os::fd::OwnedFd, sync::atomic::Ordering::SeqCst};

use super::Shell;
use crate::{
    arbiter::{
        causes::with_causes,
        core::{GenerationId, ReloadId, WorkerId},
        reading::{self, Reading},
    },
    config::{LiveConfig, Log, LogTarget, SyslogAddress},
    error,
    telemetry::{self, Sink},
    warning,
    wire::{LIVE_SIGNAL, LiveError, LivePage, LogDescriptors},
};

impl Shell {
    /// The generation goes on under another reading, and takes what differs. One that does not run yet will start with
    /// it.
    pub(super) fn go_by(&mut self, generation: GenerationId, reload: ReloadId) {
        let Some(handle) = self.processes.generations.get_mut(&generation) else {
            return;
        };
        let before = std::mem::replace(&mut handle.reload, reload);
        let of = |id| Some(LiveConfig::of(&self.readings.get(&id)?.config));
        if let (Some(before), Some(now)) = (of(before), of(reload))
            && before != now
        {
            let place = |config: &LiveConfig| {
                let log = config.log.clone();
                (log.access, log.error, log.identifier, log.syslog_facility)
            };
            let logs_moved = place(&before) != place(&now);
            self.post(generation, logs_moved);
        }
    }

    /// Posts the live part of the reading that the generation goes by, with the log level that somebody asked for;
    /// `with_logs`: opened anew.
    fn post(&self, generation: GenerationId, with_logs: bool) {
        let Some(handle) = self.processes.generations.get(&generation) else {
            return;
        };
        let reading = self.readings.get(&handle.reload);
        let Some((page, reading)) = handle.live.as_ref().zip(reading) else {
            return;
        };
        let logs = match with_logs.then(|| self.open_logs(reading)).transpose() {
            Ok(logs) => logs,
            Err(problem) => {
                warning!("the logs cannot be opened: {problem}; the old ones stay in use");
                None
            }
        };
        let mut config = LiveConfig::of(&reading.config);
        config.log.level = self.orders.log_level.unwrap_or(config.log.level);
        match page.post(&config, logs.as_ref()) {
            Ok(()) => self.processes.tell_family(generation, LIVE_SIGNAL),
            Err(problem) => error!(
                "generation={} cannot be told what changed: {}; it goes on as before",
                generation.0,
                with_causes(&problem)
            ),
        }
    }

    /// Whether all workers that serve go by what was posted last.
    pub(super) fn live_is_taken(&self) -> bool {
        let serving = self.core.serving();
        let mut workers = self.core.workers();
        workers.all(|(id, worker)| {
            Some(worker.generation) != serving || !worker.serves() || self.is_current(id)
        })
    }

    /// A worker that came up while something was posted may have missed the ring.
    pub(super) fn catch_up(&self, id: WorkerId) {
        if !self.is_current(id) {
            self.processes.tell_worker(id, LIVE_SIGNAL);
        }
    }

    fn is_current(&self, id: WorkerId) -> bool {
        let version = || {
            let handle = self.processes.workers.get(&id)?;
            let slot = self.shared.board.slots().get(handle.slot as usize)?;
            let generation = self.processes.generations.get(&handle.generation)?;
            let page = generation.live.as_ref()?;
            Some((slot.live_version.load(SeqCst), page.version()))
        };
        version().is_none_or(|(theirs, last)| theirs == last)
    }

    /// After log files were moved away. The arbiter opens them for all: workers may not be allowed to.
    pub(super) fn reopen_logs(&self) {
        telemetry::reopen();
        self.post_to_all(true);
        // The address of a log server was looked up anew for those who serve, and is the arbiter's, too.
        if let Some(reading) = self.serving.and_then(|id| self.readings.get(&id))
            && let LogTarget::Syslog(SyslogAddress::Udp { .. }) = reading.config.log.error
        {
            self.share_error_log(reading);
        }
    }

    /// After something changed that concerns every generation.
    pub(super) fn post_to_all(&self, with_logs: bool) {
        for generation in self.processes.generations.keys() {
            self.post(*generation, with_logs);
        }
    }

    /// What a new generation is given.
    pub(super) fn live_page(&self, reading: &Reading) -> Result<LivePage, LiveError> {
        LivePage::create(&LiveConfig::of(&reading.config), &self.open_logs(reading)?)
    }

    /// Access log and error log, each by itself.
    fn open_logs(&self, reading: &Reading) -> io::Result<LogDescriptors> {
        Ok(LogDescriptors {
            access: self.open_log(reading, &ACCESS)?,
            error: self.open_log(reading, &ERROR)?,
        })
    }

    /// One that cannot be opened now could be when the configuration was checked, and does not keep the server from going on.
    fn open_log(&self, reading: &Reading, kind: &Kind) -> io::Result<OwnedFd> {
        let target = (kind.target)(&reading.config.log);
        let identity = reading.resources.identity.as_ref();
        let problem = match reading::open_log(kind.key, target, identity) {
            Ok(Some(sink)) => return sink.descriptor().try_clone_to_owned(),
            Ok(None) => return Ok(OpenOptions::new().write(true).open("/dev/null")?.into()),
            Err(problem) => with_causes(&problem),
        };
        if let Some(descriptor) = self.log_in_use(kind, target) {
            warning!("{problem}; the old one stays in use");
            return Ok(descriptor);
        }
        let meanwhile = match target {
            LogTarget::Syslog(_) | LogTarget::Journald(_) => "lines that it does not take are lost",
            _ => "lines go to the standard error output",
        };
        warning!("{problem}; {meanwhile}");
        let sink = Sink::stand_in(target, reading::owner(identity))?;
        sink.descriptor().try_clone_to_owned()
    }

    /// As it was opened last for a generation with the same target.
    fn log_in_use(&self, kind: &Kind, target: &LogTarget) -> Option<OwnedFd> {
        let mut generations = self.processes.generations.values();
        generations.find_map(|handle| {
            let reading = self.readings.get(&handle.reload)?;
            let page = handle.live.as_ref()?;
            let is_same = (kind.target)(&reading.config.log) == target;
            is_same.then(|| page.logs().ok().map(kind.of))?
        })
    }

    /// The error log of the generation that serves becomes the arbiter's.
    pub(super) fn share_error_log(&self, reading: &Reading) {
        let log = &reading.config.log;
        let owner = reading::owner(reading.resources.identity.as_ref());
        if let Some(descriptor) = self.log_in_use(&ERROR, &log.error)
            && let Err(problem) = telemetry::redirect(descriptor, log, owner)
        {
            warning!("`log.error` cannot be taken over: {problem}");
        }
    }
}

/// One of the two logs.
struct Kind {
    key: &'static str,
    target: fn(&Log) -> &LogTarget,
    of: fn(LogDescriptors) -> OwnedFd,
}

const ACCESS: Kind = Kind {
    key: "log.access",
    target: |log| &log.access,
    of: |logs| logs.access,
};

const ERROR: Kind = Kind {
    key: "log.error",
    target: |log| &log.error,
    of: |logs| logs.error,
};
