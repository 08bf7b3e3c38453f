//! A worker as the arbiter sees it: its slot of the scoreboard, the signals it is sent, its lifeline, its logs. Both ways
//! to run a worker, with threads of its own ([`super::Crew`]) and inside an event loop ([`super::Hub`]), stand on it.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Instant,
};

use nix::sys::signal::Signal;

use super::{
    access,
    exclude::Excluded,
    health::Verdict,
    live::Live,
    reactor::{Calls, Reactor},
    request_id::RequestIds,
    slow::SlowRequests,
    wall_clock::WallClock,
};
use crate::{
    config::{Config, HealthCheck, Log},
    sys::{self, Bell, SignalBell},
    telemetry::{self, AccessLog},
    wire::{Count, EXIT_SICK, LiveView, Scoreboard, Slot, WorkerState},
};

/// What a quick stop leaves to requests in flight.
const QUIT_GRACE_NS: u64 = 500_000_000;

/// What a worker works with.
pub struct Equipment {
    pub board: Arc<Scoreboard>,
    pub slot: usize,
    pub bell: Bell,
    pub signals: SignalBell,
    /// Hangs up when the arbiter dies.
    pub lifeline: OwnedFd,
    pub access_log: AccessLog,
    pub live: LiveView,
    /// What was taken from `live` so far, and in which version.
    pub config: Arc<Config>,
    pub live_version: u64,
}

/// What the worker has been told to do, beside draining, which the reactor does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerOrders {
    /// Nothing is held any more: leave.
    pub leave: bool,
    /// Leave within so many nanoseconds, whatever is held.
    pub leave_within_ns: Option<u64>,
}

impl WorkerOrders {
    /// Stop now, but let what is nearly done be done.
    pub const QUIT: Self = Self {
        leave: true,
        leave_within_ns: Some(QUIT_GRACE_NS),
    };
}

pub struct Station {
    board: Arc<Scoreboard>,
    slot: usize,
    bell: Bell,
    signals: SignalBell,
    lifeline: OwnedFd,
    pub access_log: AccessLog,
    pub(super) wall_clock: WallClock,
    pub live: Live,
    /// Paths that the access log leaves out.
    pub(super) excluded: Excluded,
    pub request_ids: RequestIds,
    pub slow: SlowRequests,
    /// `reload.health_check`
    health_check: Option<HealthCheck>,
    /// Responses may not say that the connection goes on.
    closing: AtomicBool,
}

impl Station {
    /// Has the reactor watch what the arbiter may say.
    pub fn new(equipment: Equipment, reactor: &Reactor) -> std::io::Result<Self> {
        reactor.watch_signals(equipment.signals.as_fd())?;
        reactor.watch_lifeline(equipment.lifeline.as_fd())?;
        let slot = &equipment.board.slots()[equipment.slot];
        slot.live_version.store(equipment.live_version, SeqCst);
        let log = equipment.config.log.clone();
        let station = Self {
            board: equipment.board,
            slot: equipment.slot,
            bell: equipment.bell,
            signals: equipment.signals,
            lifeline: equipment.lifeline,
            access_log: equipment.access_log,
            wall_clock: WallClock::default(),
            health_check: equipment.config.reload.health_check.clone(),
            excluded: Excluded::default(),
            request_ids: RequestIds::default(),
            slow: SlowRequests::default(),
            live: Live::new(equipment.live, equipment.config),
            closing: AtomicBool::new(!reactor.may_persist()),
        };
        station.go_by_log(&log);
        Ok(station)
    }

    /// What is logged of requests, and how they come by their ids.
    fn go_by_log(&self, log: &Log) {
        let ids_are_shown = self.access_log.shows_request_ids();
        self.request_ids.go_by(log, ids_are_shown);
        self.slow.go_by(log);
        if let Err(error) = self.excluded.go_by(log) {
            crate::error!("`log.exclude`: {error}; all goes on as before");
        }
    }

    pub fn slot(&self) -> &Slot {
        &self.board.slots()[self.slot]
    }

    /// The app is there: this worker serves, once it has answered its health check.
    pub fn announce(&self, reactor: &mut Reactor) {
        match &self.health_check {
            Some(check) => reactor.check_health(check.clone()),
            None => self.open(reactor),
        }
    }

    /// Takes connections, and tells the arbiter so.
    fn open(&self, reactor: &mut Reactor) {
        reactor.open();
        // What goes wrong from now on fails no reload.
        crate::telemetry::close_tap();
        self.slot().set_state(WorkerState::Ready);
        self.bell.ring();
    }

    /// A worker that is not well never takes a connection.
    fn on_health(&self, verdict: Verdict, reactor: &mut Reactor) {
        let slot = self.slot();
        match verdict {
            Verdict::Healthy => {
                // What was served so far was for ourselves.
                slot.forget_counts();
                self.open(reactor);
            }
            Verdict::Sick(reason) => {
                crate::error!(
                    "generation={} worker={} health check failed: {reason}",
                    slot.generation(),
                    slot.worker()
                );
                self.finish_logs();
                sys::exit_now(EXIT_SICK);
            }
        }
    }

    /// Whether a response may say that the connection goes on.
    pub fn may_persist(&self) -> bool {
        !self.closing.load(Relaxed)
    }

    /// Counts a request that was answered.
    pub fn count(&self, status: u16) {
        let slot = self.slot();
        let served = slot.requests.fetch_add(1, Relaxed) + 1;
        if status >= 500 {
            slot.errors.fetch_add(1, Relaxed);
        }
        if self.live.is_served(served) && slot.wants_retirement.swap(1, SeqCst) == 0 {
            self.bell.ring();
        }
    }

    /// A WebSocket is open. With the interpreter held and the reactor locked.
    pub(super) fn count_opened(&self) {
        let slot = self.slot();
        slot.counters.add(Count::WebSockets, 1);
        let open = &slot.gauges.websockets;
        open.store(open.load(Relaxed) + 1, Relaxed);
    }

    /// One is over. With the interpreter held.
    pub(super) fn count_closed(&self) {
        let open = &self.slot().gauges.websockets;
        open.store(open.load(Relaxed) - 1, Relaxed);
    }

    /// Acts on what the reactor saw beside connections; returns what is left to do.
    pub fn attend(&self, reactor: &mut Reactor) -> WorkerOrders {
        if self.live.is_new() {
            self.take_live(reactor);
        }
        let mut orders = WorkerOrders::default();
        let Calls {
            signals,
            arbiter_is_gone,
            health,
            is_broken,
            wakeups: _,
        } = std::mem::take(&mut reactor.calls);
        if signals {
            for signal in self.signals.take() {
                match signal {
                    Signal::SIGTERM if !reactor.is_open() => orders = WorkerOrders::QUIT,
                    Signal::SIGTERM => self.drain_unasked(reactor),
                    Signal::SIGQUIT | Signal::SIGINT => {
                        // Should it not have come from the arbiter, that is how the arbiter learns of it.
                        self.show_leaving();
                        orders = WorkerOrders::QUIT;
                    }
                    Signal::SIGUSR1 => {
                        telemetry::reopen();
                        self.access_log.reopen(Instant::now());
                    }
                    _ => {}
                }
            }
        }
        if reactor.is_draining() && !reactor.is_closing() && self.board.is_closing() {
            // It was told to leave before the server was.
            self.drain(reactor, true);
        }
        if arbiter_is_gone {
            reactor.forget_lifeline(self.lifeline.as_fd());
            crate::warning!(
                "worker={} the arbiter is gone; draining",
                self.slot().worker()
            );
            if reactor.is_open() {
                let grace_ns = self.live.graceful().as_nanos();
                orders.leave_within_ns = Some(u64::try_from(grace_ns).unwrap_or(u64::MAX));
                self.drain(reactor, true);
            } else {
                orders = WorkerOrders::QUIT;
            }
        }
        if is_broken {
            orders = WorkerOrders::QUIT;
        }
        if let Some(verdict) = health {
            self.on_health(verdict, reactor);
        }
        for refused in reactor.refused.drain(..) {
            access::log_refused(self, &refused);
        }
        orders.leave |= reactor.is_drained();
        orders
    }

    /// Goes by what the arbiter posted, and says so.
    fn take_live(&self, reactor: &mut Reactor) {
        let Some((version, settings)) = self.live.take(&self.access_log) else {
            return;
        };
        reactor.go_by(settings);
        self.go_by_log(&self.live.log());
        self.closing.store(!reactor.may_persist(), SeqCst);
        let slot = self.slot();
        crate::debug!(
            "generation={} worker={} live={version} taken",
            slot.generation(),
            slot.worker()
        );
        slot.live_version.store(version, SeqCst);
        self.bell.ring();
    }

    /// For whatever reason: whether the server ends, too, the scoreboard tells.
    pub fn drain_unasked(&self, reactor: &mut Reactor) {
        self.drain(reactor, self.board.is_closing());
    }

    fn drain(&self, reactor: &mut Reactor, closing: bool) {
        self.show_leaving();
        reactor.start_draining(closing);
        self.closing.store(!reactor.may_persist(), SeqCst);
    }

    fn show_leaving(&self) {
        self.slot().set_state(WorkerState::Draining);
        self.bell.ring();
    }

    /// Writes log lines that are due; shortens a wait (-1: for ever) to when the next ones are.
    pub fn with_logs(&self, timeout_ms: i32) -> i32 {
        let log = &self.access_log;
        let Some(mut due) = log.due() else {
            return timeout_ms;
        };
        let now = Instant::now();
        if log.should_flush(now) {
            log.flush(now);
            match log.due() {
                Some(rest_due) => due = rest_due,
                None => return timeout_ms,
            }
        }
        let until_due = due.saturating_duration_since(now).as_millis() as i32 + 1;
        if timeout_ms < 0 {
            until_due
        } else {
            timeout_ms.min(until_due)
        }
    }

    /// The last thing a worker does: what is in the logs' buffers goes out.
    pub fn finish_logs(&self) {
        self.access_log.finish(Instant::now());
    }
}
