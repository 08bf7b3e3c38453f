//! What a worker goes by and may change while it lives: taken from the live page of its generation, between requests.
//!
//! The reactor's part replaces [`super::Settings`] as a whole. What other threads ask for without the reactor's lock is
//! kept here in atomics, one value each: none of them means anything in combination with another.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    open_files,
    settings::{Settings, requests_max},
};
use crate::{
    config::{Config, Limits, Log, LogTarget},
    telemetry::{self, AccessFormat, AccessLog, Sink},
    wire::{LiveView, Taken},
};

pub struct Live {
    view: LiveView,
    /// As it is in force. Locked to change it only.
    config: Mutex<Arc<Config>>,
    requests_max: AtomicU64,
    request_timeout_ns: AtomicU64,
    graceful_ns: AtomicU64,
    body_ms: AtomicU64,
    write_ms: AtomicU64,
}

impl Live {
    pub(super) fn new(view: LiveView, config: Arc<Config>) -> Self {
        let live = Self {
            view,
            requests_max: AtomicU64::new(requests_max(&config.limits)),
            request_timeout_ns: AtomicU64::default(),
            graceful_ns: AtomicU64::default(),
            body_ms: AtomicU64::default(),
            write_ms: AtomicU64::default(),
            config: Mutex::new(Arc::clone(&config)),
        };
        live.set_timeouts(&config);
        live
    }

    /// Whether there is something to take.
    pub(super) fn is_new(&self) -> bool {
        self.view.is_new()
    }

    /// Takes what was posted: the version, and what the reactor goes by from now on. With the reactor locked, so by one
    /// thread at a time.
    pub(super) fn take(&self, access_log: &AccessLog) -> Option<(u64, Settings)> {
        let taken = match self.view.take() {
            Ok(taken) => taken?,
            Err(error) => {
                crate::error!(
                    "a change of live keys is not understood: {error}; all goes on as before"
                );
                return None;
            }
        };
        let mut kept = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&kept);
        let config = Arc::make_mut(&mut kept);
        let Taken {
            version,
            config: changed,
            logs,
        } = taken;
        changed.put_into(config);
        self.set_timeouts(config);
        self.set_requests_max(&before.limits, &config.limits);
        if config.limits.connections != before.limits.connections {
            open_files::make_room(&config.limits);
        }
        telemetry::set_level(config.log.level);
        telemetry::set_format(config.log.error_format);
        if config.log.format != before.log.format {
            access_log.set_format(AccessFormat::of(&config.log.format));
        }
        match logs {
            Some(Ok(logs)) => {
                let moved = telemetry::redirect(logs.error, &config.log, None).and_then(|()| {
                    let log = &config.log;
                    let sink = match &log.access {
                        LogTarget::Off => None,
                        target => Some(Sink::from_descriptor(logs.access, target, None)?),
                    };
                    let sink = sink.map(|sink| sink.called(&log.identifier, log.syslog_facility));
                    access_log.redirect(sink, Instant::now());
                    Ok(())
                });
                moved.unwrap_or_else(|error| complain_of_logs(&error));
            }
            Some(Err(error)) => complain_of_logs(&error),
            None => {}
        }
        Some((version, Settings::of(config)))
    }

    fn set_timeouts(&self, config: &Config) {
        let timeouts = &config.timeouts;
        for (value, timeout) in [
            (&self.request_timeout_ns, timeouts.request),
            (&self.graceful_ns, timeouts.graceful),
        ] {
            value.store(
                u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
                Relaxed,
            );
        }
        for (value, timeout) in [
            (&self.body_ms, timeouts.body),
            (&self.write_ms, timeouts.write),
        ] {
            value.store(
                u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                Relaxed,
            );
        }
    }

    /// Drawn anew only where it changed.
    fn set_requests_max(&self, before: &Limits, now: &Limits) {
        let drawn_from = |limits: &Limits| (limits.max_requests, limits.max_requests_jitter);
        if drawn_from(before) != drawn_from(now) {
            self.requests_max.store(requests_max(now), Relaxed);
        }
    }

    /// Whether a worker that served so many requests has served its time.
    pub(super) fn is_served(&self, requests: u64) -> bool {
        let most = self.requests_max.load(Relaxed);
        most != 0 && requests >= most
    }

    /// `[log]`
    pub(super) fn log(&self) -> Log {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.log.clone()
    }

    /// `timeouts.request`; zero: no limit.
    pub fn request_timeout_ns(&self) -> u64 {
        self.request_timeout_ns.load(Relaxed)
    }

    /// `timeouts.graceful`
    pub fn graceful(&self) -> Duration {
        Duration::from_nanos(self.graceful_ns.load(Relaxed))
    }

    /// `timeouts.body`
    pub fn body_ms(&self) -> u64 {
        self.body_ms.load(Relaxed)
    }

    /// `timeouts.write`
    pub fn write_ms(&self) -> u64 {
        self.write_ms.load(Relaxed)
    }
}

fn complain_of_logs(error: &std::io::Error) {
    crate::error!("the logs cannot be taken over: {error}; the old ones stay in use");
}
