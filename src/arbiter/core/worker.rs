//! One worker: what it is doing, and which signal follows when its time is up.
//!
//! ```text
//! Forking ──> Booting ──> Ready ──> Retiring ──> Draining ──> Quitting ──> Killed
//!    │           │ │        ├────────────────────^ ^                         ^
//!    └> Unwanted ┼─┼────────┼──────────────────────┘                         │
//!                └─┼────────┴──────> Stuck ─────> Aborting ──────────────────┘
//!                  └──────────── not ready in time ──^
//! ```
//! Only being reaped ends a worker; until then it keeps its slot.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use super::{GenerationId, Moment, Retirement};

/// Signals to a worker, in order of force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerSignal {
    /// TERM: hand over what can be handed over, finish the rest, leave.
    Drain,
    /// QUIT: leave now.
    Quit,
    /// ABRT: write the Python stacks of all threads and die.
    Abort,
    Kill,
}

/// Why the arbiter ends a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// By a worker of a newer generation.
    Replaced,
    /// By a successor, after its time.
    Retired(Retirement),
    /// Fewer workers are wanted.
    Scaled,
    /// Its generation was a candidate that failed or was superseded.
    Undone,
    /// Not ready within `timeouts.boot`.
    NotReady,
    /// No progress for `timeouts.worker`.
    Stuck,
    /// The server stops.
    Stopping,
    /// Not the arbiter: somebody else's signal.
    Outside,
}

/// Where a worker is between the order to fork it and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The generation was told to fork it.
    Forking {
        deadline: Moment,
    },
    /// As `Forking`, but it is to be killed the moment it exists.
    Unwanted {
        why: Why,
        deadline: Moment,
    },
    Booting {
        deadline: Moment,
    },
    Ready {
        since: Moment,
        /// It asked to be replaced and waits for its turn.
        wants: Option<Retirement>,
    },
    /// Serves until its successor is ready.
    Retiring {
        since: Moment,
        why: Retirement,
    },
    /// TERM sent.
    Draining {
        why: Why,
        since: Moment,
        quit_at: Moment,
    },
    /// QUIT sent.
    Quitting {
        why: Why,
        since: Moment,
        kill_at: Moment,
    },
    /// TERM sent to a worker without progress, so that it hands over what it can.
    Stuck {
        since: Moment,
        abort_at: Moment,
    },
    /// ABRT sent: where it hangs will be in the log.
    Aborting {
        why: Why,
        since: Moment,
        kill_at: Moment,
    },
    /// KILL sent. Only the reaper moves it on.
    Killed {
        why: Why,
    },
}

/// What the core knows of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub generation: GenerationId,
    pub slot: u32,
    /// When its fork was ordered.
    pub started: Moment,
    pub state: State,
}

/// How long a worker may take to obey QUIT, and a stuck one to write its stacks, before KILL.
pub const KILL_AFTER: Duration = Duration::from_secs(2);
/// How long a stuck worker has to hand its connections over before ABRT.
pub const ABORT_AFTER: Duration = Duration::from_millis(500);

impl Worker {
    /// Takes connections, or will.
    pub fn is_alive(&self) -> bool {
        matches!(
            self.state,
            State::Forking { .. } | State::Booting { .. } | State::Ready { .. }
        )
    }

    pub fn is_booting(&self) -> bool {
        matches!(self.state, State::Forking { .. } | State::Booting { .. })
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    pub fn is_killed(&self) -> bool {
        matches!(self.state, State::Killed { .. })
    }

    /// Takes connections.
    pub fn serves(&self) -> bool {
        matches!(self.state, State::Ready { .. } | State::Retiring { .. })
    }

    pub fn is_retiring(&self) -> bool {
        matches!(self.state, State::Retiring { .. })
    }

    /// Whether a process is known to exist, so that a signal can be sent.
    pub fn is_forked(&self) -> bool {
        !matches!(self.state, State::Forking { .. } | State::Unwanted { .. })
    }

    /// Why the arbiter is ending it, if it is.
    pub fn why(&self) -> Option<Why> {
        match self.state {
            State::Forking { .. }
            | State::Booting { .. }
            | State::Ready { .. }
            | State::Retiring { .. } => None,
            State::Unwanted { why, .. }
            | State::Draining { why, .. }
            | State::Quitting { why, .. }
            | State::Aborting { why, .. }
            | State::Killed { why } => Some(why),
            State::Stuck { .. } => Some(Why::Stuck),
        }
    }

    /// Whether it died before it proved that it can live.
    pub fn dies_young(&self, now: Moment) -> bool {
        match self.state {
            State::Forking { .. } | State::Booting { .. } => true,
            State::Ready { since, .. } | State::Retiring { since, .. } => {
                now.since(since) < super::backoff::YOUNG
            }
            State::Unwanted { .. }
            | State::Draining { .. }
            | State::Quitting { .. }
            | State::Stuck { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => false,
        }
    }

    /// When something has to be done if nothing else happens.
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Forking { deadline }
            | State::Unwanted { deadline, .. }
            | State::Booting { deadline } => Some(deadline),
            State::Draining { quit_at, .. } => Some(quit_at),
            State::Stuck { abort_at, .. } => Some(abort_at),
            State::Quitting { kill_at, .. } | State::Aborting { kill_at, .. } => Some(kill_at),
            State::Ready { .. } | State::Retiring { .. } | State::Killed { .. } => None,
        }
    }

    /// Ends a worker that serves; `None` for one that does not, or is being ended.
    pub fn drain(&mut self, now: Moment, why: Why, graceful: Duration) -> Option<WorkerSignal> {
        if !self.serves() {
            return None;
        }
        Some(self.begin_drain(now, why, graceful))
    }

    /// Ends a worker that is not known to serve, now or as soon as it exists. It is told to drain and not killed, for it
    /// may have become ready, and taken a connection, a moment ago; while it boots, that ends it at once.
    pub fn discard(&mut self, now: Moment, why: Why, graceful: Duration) -> Option<WorkerSignal> {
        match self.state {
            State::Forking { deadline } => {
                self.state = State::Unwanted { why, deadline };
                None
            }
            State::Booting { .. } => Some(self.begin_drain(now, why, graceful)),
            State::Unwanted { .. }
            | State::Ready { .. }
            | State::Retiring { .. }
            | State::Draining { .. }
            | State::Quitting { .. }
            | State::Stuck { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => None,
        }
    }

    /// It exists. One that became unwanted meanwhile is ended.
    pub fn on_forked(&mut self, now: Moment, graceful: Duration) -> Option<WorkerSignal> {
        match self.state {
            State::Forking { deadline } => {
                self.state = State::Booting { deadline };
                None
            }
            State::Unwanted { why, .. } => Some(self.begin_drain(now, why, graceful)),
            State::Booting { .. }
            | State::Ready { .. }
            | State::Retiring { .. }
            | State::Draining { .. }
            | State::Quitting { .. }
            | State::Stuck { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => None,
        }
    }

    fn begin_drain(&mut self, now: Moment, why: Why, graceful: Duration) -> WorkerSignal {
        self.state = State::Draining {
            why,
            since: now,
            quit_at: now + graceful,
        };
        WorkerSignal::Drain
    }

    /// Ends a worker at once, by the gentlest signal that does.
    pub fn quit(&mut self, now: Moment, why: Why) -> Option<WorkerSignal> {
        match self.state {
            State::Ready { .. } | State::Retiring { .. } | State::Draining { .. } => {
                self.state = State::Quitting {
                    why,
                    since: now,
                    kill_at: now + KILL_AFTER,
                };
                Some(WorkerSignal::Quit)
            }
            State::Forking { .. } => self.discard(now, why, Duration::ZERO),
            State::Booting { .. } => Some(self.kill(why)),
            State::Unwanted { .. }
            | State::Quitting { .. }
            | State::Stuck { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => None,
        }
    }

    pub fn kill(&mut self, why: Why) -> WorkerSignal {
        self.state = State::Killed { why };
        WorkerSignal::Kill
    }

    fn abort(&mut self, now: Moment, why: Why) -> WorkerSignal {
        self.state = State::Aborting {
            why,
            since: now,
            kill_at: now + KILL_AFTER,
        };
        WorkerSignal::Abort
    }

    /// The signal that follows when the time of the present one is up, and how long that was.
    pub fn enforce(&mut self, now: Moment) -> Option<(WorkerSignal, Why, Duration)> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.state {
            State::Booting { .. } => {
                let took = now.since(self.started);
                Some((self.abort(now, Why::NotReady), Why::NotReady, took))
            }
            State::Draining { why, since, .. } => self
                .quit(now, why)
                .map(|signal| (signal, why, now.since(since))),
            State::Quitting { why, since, .. } => Some((self.kill(why), why, now.since(since))),
            State::Stuck { since, .. } => {
                Some((self.abort(now, Why::Stuck), Why::Stuck, now.since(since)))
            }
            State::Aborting { why, since, .. } => Some((self.kill(why), why, now.since(since))),
            // The generation is at fault, see `Core::enforce_deadlines`.
            State::Forking { .. } | State::Unwanted { .. } => None,
            State::Ready { .. } | State::Retiring { .. } | State::Killed { .. } => None,
        }
    }
}
