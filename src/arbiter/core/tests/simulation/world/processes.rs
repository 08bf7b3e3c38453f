//! What processes do when they are started, told, or left alone.

use super::*;

impl World {
    pub(super) fn obey(&mut self, actions: Vec<Action>) {
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
                Action::Signal { worker, signal } => self.signal(worker, signal),
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

    fn signal(&mut self, worker: WorkerId, signal: WorkerSignal) {
        let (generation, fate) = self.workers[&worker];
        assert_ne!(fate, Fate::Ordered, "a signal needs a process");
        let told = match fate {
            Fate::Ending(since) => since,
            Fate::Ordered | Fate::Booting | Fate::Ready => self.now,
        };
        self.assert_grace(worker, signal, told);
        self.workers
            .insert(worker, (generation, Fate::Ending(told)));
        let obeys = !self.fault(10);
        let takes = match signal {
            WorkerSignal::Drain if fate == Fate::Ready && self.chance(20) => {
                self.milliseconds(30_000)
            }
            WorkerSignal::Drain if fate == Fate::Ready => self.milliseconds(1000),
            WorkerSignal::Drain | WorkerSignal::Quit | WorkerSignal::Abort | WorkerSignal::Kill => {
                self.milliseconds(50)
            }
        };
        if obeys || signal == WorkerSignal::Kill {
            self.after(takes, Happening::Exits(worker, Exit::Code(0)));
        }
    }

    pub(super) fn let_retired_go(&mut self) {
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

    pub(super) fn begin_boot(&mut self, id: WorkerId, generation: GenerationId) {
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
    pub(super) fn serve(&mut self, id: WorkerId, generation: GenerationId) {
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

    pub(super) fn count(&mut self) {
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
}
