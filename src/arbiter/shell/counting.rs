//! What the arbiter counts in the scoreboard, for the metrics.

use super::Shell;
use crate::{
    admin::Outcome,
    arbiter::{
        clock,
        core::{Exit, Report, Retirement, Why, WorkerReport},
    },
    config::Config,
    wire::{ReloadOutcome, WorkerEnd},
};

impl Shell {
    pub(super) fn count(&self, report: &Report) {
        if let Report::Worker {
            report: WorkerReport::Died { exit, why, .. },
            ..
        } = report
        {
            let end = worker_end(*exit, *why);
            self.shared.board.server().count_end(end);
        }
    }

    /// To be called before the shell waits.
    pub(super) fn count_reloads(&mut self) {
        for outcome in self.history.take_decided() {
            let outcome = match outcome {
                Outcome::Done => ReloadOutcome::Done,
                Outcome::Unchanged => ReloadOutcome::Unchanged,
                Outcome::Rejected => ReloadOutcome::Rejected,
                Outcome::Superseded => ReloadOutcome::Superseded,
                Outcome::RolledBack => ReloadOutcome::RolledBack,
                Outcome::Pending | Outcome::Cancelled => continue,
            };
            let server = self.shared.board.server();
            server.count_reload(outcome, clock::unix_us());
        }
    }

    /// This configuration is in force.
    pub(super) fn show_config(&self, config: &Config) {
        self.shared.board.server().set_config_hash(hash(config));
    }
}

fn worker_end(exit: Exit, why: Option<Why>) -> WorkerEnd {
    match (why, exit) {
        (Some(Why::Replaced), _) => WorkerEnd::Replaced,
        (Some(Why::Retired(Retirement::Requests)), _) => WorkerEnd::MaxRequests,
        (Some(Why::Retired(Retirement::Memory)), _) => WorkerEnd::Memory,
        (Some(Why::Scaled), _) => WorkerEnd::Scaled,
        (Some(Why::Undone), _) => WorkerEnd::Undone,
        (Some(Why::NotReady), _) => WorkerEnd::BootTimeout,
        (Some(Why::Stuck), _) => WorkerEnd::Stuck,
        (Some(Why::Stopping), _) => WorkerEnd::Stopping,
        (Some(Why::Outside), _) => WorkerEnd::Outside,
        (None, Exit::Signal(_)) => WorkerEnd::Signal,
        (None, Exit::Code(_) | Exit::Unknown) => WorkerEnd::Exit,
    }
}

/// FNV-1a over the settings.
fn hash(config: &Config) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    // Fails only for maps whose keys are no texts, and there are none.
    let text = serde_json::to_vec(&config.without_token()).unwrap_or_default();
    text.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_settings_have_another_hash() {
        let config = crate::arbiter::tests::config();
        let mut other = config.clone();
        assert_eq!(hash(&config), hash(&other));
        other.workers += 1;
        assert_ne!(hash(&config), hash(&other));
    }
}
