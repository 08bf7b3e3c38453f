//! What the arbiter decides. One function takes facts ([`Event`]) and the time, and gives orders ([`Action`]); the shell
//! around it obeys. It knows no clock, descriptor, process or log, so every race can be replayed as text.
//!
//! The theory of operation: at any moment one generation is the *target*, the candidate if there is one, else the
//! serving one. After every event the fleet is moved towards it: missing workers are forked, and a worker of another
//! generation is drained only when one of the target's is ready in its place. To undo a candidate is to make the
//! serving generation the target again, and so needs no code of its own.
//!
//! Invariants, checked after each step, are in `invariants.rs`.

#![forbid(unsafe_code)]

mod backoff;
mod event;
mod fleet;
mod generation;
mod invariants;
mod moment;
mod probation;
mod roll;
mod scale;
mod slots;
mod stop;
#[cfg(test)]
mod tests;
mod worker;

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

pub use backoff::{Backoff, YOUNG};
pub use event::{
    Action, Change, Event, Exit, Failure, GenerationId, ReloadId, Report, Retirement, Rules, Stop,
    WorkerId, WorkerReport,
};
pub use moment::Moment;
pub use probation::{Counts, Misconduct};
pub use worker::{ABORT_AFTER, KILL_AFTER, Order, State, Why, Worker};

use generation::{Generation, Process, Role};
use slots::Slots;

/// All processes of one arbiter, and what becomes of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Core {
    phase: Phase,
    generations: BTreeMap<GenerationId, Generation>,
    workers: BTreeMap<WorkerId, Worker>,
    slots: Slots,
    generations_started: u64,
    workers_started: u64,
    /// Delays the next generation when the serving one's process died young.
    revival: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Running,
    /// Nothing is started any more.
    Stopping {
        force: stop::Force,
        code: u8,
    },
    Finished,
}

impl Core {
    /// A core that keeps at most `slots_max` workers of all generations together.
    pub fn new(slots_max: usize) -> Self {
        Self {
            phase: Phase::Running,
            generations: BTreeMap::new(),
            workers: BTreeMap::new(),
            slots: Slots::new(slots_max),
            generations_started: 0,
            workers_started: 0,
            revival: Backoff::default(),
        }
    }

    /// Goes on where the core of the process before left off: what was serialized, read again.
    ///
    /// # Panics
    /// When it is no state that a core can be in.
    pub fn resume(self) -> Self {
        self.assert_invariants();
        self
    }

    /// Whether nothing is under way that another build of this program would have to decide about.
    pub fn may_be_handed_over(&self) -> bool {
        self.phase == Phase::Running
            && self.serving().is_some()
            && self.candidate().is_none()
            && !self.is_on_probation()
    }

    /// Starts the first generation.
    pub fn boot(&mut self, now: Moment, rules: Rules, actions: &mut Vec<Action>) {
        assert!(self.generations.is_empty(), "a server boots once");
        self.start_candidate(now, ReloadId(0), rules, rules.workers, actions);
        self.assert_invariants();
    }

    /// Takes one fact in and gives the orders that follow. Facts about what is already gone are ignored: they were
    /// under way when it went.
    pub fn step(&mut self, now: Moment, event: Event, actions: &mut Vec<Action>) {
        self.take(now, event, actions);
        self.enforce_deadlines(now, actions);
        match self.phase {
            Phase::Running => {
                self.judge(now, actions);
                self.revive(now, actions);
                self.drain_replaced(now, actions);
                self.commit(now, actions);
                self.settle_scale();
                self.retire_in_turn(now, actions);
                self.drop_surplus(now, actions);
                self.fork_missing(now, actions);
            }
            Phase::Stopping { .. } | Phase::Finished => {}
        }
        self.dismiss_generations(now, actions);
        self.finish(actions);
        self.assert_invariants();
    }

    fn take(&mut self, now: Moment, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Edited {
                reload,
                rules,
                from_serving,
                from_candidate,
            } => self.edit(now, reload, rules, from_serving, from_candidate, actions),
            Event::Prepared(generation) => self.prepared(generation),
            Event::Failed { generation, reason } => self.failed(now, generation, reason),
            Event::GenerationExited { generation, exit } => {
                self.generation_exited(now, generation, exit, actions);
            }
            Event::HookEnded(generation) => self.hook_ended(now, generation),
            Event::Forked(worker) => self.forked(now, worker, actions),
            Event::NotForked { worker, reason } => self.not_forked(now, worker, reason, actions),
            Event::Ready(worker) => self.ready(now, worker, actions),
            Event::Leaves(worker) => self.leaves(now, worker),
            Event::Counted { generation, counts } => self.counted(generation, counts),
            Event::WantsRetirement { worker, why } => self.wants_retirement(worker, why),
            Event::Stalled { worker, since } => self.stalled(now, worker, since, actions),
            Event::WorkerExited { worker, exit } => self.worker_exited(now, worker, exit, actions),
            Event::OneMore => self.scale(|workers| workers.saturating_add(1), actions),
            Event::OneFewer => self.scale(|workers| workers.saturating_sub(1), actions),
            Event::Scale(workers) => self.scale(|_| workers, actions),
            Event::Stop(stop) => self.stop(now, stop, actions),
        }
    }

    /// When `step` has to be called with [`Event::Tick`] if nothing else happens before.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        let workers = self
            .workers
            .values()
            .filter(|worker| worker.is_forked() || self.may_still_fork(worker.generation))
            .filter_map(Worker::deadline);
        let generations = self.generations.values().filter_map(Generation::deadline);
        let delays = self
            .generations
            .values()
            .map(|generation| &generation.backoff)
            .chain([&self.revival])
            .filter_map(|backoff| backoff.waits_until(now));
        let delays = delays.filter(|_| self.phase == Phase::Running);
        let probation = self
            .probation_deadline()
            .filter(|_| self.phase == Phase::Running);
        workers
            .chain(generations)
            .chain(delays)
            .chain(probation)
            .min()
    }

    /// False once the generation was killed: then its end settles what became of its forks.
    fn may_still_fork(&self, id: GenerationId) -> bool {
        !matches!(
            self.generations[&id].process,
            Process::Aborted { .. } | Process::Killed | Process::Gone
        )
    }

    /// Carries out what is due: kills what did not boot, and goes on to the next order where one was not obeyed.
    fn enforce_deadlines(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let mut not_ready = Vec::new();
        let mut hung = Vec::new();
        for (&id, worker) in &mut self.workers {
            let generation = worker.generation;
            if let Some((order, why, after)) = worker.enforce(now) {
                actions.push(Action::Report(Report::Worker {
                    generation,
                    worker: id,
                    report: WorkerReport::Overdue { order, why, after },
                }));
                actions.push(Action::Signal { worker: id, order });
                if (order, why) == (Order::Abort, Why::NotReady) {
                    not_ready.push((id, generation, worker.started, after));
                }
            } else if !worker.is_forked() && worker.deadline().is_some_and(|at| at <= now) {
                hung.push(generation);
            }
        }
        for (worker, generation, started, after) in not_ready {
            let failure = Failure::WorkerNotReady { worker, after };
            self.accuse(generation, Misconduct::BootFailed(failure.clone()));
            self.boot_failed(now, generation, started, failure, actions);
        }
        for generation in hung {
            self.kill_generation(generation, actions);
        }
        self.enforce_generation_deadlines(now, actions);
    }

    fn enforce_generation_deadlines(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let due: Vec<GenerationId> = self
            .generations
            .iter()
            .filter(|(_, generation)| generation.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let after = now.since(self.generations[&id].started);
            match self.generations[&id].process {
                Process::Starting { .. } => {
                    self.abort_generation(now, id, actions);
                    if self.candidate() == Some(id) {
                        self.undo(now, id, Failure::NotPrepared { after }, actions);
                    }
                }
                Process::Aborted { .. } => self.kill_generation(id, actions),
                Process::Prepared | Process::Retired { .. } | Process::Killed | Process::Gone => {
                    self.kill_generation(id, actions);
                    actions.push(Action::Report(Report::GenerationOverdue(id)));
                }
            }
        }
    }

    /// Its stacks tell where it hangs.
    fn abort_generation(&mut self, now: Moment, id: GenerationId, actions: &mut Vec<Action>) {
        if let Some(generation) = self.generations.get_mut(&id) {
            let kill_at = now + worker::KILL_AFTER;
            generation.process = Process::Aborted { kill_at };
            actions.push(Action::AbortGeneration(id));
            self.forsake_parked(id);
        }
    }

    fn kill_generation(&mut self, id: GenerationId, actions: &mut Vec<Action>) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        match generation.process {
            Process::Starting { .. }
            | Process::Prepared
            | Process::Retired { .. }
            | Process::Aborted { .. } => {
                generation.process = Process::Killed;
                actions.push(Action::KillGeneration(id));
                self.forsake_parked(id);
            }
            Process::Killed | Process::Gone => {}
        }
    }

    /// Tells generations that leave to do so, and forgets those of which nothing is left.
    fn dismiss_generations(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let ids: Vec<GenerationId> = self.generations.keys().copied().collect();
        for id in ids {
            let mut left = (self.workers.values()).filter(|worker| worker.generation == id);
            let empty = left.clone().next().is_none();
            // Those that were killed it has but to reap, which one that is itself stopped does not.
            let may_leave = left.all(Worker::is_killed);
            let Some(generation) = self.generations.get_mut(&id) else {
                continue;
            };
            if generation.role != Role::Leaving {
                continue;
            }
            match &mut generation.process {
                Process::Starting { .. } => self.kill_generation(id, actions),
                Process::Prepared => {
                    generation.process = Process::Retired {
                        kill_at: may_leave.then(|| now + GENERATION_LEAVES_WITHIN),
                    };
                    actions.push(Action::Retire(id));
                }
                Process::Retired { kill_at } => {
                    if may_leave && kill_at.is_none() {
                        *kill_at = Some(now + GENERATION_LEAVES_WITHIN);
                    }
                }
                Process::Aborted { .. } | Process::Killed => {}
                Process::Gone => {
                    if empty {
                        self.generations.remove(&id);
                        actions.push(Action::Forget(id));
                    }
                }
            }
        }
    }

    /// A generation that leaves gets on: there may be a hook for each of its workers, and a few run at once.
    fn hook_ended(&mut self, now: Moment, id: GenerationId) {
        if let Some(generation) = self.generations.get_mut(&id)
            && let Process::Retired { kill_at: Some(at) } = &mut generation.process
        {
            *at = now + GENERATION_LEAVES_WITHIN;
        }
    }

    /// The candidate, if there is one.
    pub fn candidate(&self) -> Option<GenerationId> {
        self.with_role(Role::Candidate)
    }

    /// The generation that was committed last.
    pub fn serving(&self) -> Option<GenerationId> {
        self.with_role(Role::Serving)
    }

    fn with_role(&self, role: Role) -> Option<GenerationId> {
        self.generations
            .iter()
            .find(|(_, generation)| generation.role == role)
            .map(|(id, _)| *id)
    }

    /// The workers that are not reaped yet.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    /// The worker, unless it was reaped.
    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// Whether the fleet is as it should be: nothing boots, and as many workers serve as are wanted.
    pub fn is_settled(&self) -> bool {
        let Some(serving) = self.serving() else {
            return false;
        };
        let wanted = usize::from(self.generations[&serving].workers);
        self.candidate().is_none()
            && self.count(serving, Worker::is_ready) == wanted
            && self.count(serving, Worker::is_booting) == 0
    }

    /// When the generation's process was started, whatever became of it since; `None` once it is forgotten.
    pub fn started(&self, id: GenerationId) -> Option<Moment> {
        Some(self.generations.get(&id)?.started)
    }

    /// How many workers the serving generation is to have.
    pub fn workers_wanted(&self) -> Option<u16> {
        self.workers_wanted_of(self.serving()?)
    }

    /// How many workers the generation is to have while it serves; `None` once it is forgotten.
    pub fn workers_wanted_of(&self, id: GenerationId) -> Option<u16> {
        Some(self.generations.get(&id)?.workers)
    }

    pub fn is_stopping(&self) -> bool {
        self.phase != Phase::Running
    }
}

/// How long a generation may take to exit after its last child, or after its last hook: a hook takes 4 s at most.
const GENERATION_LEAVES_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
