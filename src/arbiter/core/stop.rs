//! The end: nothing is started any more, everything is brought down, and then the arbiter leaves.

use serde::{Deserialize, Serialize};

use super::{Action, Core, Moment, Phase, Process, Report, Role, Stop, Why};

/// With what force the server stops. INT and QUIT during a stop are the next one: a person does not want to wait. TERM is not,
/// for many say it twice without meaning more: a unit's `ExecStop=` and then systemd, a hook and then the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Force {
    Graceful,
    Quick,
    Kill,
}

impl Core {
    pub(super) fn stop(&mut self, now: Moment, stop: Stop, actions: &mut Vec<Action>) {
        let asked = match stop {
            Stop::Graceful => Force::Graceful,
            Stop::Quick => Force::Quick,
        };
        match self.phase {
            Phase::Running => {
                actions.push(Action::Report(Report::Stopping { stop }));
                self.begin_stop(now, asked, 0, actions);
            }
            Phase::Stopping { force, code } if stop == Stop::Quick => {
                let next = match force {
                    Force::Graceful => Force::Quick,
                    Force::Quick | Force::Kill => Force::Kill,
                };
                self.begin_stop(now, next, code, actions);
            }
            Phase::Stopping { .. } | Phase::Finished => {}
        }
    }

    pub(super) fn begin_stop(
        &mut self,
        now: Moment,
        force: Force,
        code: u8,
        actions: &mut Vec<Action>,
    ) {
        if self.phase == Phase::Running {
            actions.push(Action::AnnounceStop);
        }
        self.phase = Phase::Stopping { force, code };
        for generation in self.generations.values_mut() {
            generation.role = Role::Leaving;
            generation.probation = None;
        }
        for (&id, worker) in &mut self.workers {
            let graceful = self.generations[&worker.generation].rules.graceful;
            let signal = match force {
                Force::Graceful => worker
                    .drain(now, Why::Stopping, graceful)
                    .or_else(|| worker.discard(now, Why::Stopping, graceful)),
                Force::Quick => worker.quit(now, Why::Stopping),
                Force::Kill if worker.is_forked() => Some(worker.kill(Why::Stopping)),
                Force::Kill => worker.discard(now, Why::Stopping, graceful),
            };
            actions.extend(signal.map(|signal| Action::Signal { worker: id, signal }));
        }
        if force == Force::Kill {
            let ids: Vec<_> = self.generations.keys().copied().collect();
            for id in ids {
                self.kill_generation(id, actions);
            }
        }
    }

    pub(super) fn finish(&mut self, actions: &mut Vec<Action>) {
        let Phase::Stopping { code, .. } = self.phase else {
            return;
        };
        let nothing_left = self.workers.is_empty()
            && self
                .generations
                .values()
                .all(|generation| generation.process == Process::Gone);
        if nothing_left {
            self.phase = Phase::Finished;
            actions.push(Action::Finish(code));
        }
    }
}
