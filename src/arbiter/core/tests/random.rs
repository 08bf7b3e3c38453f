//! Random scripts: whatever happens in whatever order, the invariants hold, no order names what is gone, capacity is
//! never given away, and the last edit wins.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The processes as they really are, which the core knows by hearsay only.
#[derive(Default)]
struct World {
    generations: BTreeMap<GenerationId, bool>,
    workers: BTreeMap<WorkerId, (GenerationId, Fate)>,
    /// What the last edit asked for, unless it turned out that it cannot be had.
    wanted: Option<ReloadId>,
    finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ordered,
    Running,
    Ready,
    /// Got an order that ends it.
    Ending,
}

#[derive(Debug, Clone, Copy)]
enum Chance {
    GenerationPrepares,
    GenerationFails,
    GenerationDies,
    WorkerForks,
    WorkerBoots,
    WorkerDies,
    WorkerEnds,
    WorkerStalls,
    WorkerTires,
    ForkFails,
    EditRoll,
    EditBack,
    EditLive,
    EditScale,
    Answers,
    More,
    Fewer,
    Stop,
    TimePasses,
}

fn chance() -> impl Strategy<Value = Chance> {
    use Chance::*;
    prop_oneof![
        8 => Just(GenerationPrepares),
        1 => Just(GenerationFails),
        1 => Just(GenerationDies),
        20 => Just(WorkerForks),
        20 => Just(WorkerBoots),
        3 => Just(WorkerDies),
        10 => Just(WorkerEnds),
        1 => Just(WorkerStalls),
        2 => Just(WorkerTires),
        1 => Just(ForkFails),
        3 => Just(EditRoll),
        1 => Just(EditBack),
        1 => Just(EditLive),
        1 => Just(EditScale),
        2 => Just(Answers),
        1 => Just(More),
        1 => Just(Fewer),
        8 => Just(TimePasses),
    ]
}

struct Play {
    core: Core,
    world: World,
    now: Moment,
    reloads: u64,
    rules: Rules,
}

impl Play {
    fn begin(workers: u16, surge: u16, probation: u64) -> Self {
        let rules = Rules {
            workers,
            surge,
            boot: Duration::from_secs(30),
            graceful: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            probation: Duration::from_secs(probation),
        };
        let mut play = Self {
            core: Core::new(12),
            world: World::default(),
            now: Moment::from_origin(Duration::from_secs(1000)),
            reloads: 0,
            rules,
        };
        play.world.wanted = Some(ReloadId(0));
        let mut actions = Vec::new();
        play.core.boot(play.now, rules, &mut actions);
        play.obey(actions);
        play
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.core.step(self.now, event, &mut actions);
        self.obey(actions);
    }

    /// Does what a real shell does, and asserts what it may rely on.
    fn obey(&mut self, actions: Vec<Action>) {
        let mut replaced = false;
        for action in actions {
            match action {
                Action::Spawn { generation, .. } => {
                    assert!(self.world.generations.insert(generation, true).is_none());
                }
                Action::Fork {
                    generation, worker, ..
                } => {
                    assert!(self.world.generations[&generation], "forks in a live one");
                    let fate = (generation, Fate::Ordered);
                    assert!(self.world.workers.insert(worker, fate).is_none());
                }
                Action::Retire(generation)
                | Action::AbortGeneration(generation)
                | Action::KillGeneration(generation) => {
                    assert!(self.world.generations[&generation], "is not gone");
                }
                Action::Signal { worker, signal } => {
                    let why = self.core.worker(worker).and_then(Worker::why);
                    let (_, fate) = self.world.workers.get_mut(&worker).expect("not reaped");
                    assert_ne!(*fate, Fate::Ordered, "a signal needs a process");
                    replaced |= signal == WorkerSignal::Drain
                        && why == Some(Why::Replaced)
                        && *fate == Fate::Ready;
                    *fate = Fate::Ending;
                }
                Action::Release { worker, .. } => {
                    self.world.workers.remove(&worker);
                }
                Action::Report(
                    Report::Undone { reload, .. } | Report::RollingBack { reload, .. },
                ) => {
                    if self.world.wanted == Some(reload) {
                        self.world.wanted = None;
                    }
                }
                Action::Finish(_) => self.world.finished = true,
                Action::Abandon { .. }
                | Action::Commit { .. }
                | Action::Adopt { .. }
                | Action::AdoptForCandidate { .. }
                | Action::Forget(_)
                | Action::AnnounceStop
                | Action::Report(_) => {}
            }
        }
        if replaced {
            self.assert_capacity();
        }
    }

    /// Nothing was drained for a roll that has not been replaced.
    fn assert_capacity(&self) {
        let serving = self.core.workers().filter(|(_, w)| w.serves()).count();
        let wanted = self
            .core
            .generations
            .values()
            .filter(|generation| generation.role != Role::Leaving)
            .map(|generation| usize::from(generation.workers))
            .min();
        assert!(serving >= wanted.unwrap_or(0), "{serving} < {wanted:?}");
    }

    fn chance(&mut self, chance: Chance, pick: usize) {
        match chance {
            Chance::GenerationPrepares => {
                if let Some(id) = self.generation(pick) {
                    self.step(Event::Prepared(id));
                }
            }
            Chance::GenerationFails => {
                if let Some(id) = self.generation(pick) {
                    let reason = "no".to_owned();
                    self.step(Event::Failed {
                        generation: id,
                        reason,
                    });
                }
            }
            Chance::GenerationDies => {
                if let Some(id) = self.generation(pick) {
                    self.generation_dies(id);
                }
            }
            Chance::WorkerForks => self.on_worker(pick, Fate::Ordered, |play, id| {
                play.fork(id);
            }),
            Chance::WorkerBoots => self.on_worker(pick, Fate::Running, |play, id| {
                play.fate(id, Fate::Ready);
                play.step(Event::Ready(id));
            }),
            Chance::WorkerDies => {
                let fate = [Fate::Running, Fate::Ready][pick % 2];
                self.on_worker(pick, fate, |play, id| play.worker_dies(id));
            }
            Chance::WorkerEnds => {
                self.on_worker(pick, Fate::Ending, |play, id| play.worker_dies(id));
            }
            Chance::WorkerStalls => self.on_worker(pick, Fate::Ready, |play, worker| {
                let since = Moment::from_origin(Duration::ZERO);
                play.step(Event::Stalled { worker, since });
            }),
            Chance::WorkerTires => self.on_worker(pick, Fate::Ready, |play, worker| {
                let why = Retirement::Memory;
                play.step(Event::WantsRetirement { worker, why });
            }),
            Chance::ForkFails => self.on_worker(pick, Fate::Ordered, |play, worker| {
                let reason = "no".to_owned();
                play.step(Event::NotForked { worker, reason });
            }),
            Chance::EditRoll => self.edit(Change::Roll, Change::Roll),
            Chance::EditBack => self.edit(Change::Nothing, Change::Roll),
            Chance::EditLive => self.edit(Change::Live, Change::Live),
            Chance::EditScale => {
                self.rules.workers = 1 + (pick % 4) as u16;
                self.edit(Change::Scale, Change::Scale);
            }
            Chance::Answers => {
                if let Some(generation) = self.generation(pick) {
                    let requests = pick as u64;
                    let errors = requests / 7 * (requests % 5);
                    let counts = Counts { requests, errors };
                    self.step(Event::Counted { generation, counts });
                }
            }
            Chance::More => self.step(Event::OneMore),
            Chance::Fewer => self.step(Event::OneFewer),
            Chance::Stop => self.step(Event::Stop([Stop::Graceful, Stop::Quick][pick % 2])),
            Chance::TimePasses => self.pass(Duration::from_millis(pick as u64 * 37)),
        }
    }

    fn edit(&mut self, from_serving: Change, from_candidate: Change) {
        self.reloads += 1;
        let reload = ReloadId(self.reloads);
        let serving = self.core.serving();
        self.world.wanted = match (self.core.candidate(), serving) {
            // Taken back, or nothing to do: what serves is what is wanted.
            (_, Some(serving)) if from_serving == Change::Nothing => {
                Some(self.core.generations[&serving].reload)
            }
            _ => Some(reload),
        };
        self.step(Event::Edited {
            reload,
            rules: self.rules,
            from_serving,
            from_candidate,
        });
    }

    fn generation(&self, pick: usize) -> Option<GenerationId> {
        let living: Vec<_> = self.world.generations.iter().filter(|(_, l)| **l).collect();
        (!living.is_empty()).then(|| *living[pick % living.len()].0)
    }

    fn on_worker(&mut self, pick: usize, fate: Fate, act: impl Fn(&mut Self, WorkerId)) {
        let such: Vec<WorkerId> = self
            .world
            .workers
            .iter()
            .filter(|(_, (_, f))| *f == fate)
            .map(|(id, _)| *id)
            .collect();
        if !such.is_empty() {
            act(self, such[pick % such.len()]);
        }
    }

    fn fate(&mut self, id: WorkerId, fate: Fate) {
        self.world.workers.get_mut(&id).unwrap().1 = fate;
    }

    fn fork(&mut self, id: WorkerId) {
        self.fate(id, Fate::Running);
        self.step(Event::Forked(id));
    }

    fn worker_dies(&mut self, worker: WorkerId) {
        let exit = Exit::Signal(9);
        self.step(Event::WorkerExited { worker, exit });
    }

    fn generation_dies(&mut self, generation: GenerationId) {
        self.world.generations.insert(generation, false);
        let exit = Exit::Code(1);
        self.step(Event::GenerationExited { generation, exit });
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.core.deadline(self.now).filter(|at| *at <= end) {
            assert!(deadline > self.now, "a deadline that is due acts");
            self.now = deadline;
            self.step(Event::Tick);
        }
        self.now = end;
    }

    /// From now on everything goes well.
    fn calm(&mut self) {
        for _ in 0..300 {
            for pick in 0..4 {
                self.chance(Chance::GenerationPrepares, pick);
                self.chance(Chance::WorkerForks, 0);
                self.chance(Chance::WorkerBoots, 0);
                self.chance(Chance::WorkerEnds, 0);
            }
            let idle: Vec<_> = self
                .core
                .generations
                .iter()
                .filter(|(id, generation)| {
                    let told = matches!(generation.process, Process::Retired { .. });
                    let empty = self.core.workers.values().all(|w| w.generation != **id);
                    let ends = matches!(
                        generation.process,
                        Process::Aborted { .. } | Process::Killed
                    );
                    ends || told && empty
                })
                .map(|(id, _)| *id)
                .collect();
            for id in idle {
                self.generation_dies(id);
            }
            self.pass(Duration::from_millis(500));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_fleet_recovers_and_the_last_edit_wins(
        workers in 1..4u16,
        surge in 1..3u16,
        probation in 0..20u64,
        script in proptest::collection::vec((chance(), 0..400usize), 0..150),
    ) {
        let mut play = Play::begin(workers, surge, probation);
        for (chance, pick) in script {
            play.chance(chance, pick);
        }
        play.calm();
        if play.core.is_stopping() {
            // The first generation failed before anything served.
            prop_assert!(play.world.finished);
            return Ok(());
        }
        prop_assert_eq!(play.core.candidate(), None);
        let serving = play.core.serving().expect("something serves");
        let generation = &play.core.generations[&serving];
        prop_assert_eq!(play.core.generations.len(), 1, "what was replaced is gone");
        prop_assert_eq!(play.core.workers.len(), usize::from(generation.workers));
        prop_assert!(play.core.workers().all(|(_, worker)| worker.serves()));
        if let Some(wanted) = play.world.wanted {
            prop_assert_eq!(generation.reload, wanted, "the last edit wins");
        }
    }

    #[test]
    fn whatever_happened_a_stop_ends_everything(
        script in proptest::collection::vec((chance(), 0..400usize), 0..80),
        stops in 1..4usize,
    ) {
        let mut play = Play::begin(2, 1, 5);
        for (chance, pick) in script {
            play.chance(chance, pick);
        }
        for stop in 0..stops {
            play.chance(Chance::Stop, stop);
        }
        play.calm();
        prop_assert!(play.world.finished);
        prop_assert!(play.world.workers.is_empty());
    }
}
