//! A worker opens once it is healthy: until then it watches no listener, and serves its own health check alone.

use std::os::fd::OwnedFd;

use super::{HEALTH, Reactor};
use crate::{
    config::HealthCheck,
    sys::{Watch, net::PeerAddress},
    worker::{health::Probe, peer::Introduction},
};

impl Reactor {
    /// From now on connections are taken.
    pub fn open(&mut self) {
        self.health = None;
        self.is_open = true;
        self.wake();
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Asks the app for its health, from the next cold work on; [`super::Calls::health`] will tell.
    pub fn check_health(&mut self, check: HealthCheck) {
        self.health = Some(Probe::new(check));
    }

    /// Does what the check is due to do.
    pub(super) fn attend_health(&mut self) {
        let now_ms = self.now_ms;
        let Some(probe) = &mut self.health else {
            return;
        };
        if now_ms < probe.due_ms() {
            return;
        }
        if probe.is_asking() {
            self.calls.health = probe.time_out(now_ms);
            return;
        }
        match probe.ask(now_ms) {
            Ok(socket) => self.admit_health(socket),
            Err(error) => self.calls.health = probe.fail(&error, now_ms),
        }
    }

    fn admit_health(&mut self, socket: OwnedFd) {
        if let Some(end) = self.health.as_ref().and_then(Probe::socket)
            && let Err(error) = self.epoll.add(end, HEALTH, Watch::Level)
        {
            let now_ms = self.now_ms;
            self.calls.health = self
                .health
                .as_mut()
                .and_then(|probe| probe.fail(&error, now_ms));
            return;
        }
        let peer = self.settings.peer(0, PeerAddress::Unix, Introduction::None);
        self.welcome(socket, peer, self.settings.header_ms);
    }

    pub(super) fn hear_health(&mut self) {
        let now_ms = self.now_ms;
        let Some(probe) = &mut self.health else {
            return;
        };
        self.calls.health = probe.hear(now_ms);
    }

    /// Milliseconds until the check is due to do something.
    pub(super) fn health_in_ms(&self) -> Option<u64> {
        let probe = self.health.as_ref()?;
        Some(probe.due_ms().saturating_sub(self.now_ms))
    }
}
