//! Live keys: what is posted for a generation and its workers to take, and whether they have.

use std::{fs::OpenOptions, os::fd::OwnedFd, sync::atomic::Ordering::SeqCst};

use super::Shell;
use crate::{
    arbiter::{
        core::{GenerationId, ReloadId, WorkerId},
        reading::{self, Reading},
    },
    config::{LiveConfig, LogTarget},
    error, info, warning,
    wire::{LIVE_SIGNAL, LivePage, LogDescriptors},
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
        let logs = match with_logs.then(|| open_logs(reading)).transpose() {
            Ok(logs) => logs,
            Err(reason) => {
                // It could be opened when the edit was checked.
                warning!("{reason}; the old one stays in use");
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
                reading::told(&problem)
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

    /// After log files were moved away (USR1). The arbiter opens them for all: workers may not be allowed to.
    pub(super) fn reopen_logs(&mut self) {
        crate::telemetry::reopen();
        if let Some(reading) = self.serving.and_then(|id| self.readings.get(&id)) {
            self.own_error_log(reading);
        }
        self.post_to_all(true);
        info!("logs reopened");
    }

    /// After something changed that concerns every generation.
    pub(super) fn post_to_all(&self, with_logs: bool) {
        for generation in self.processes.generations.keys() {
            self.post(*generation, with_logs);
        }
    }
}

/// What a new generation is given.
pub(super) fn page(reading: &Reading) -> Result<LivePage, String> {
    let logs = open_logs(reading)?;
    LivePage::create(&LiveConfig::of(&reading.config), &logs)
        .map_err(|problem| reading::told(&problem))
}

/// Access log and error log, or `/dev/null` for one that is off.
fn open_logs(reading: &Reading) -> Result<LogDescriptors, String> {
    let open = |key, target: &LogTarget| -> Result<OwnedFd, String> {
        let identity = reading.resources.identity.as_ref();
        let sink = reading::open_log(key, target, identity).map_err(|e| reading::told(&e))?;
        let descriptor = match sink {
            Some(sink) => sink.descriptor().try_clone_to_owned(),
            None => OpenOptions::new()
                .write(true)
                .open("/dev/null")
                .map(OwnedFd::from),
        };
        descriptor.map_err(|error| format!("`{key}`: {error}"))
    };
    let log = &reading.config.log;
    Ok(LogDescriptors {
        access: open("log.access", &log.access)?,
        error: open("log.error", &log.error)?,
    })
}
