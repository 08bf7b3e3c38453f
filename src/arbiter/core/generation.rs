//! One generation: its part in the play and the state of its process. The two are apart because workers outlive the
//! process that forked them.

use serde::{Deserialize, Serialize};

use super::{Backoff, Counts, Moment, ReloadId, Rules, probation::Probation};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// Boots; replaces the serving one worker by worker. At most one.
    Candidate,
    /// Was committed. At most one.
    Serving,
    /// Replaced, and kept without workers until the serving one has passed its probation. At most one.
    Parked,
    /// Replaced, undone or superseded: ends with its last worker, and forks no more.
    Leaving,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Process {
    /// Exec'ed; cannot fork yet.
    Starting {
        deadline: Moment,
        /// What it said before it began to exit.
        failed: Option<String>,
    },
    /// Forks on demand.
    Prepared,
    /// Told to leave after its last child.
    Retired {
        /// Set once it has no workers left but killed ones.
        kill_at: Option<Moment>,
    },
    /// ABRT sent: where it hangs will be in the log.
    Aborted { kill_at: Moment },
    /// KILL sent.
    Killed,
    /// Reaped. Workers may live on.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    pub(super) role: Role,
    pub(super) process: Process,
    pub(super) reload: ReloadId,
    pub(super) rules: Rules,
    /// How many workers are wanted: `rules.workers` unless TTIN and TTOU changed it.
    pub(super) workers: u16,
    /// How many there were before an order for more that is not carried out yet.
    pub(super) scaled_from: Option<u16>,
    pub(super) started: Moment,
    pub(super) backoff: Backoff,
    pub(super) probation: Option<Probation>,
    /// Since when it comes back, of one that was replaced before.
    pub(super) returns_since: Option<Moment>,
    pub(super) counts: Counts,
}

impl Generation {
    /// When the roll began that brings or brought it to serve.
    pub(super) fn rolls_since(&self) -> Moment {
        self.returns_since.unwrap_or(self.started)
    }

    pub(super) fn can_fork(&self) -> bool {
        self.process == Process::Prepared
    }

    /// Takes over another configuration without a new process. A number of workers that TTIN and TTOU made stays
    /// unless the file changes it.
    pub(super) fn adopt(&mut self, reload: ReloadId, rules: Rules) {
        if rules.workers != self.rules.workers {
            self.workers = rules.workers;
            self.scaled_from = None;
        }
        self.reload = reload;
        self.rules = rules;
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.process {
            Process::Starting { deadline, .. } => Some(deadline),
            Process::Retired { kill_at } => kill_at,
            Process::Aborted { kill_at } => Some(kill_at),
            Process::Prepared | Process::Killed | Process::Gone => None,
        }
    }
}
