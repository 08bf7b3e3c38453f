//! Processes as they really are, and what the core hears of them.

mod chance;
mod people;
mod processes;
mod promises;

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
    /// Somebody asked for a graceful stop, and nobody for a quick one.
    stops_gracefully: bool,
    finished: Option<Moment>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            core: Core::new(24),
            now: start(),
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
            stops_gracefully: false,
            finished: None,
        };
        world.file.workers = 1 + world.below(4) as u16;
        world.surge = 1 + world.below(3) as u16;
        world.probation = Duration::from_secs(world.below(3) * 15);
        for _ in 0..world.below(12) {
            let at = world.milliseconds(BUSY.as_millis() as u64);
            world.after(at, Happening::Person);
        }
        let stops = if world.chance(25) {
            1 + world.below(3)
        } else {
            0
        };
        for _ in 0..stops {
            let stop = [Stop::Graceful, Stop::Quick][world.below(2) as usize];
            let at = world.milliseconds(BUSY.as_millis() as u64);
            world.after(at, Happening::Stop(stop));
        }
        world
    }

    fn age(&self) -> Duration {
        self.now.since(start())
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
        let end = start() + end;
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
                let is_more = self.stops_gracefully || !self.core.is_stopping();
                self.stops_gracefully = is_more && stop == Stop::Graceful;
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
}

/// Not the clock's origin, which a fault could leave in a deadline.
fn start() -> Moment {
    Moment::from_origin(Duration::from_secs(1000))
}
