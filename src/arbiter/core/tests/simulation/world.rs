//! Processes as they really are, and what the core hears of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{super::*, *},
    BUSY,
};

const BOOT: Duration = Duration::from_secs(10);
const GRACEFUL: Duration = Duration::from_secs(8);
/// The shell's, between two looks at the counters.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// For what is sent and reaped.
const SLACK: Duration = Duration::from_secs(1);

/// What is wrong with a version of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// The generation says that it failed, and exits.
    NoImport,
    /// The generation never gets ready to fork.
    Mute,
    /// It does, but never answers an order to fork.
    Deaf,
    /// Workers exit while they boot.
    Crashes,
    /// Workers never get ready.
    Hangs,
    /// Workers answer with errors.
    Errors,
    /// Workers die soon after they are ready.
    Deadly,
}

const FAULTS: [Kind; 7] = [
    Kind::NoImport,
    Kind::Mute,
    Kind::Deaf,
    Kind::Crashes,
    Kind::Hangs,
    Kind::Errors,
    Kind::Deadly,
];

/// The file at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Text {
    /// Another one needs another generation.
    code: usize,
    live: u32,
    workers: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ordered,
    Booting,
    Ready,
    /// Told to end then.
    Ending(Moment),
}

#[derive(Debug, Clone, Copy)]
enum Happening {
    Prepared(GenerationId),
    Failed(GenerationId),
    GenerationExits(GenerationId, Exit),
    Forked(WorkerId),
    NotForked(WorkerId),
    Ready(WorkerId),
    Exits(WorkerId, Exit),
    Stalls(WorkerId),
    Tires(WorkerId),
    Person,
    Stop(Stop),
}

pub(super) struct World {
    core: Core,
    now: Moment,
    random: u64,
    /// Everything may fail, not new code alone.
    is_wild: bool,
    queue: BTreeMap<(Moment, u64), Happening>,
    queued: u64,
    kinds: Vec<Kind>,
    file: Text,
    texts: BTreeMap<ReloadId, Text>,
    generations: BTreeMap<GenerationId, (ReloadId, bool)>,
    /// Told to leave after the last child; whether it will.
    retired: BTreeMap<GenerationId, bool>,
    /// Told to leave, in one way or the other.
    dismissed: BTreeSet<GenerationId>,
    workers: BTreeMap<WorkerId, (GenerationId, Fate)>,
    probation: Duration,
    surge: u16,
    next_count: Option<Moment>,
    floor: usize,
    /// A generation was committed: from then on no fault ends the server.
    has_served: bool,
    stopped: Option<Moment>,
    finished: Option<Moment>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let start = Moment::from_origin(Duration::from_secs(1000));
        let mut world = Self {
            core: Core::new(24),
            now: start,
            random: seed,
            is_wild: seed % 2 == 1,
            queue: BTreeMap::new(),
            queued: 0,
            kinds: vec![Kind::Good],
            file: Text {
                code: 0,
                live: 0,
                workers: 1,
            },
            texts: BTreeMap::new(),
            generations: BTreeMap::new(),
            retired: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            workers: BTreeMap::new(),
            probation: Duration::ZERO,
            surge: 1,
            next_count: None,
            floor: 0,
            has_served: false,
            stopped: None,
            finished: None,
        };
        world.file.workers = 1 + world.below(4) as u16;
        world.surge = 1 + world.below(3) as u16;
        world.probation = Duration::from_secs(world.below(3) * 15);
        for _ in 0..world.below(12) {
            let at = world.milliseconds(BUSY.as_millis() as u64);
            world.after(at, Happening::Person);
        }
        if world.chance(25) {
            let stop = [Stop::Graceful, Stop::Quick][world.below(2) as usize];
            let at = world.milliseconds(BUSY.as_millis() as u64);
            world.after(at, Happening::Stop(stop));
        }
        world
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    fn chance(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }

    /// A fault that only a wild schedule has.
    fn fault(&mut self, per_cent: u64) -> bool {
        self.chance(per_cent) && self.is_wild && self.age() < BUSY
    }

    fn age(&self) -> Duration {
        self.now
            .since(Moment::from_origin(Duration::from_secs(1000)))
    }

    fn milliseconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(1 + self.below(most))
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.queued += 1;
        let at = self.now + delay;
        self.queue.insert((at, self.queued), happening);
    }

    fn rules(&self, text: Text) -> Rules {
        Rules {
            workers: text.workers,
            surge: self.surge,
            boot: BOOT,
            graceful: GRACEFUL,
            stall: Duration::from_secs(30),
            probation: self.probation,
        }
    }

    pub(super) fn boot(&mut self) {
        self.texts.insert(ReloadId(0), self.file);
        let mut actions = Vec::new();
        let rules = self.rules(self.file);
        self.core.boot(self.now, rules, &mut actions);
        self.obey(actions);
    }

    /// When something happens next.
    pub(super) fn next(&mut self, end: Duration) -> Option<Moment> {
        self.next_count = self
            .core
            .is_on_probation()
            .then(|| self.next_count.unwrap_or(self.now + COUNT_EVERY));
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let due = self.core.deadline(self.now);
        assert!(due.is_none_or(|due| due > self.now), "what is due acts");
        let next = [queued, due, self.next_count].into_iter().flatten().min()?;
        let end = Moment::from_origin(Duration::from_secs(1000)) + end;
        (self.finished.is_none() && next <= end).then_some(next)
    }

    pub(super) fn happen(&mut self, now: Moment) {
        self.now = now;
        if self.next_count.is_some_and(|at| at <= now) {
            self.next_count = Some(now + COUNT_EVERY);
            self.count();
        }
        while let Some(entry) = self
            .queue
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        {
            let happening = entry.remove();
            self.take(happening);
        }
        self.step(Event::Tick);
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.core.step(self.now, event, &mut actions);
        self.obey(actions);
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Prepared(id) if self.lives(id) => self.step(Event::Prepared(id)),
            Happening::Failed(generation) if self.lives(generation) => {
                let reason = "no".to_owned();
                self.step(Event::Failed { generation, reason });
                let delay = self.milliseconds(500);
                self.after(delay, Happening::GenerationExits(generation, Exit::Code(3)));
            }
            Happening::GenerationExits(generation, exit) if self.lives(generation) => {
                if let Some((_, lives)) = self.generations.get_mut(&generation) {
                    *lives = false;
                }
                self.step(Event::GenerationExited { generation, exit });
            }
            Happening::Forked(id) => self.on(id, Fate::Ordered, |world, generation| {
                if world.lives(generation) {
                    world.begin_boot(id, generation);
                }
            }),
            Happening::NotForked(worker) => self.on(worker, Fate::Ordered, |world, generation| {
                if world.lives(generation) {
                    let reason = "no".to_owned();
                    world.step(Event::NotForked { worker, reason });
                }
            }),
            Happening::Ready(id) => self.on(id, Fate::Booting, |world, generation| {
                world.workers.insert(id, (generation, Fate::Ready));
                world.serve(id, generation);
                world.step(Event::Ready(id));
            }),
            Happening::Exits(worker, exit) if self.workers.contains_key(&worker) => {
                self.step(Event::WorkerExited { worker, exit });
                self.let_retired_go();
            }
            Happening::Stalls(worker) => self.on(worker, Fate::Ready, |world, _| {
                let since = Moment::from_origin(Duration::ZERO);
                world.step(Event::Stalled { worker, since });
            }),
            Happening::Tires(worker) => self.on(worker, Fate::Ready, |world, _| {
                let why = Retirement::Requests;
                world.step(Event::WantsRetirement { worker, why });
            }),
            Happening::Person => self.act(),
            Happening::Stop(stop) => {
                self.stopped.get_or_insert(self.now);
                self.step(Event::Stop(stop));
            }
            _ => {}
        }
    }

    fn lives(&self, id: GenerationId) -> bool {
        self.generations.get(&id).is_some_and(|(_, lives)| *lives)
    }

    fn on(&mut self, id: WorkerId, fate: Fate, act: impl FnOnce(&mut Self, GenerationId)) {
        if let Some((generation, found)) = self.workers.get(&id).copied()
            && found == fate
        {
            act(self, generation);
        }
    }

    fn kind(&self, generation: GenerationId) -> Kind {
        let (reload, _) = self.generations[&generation];
        self.kinds[self.texts[&reload].code]
    }

    fn begin_boot(&mut self, id: WorkerId, generation: GenerationId) {
        self.workers.insert(id, (generation, Fate::Booting));
        let takes = self.milliseconds(4000);
        let dies = self.fault(4);
        match self.kind(generation) {
            Kind::Hangs => {}
            Kind::Crashes => self.after(takes, Happening::Exits(id, Exit::Code(3))),
            _ if dies => self.after(takes, Happening::Exits(id, Exit::Signal(11))),
            _ => self.after(takes, Happening::Ready(id)),
        }
        self.step(Event::Forked(id));
    }

    /// What becomes of a worker that is ready.
    fn serve(&mut self, id: WorkerId, generation: GenerationId) {
        if self.kind(generation) == Kind::Deadly {
            let lives = self.milliseconds(3000);
            self.after(lives, Happening::Exits(id, Exit::Signal(11)));
        }
        let some_time = self.milliseconds(60_000);
        if self.chance(10) {
            self.after(some_time, Happening::Tires(id));
        } else if self.fault(15) {
            self.after(some_time, Happening::Exits(id, Exit::Signal(9)));
        } else if self.fault(10) {
            self.after(some_time, Happening::Stalls(id));
        }
    }

    /// A person edits, sends HUP, or asks for more or fewer.
    fn act(&mut self) {
        let mut rolls = false;
        match self.below(10) {
            0..=3 => {
                let fault = self.below(FAULTS.len() as u64) as usize;
                let kind = if self.chance(50) {
                    Kind::Good
                } else {
                    FAULTS[fault]
                };
                self.kinds.push(kind);
                self.file.code = self.kinds.len() - 1;
            }
            4 => self.file.live += 1,
            5 => self.file.workers = 1 + self.below(4) as u16,
            6 => {
                let back = self.below(self.texts.len() as u64) as usize;
                self.file = *self.texts.values().nth(back).unwrap();
            }
            7 => rolls = true,
            8 => return self.step(Event::OneMore),
            _ => {
                let event = match self.below(2) {
                    0 => Event::OneFewer,
                    _ => Event::Scale(self.below(6) as u16),
                };
                return self.step(event);
            }
        }
        let reload = ReloadId(self.texts.keys().last().map_or(0, |last| last.0) + 1);
        let change = |world: &Self, generation: Option<GenerationId>| match generation {
            Some(generation) if !rolls => {
                let (reload, _) = world.generations[&generation];
                change(world.texts[&reload], world.file)
            }
            _ => Change::Roll,
        };
        let from_serving = change(self, self.core.serving());
        let from_candidate = change(self, self.core.candidate());
        self.texts.insert(reload, self.file);
        let rules = self.rules(self.file);
        self.step(Event::Edited {
            reload,
            rules,
            from_serving,
            from_candidate,
        });
    }

    fn count(&mut self) {
        let ids: Vec<GenerationId> = self.generations.keys().copied().collect();
        for generation in ids {
            let errors = match self.kind(generation) {
                Kind::Errors => 20,
                _ => 0,
            };
            let counts = Counts {
                requests: 20,
                errors,
            };
            self.step(Event::Counted { generation, counts });
        }
    }

    fn obey(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn { generation, reload } => self.spawn(generation, reload),
                Action::Fork {
                    generation, worker, ..
                } => self.fork(generation, worker),
                Action::Retire(generation) => {
                    assert!(self.lives(generation), "is there to be told");
                    let obeys = !self.fault(5);
                    self.retired.insert(generation, obeys);
                    self.dismissed.insert(generation);
                    self.let_retired_go();
                }
                Action::AbortGeneration(generation) => {
                    assert!(self.lives(generation), "is there to be aborted");
                    self.dismissed.insert(generation);
                    if !self.fault(5) {
                        let exit = Exit::Signal(6);
                        let soon = self.milliseconds(50);
                        self.after(soon, Happening::GenerationExits(generation, exit));
                    }
                }
                Action::KillGeneration(generation) => {
                    assert!(self.lives(generation), "is there to be killed");
                    self.dismissed.insert(generation);
                    let exit = Exit::Signal(9);
                    let soon = self.milliseconds(20);
                    self.after(soon, Happening::GenerationExits(generation, exit));
                }
                Action::Signal { worker, order } => self.signal(worker, order),
                Action::Release { worker, .. } => {
                    assert!(self.workers.remove(&worker).is_some(), "released once");
                }
                Action::Adopt { generation, reload }
                | Action::AdoptForCandidate { generation, reload } => {
                    self.generations.get_mut(&generation).unwrap().0 = reload;
                }
                Action::Finish(_) => self.finished = Some(self.now),
                Action::Commit { .. } => self.has_served = true,
                Action::Abandon { .. }
                | Action::Forget(_)
                | Action::AnnounceStop
                | Action::Report(_) => {}
            }
        }
    }

    fn spawn(&mut self, generation: GenerationId, reload: ReloadId) {
        let is_new = self
            .generations
            .insert(generation, (reload, true))
            .is_none();
        assert!(is_new, "a number is used once");
        let takes = self.milliseconds(3000);
        match self.kind(generation) {
            Kind::Mute => {}
            Kind::NoImport => self.after(takes, Happening::Failed(generation)),
            _ => self.after(takes, Happening::Prepared(generation)),
        }
        if self.fault(10) {
            let lives = self.milliseconds(60_000);
            self.after(
                lives,
                Happening::GenerationExits(generation, Exit::Signal(9)),
            );
        }
    }

    fn fork(&mut self, generation: GenerationId, worker: WorkerId) {
        assert!(self.lives(generation), "forks in a living one");
        self.workers.insert(worker, (generation, Fate::Ordered));
        let takes = self.milliseconds(50);
        let fails = self.fault(3);
        match self.kind(generation) {
            Kind::Deaf => {}
            _ if fails => self.after(takes, Happening::NotForked(worker)),
            _ => self.after(takes, Happening::Forked(worker)),
        }
    }

    fn signal(&mut self, worker: WorkerId, order: Order) {
        let (generation, fate) = self.workers[&worker];
        assert_ne!(fate, Fate::Ordered, "a signal needs a process");
        let told = match fate {
            Fate::Ending(since) => since,
            Fate::Ordered | Fate::Booting | Fate::Ready => self.now,
        };
        self.workers
            .insert(worker, (generation, Fate::Ending(told)));
        let obeys = !self.fault(10);
        let takes = match order {
            Order::Drain if fate == Fate::Ready && self.chance(20) => self.milliseconds(30_000),
            Order::Drain if fate == Fate::Ready => self.milliseconds(1000),
            Order::Drain | Order::Quit | Order::Abort | Order::Kill => self.milliseconds(50),
        };
        if obeys || order == Order::Kill {
            self.after(takes, Happening::Exits(worker, Exit::Code(0)));
        }
    }

    fn let_retired_go(&mut self) {
        let gone: Vec<GenerationId> = self
            .retired
            .iter()
            .filter(|(id, obeys)| {
                **obeys
                    && self
                        .workers
                        .values()
                        .all(|(generation, _)| generation != *id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.retired.remove(&id);
            let soon = self.milliseconds(20);
            self.after(soon, Happening::GenerationExits(id, Exit::Code(0)));
        }
    }

    /// Who serves is never given away: capacity goes down with what is wanted, or by a fault, and by nothing else.
    pub(super) fn assert_capacity(&mut self) {
        let is_deadly = |(id, _): &(GenerationId, Fate)| self.kind(*id) == Kind::Deadly;
        let may_lose = self.is_wild || self.workers.values().any(is_deadly);
        if self.core.is_stopping() || self.core.serving().is_none() || may_lose {
            self.floor = 0;
            return;
        }
        let ready = self
            .workers
            .values()
            .filter(|(_, fate)| *fate == Fate::Ready);
        let capacity = ready.count();
        let roles = self.core.generations.values();
        let wanted = roles
            .filter(|generation| matches!(generation.role, Role::Serving | Role::Candidate))
            .map(|generation| usize::from(generation.workers))
            .min()
            .unwrap_or(0);
        let floor = self.floor.min(wanted);
        assert!(capacity >= floor, "{capacity} serve, and {floor} did");
        self.floor = floor.max(capacity.min(wanted));
    }

    pub(super) fn assert_deadlines(&self) {
        let kept = self
            .generations
            .iter()
            .filter(|(id, (_, lives))| *lives && !self.dismissed.contains(id));
        assert!(kept.count() <= 3, "one serves, one boots, one is parked");
        let to_leave = GRACEFUL + ABORT_AFTER + KILL_AFTER + KILL_AFTER + SLACK;
        for (id, (_, fate)) in &self.workers {
            if let Fate::Ending(since) = fate {
                let took = self.now.since(*since);
                assert!(took <= to_leave, "{id:?} leaves since {took:?}");
            }
        }
        if let Some(candidate) = self.core.candidate() {
            let generation = &self.core.generations[&candidate];
            let rounds = u32::from(generation.workers) + 2;
            let took = self.now.since(generation.started);
            assert!(took <= BOOT * rounds + to_leave, "boots since {took:?}");
        }
        if let Some(since) = self.stopped.filter(|_| self.finished.is_none()) {
            let took = self.now.since(since);
            let most = BOOT + to_leave + GENERATION_LEAVES_WITHIN + SLACK;
            assert!(took <= most, "stops since {took:?}");
        }
    }

    /// Long after everybody left it alone.
    pub(super) fn assert_outcome(&self) {
        if self.core.is_stopping() {
            assert!(self.finished.is_some(), "a stop ends");
            assert!(self.workers.is_empty(), "nothing is left");
            assert!(
                self.stopped.is_some() || !self.has_served,
                "nobody asked for it"
            );
            return;
        }
        assert_eq!(self.core.candidate(), None);
        let serving = self.core.serving().expect("something serves");
        let generation = &self.core.generations[&serving];
        if self.kind(serving) == Kind::Good {
            let wanted = usize::from(generation.workers);
            let ready = self
                .workers
                .values()
                .filter(|(_, fate)| *fate == Fate::Ready);
            assert_eq!(ready.count(), wanted, "all serve");
            assert_eq!(self.workers.len(), wanted, "nobody else is left");
            assert_eq!(self.core.generations.len(), 1, "what was replaced is gone");
        }
        if !self.is_wild && self.kinds[self.file.code] == Kind::Good {
            let (reload, _) = self.generations[&serving];
            assert_eq!(self.texts[&reload], self.file, "the last edit wins");
        }
    }
}

fn change(before: Text, after: Text) -> Change {
    if before.code != after.code {
        Change::Roll
    } else if before.workers != after.workers {
        Change::Scale
    } else if before.live != after.live {
        Change::Live
    } else {
        Change::Nothing
    }
}
