//! Scripts of events in, traces of orders out. `stories` are told by hand, `random` ones by proptest.

mod random;
mod simulation;
mod stories;

use std::time::Duration;

use super::*;

/// A core with a clock that the script moves.
struct Stage {
    core: Core,
    now: Moment,
    started: Moment,
    reloads: u64,
    rules: Rules,
    lines: Vec<String>,
}

/// Runs a script, one command per line (or separated by `;`), and tells the orders that each one led to. Reports that
/// only repeat what the command said are left out.
fn trace(script: &str) -> String {
    let started = Moment::from_origin(Duration::from_secs(1000));
    let mut stage = Stage {
        core: Core::new(8),
        now: started,
        started,
        reloads: 0,
        rules: Rules {
            workers: 2,
            surge: 1,
            boot: Duration::from_secs(30),
            graceful: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            probation: Duration::ZERO,
        },
        lines: Vec::new(),
    };
    for command in script.split([';', '\n']).map(str::trim) {
        if !command.is_empty() {
            stage.perform(command);
        }
    }
    stage.lines.join("\n")
}

impl Stage {
    fn perform(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["boot", workers] => {
                self.rules.workers = workers.parse().unwrap();
                let mut actions = Vec::new();
                self.core.boot(self.now, self.rules, &mut actions);
                self.note(command, &actions);
            }
            ["probation", seconds] => {
                self.rules.probation = Duration::from_secs(seconds.parse().unwrap());
            }
            ["wait", seconds] => self.wait(seconds.parse().unwrap()),
            ["ready", workers @ ..] => {
                for worker in workers {
                    let id = WorkerId(worker.parse().unwrap());
                    let mut actions = Vec::new();
                    self.core.step(self.now, Event::Forked(id), &mut actions);
                    self.core.step(self.now, Event::Ready(id), &mut actions);
                    self.note(&format!("ready {worker}"), &actions);
                }
            }
            _ => {
                let event = self.event(&words);
                let mut actions = Vec::new();
                self.core.step(self.now, event, &mut actions);
                self.note(command, &actions);
            }
        }
    }

    fn event(&mut self, words: &[&str]) -> Event {
        let number = |word: &str| word.parse::<u64>().unwrap();
        match *words {
            ["edit", "roll"] => self.edit(Change::Roll, Change::Roll),
            ["edit", "live"] => self.edit(Change::Live, Change::Live),
            ["edit", "nothing"] => self.edit(Change::Nothing, Change::Nothing),
            ["edit", "back"] => self.edit(Change::Nothing, Change::Roll),
            ["edit", "workers", workers] => {
                self.rules.workers = workers.parse().unwrap();
                self.edit(Change::Scale, Change::Scale)
            }
            ["edit", "roll", "workers", workers] => {
                self.rules.workers = workers.parse().unwrap();
                self.edit(Change::Roll, Change::Roll)
            }
            ["prepared", id] => Event::Prepared(GenerationId(number(id))),
            ["failed", id] => Event::Failed {
                generation: GenerationId(number(id)),
                reason: "no module named shop".to_owned(),
            },
            ["exit", id, exit] if id.starts_with('g') => Event::GenerationExited {
                generation: GenerationId(number(&id[1..])),
                exit: parse_exit(exit),
            },
            ["exit", id, exit] => Event::WorkerExited {
                worker: WorkerId(number(id)),
                exit: parse_exit(exit),
            },
            ["hook", id] => Event::HookEnded(GenerationId(number(&id[1..]))),
            ["forked", id] => Event::Forked(WorkerId(number(id))),
            ["cannot", "fork", id] => Event::NotForked {
                worker: WorkerId(number(id)),
                reason: "no memory".to_owned(),
            },
            ["outworn", id] => Event::WantsRetirement {
                worker: WorkerId(number(id)),
                why: Retirement::Requests,
            },
            ["counted", id, errors, "of", requests] => Event::Counted {
                generation: GenerationId(number(&id[1..])),
                counts: Counts {
                    requests: number(requests),
                    errors: number(errors),
                },
            },
            ["leaves", id] => Event::Leaves(WorkerId(number(id))),
            ["stalled", id] => Event::Stalled {
                worker: WorkerId(number(id)),
                since: Moment::from_origin(Duration::ZERO),
            },
            ["ttin"] => Event::OneMore,
            ["ttou"] => Event::OneFewer,
            ["scale", workers] => Event::Scale(number(workers) as u16),
            ["term"] => Event::Stop(Stop::Graceful),
            ["int"] => Event::Stop(Stop::Quick),
            _ => panic!("not a command: {words:?}"),
        }
    }

    fn edit(&mut self, from_serving: Change, from_candidate: Change) -> Event {
        self.reloads += 1;
        Event::Edited {
            reload: ReloadId(self.reloads),
            rules: self.rules,
            from_serving,
            from_candidate,
        }
    }

    /// Lets time pass; every deadline on the way acts.
    fn wait(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(deadline) = self.core.deadline(self.now).filter(|at| *at <= end) {
            assert!(deadline > self.now, "a deadline acts once");
            self.now = deadline;
            let mut actions = Vec::new();
            self.core.step(self.now, Event::Tick, &mut actions);
            let at = self.now.since(self.started).as_secs_f64();
            self.note(&format!("{at:.1} s"), &actions);
        }
        self.now = end;
    }

    fn note(&mut self, command: &str, actions: &[Action]) {
        let told: Vec<String> = actions.iter().filter_map(tell).collect();
        let told = if told.is_empty() {
            "-".to_owned()
        } else {
            told.join(", ")
        };
        self.lines.push(format!("{command} -> {told}"));
    }
}

fn parse_exit(text: &str) -> Exit {
    match text.strip_prefix("sig") {
        Some(signal) => Exit::Signal(signal.parse().unwrap()),
        None => Exit::Code(text.parse().unwrap()),
    }
}

/// An action in a word or two: `w3` is a worker, `g2` a generation, `r1` a reload.
fn tell(action: &Action) -> Option<String> {
    Some(match action {
        Action::Spawn { generation, reload } => {
            format!("spawn g{} for r{}", generation.0, reload.0)
        }
        Action::Fork {
            generation,
            worker,
            slot,
        } => format!("fork w{} of g{} in slot {slot}", worker.0, generation.0),
        Action::Retire(generation) => format!("retire g{}", generation.0),
        Action::AbortGeneration(generation) => format!("abort g{}", generation.0),
        Action::KillGeneration(generation) => format!("kill g{}", generation.0),
        Action::Signal { worker, order } => {
            let order = match order {
                Order::Drain => "drain",
                Order::Quit => "quit",
                Order::Abort => "abort",
                Order::Kill => "kill",
            };
            format!("{order} w{}", worker.0)
        }
        Action::Release { .. } => return None,
        Action::Abandon { worker, .. } => format!("abandon w{}", worker.0),
        Action::Commit { generation, .. } => format!("commit g{}", generation.0),
        Action::Adopt { reload, .. } => format!("adopt r{}", reload.0),
        Action::AdoptForCandidate { reload, .. } => {
            format!("adopt r{} for the candidate", reload.0)
        }
        Action::Forget(generation) => format!("forget g{}", generation.0),
        Action::AnnounceStop => "announce the stop".to_owned(),
        Action::Finish(code) => format!("leave with {code}"),
        Action::Report(report) => format!("‘{}’", tell_report(report)?),
    })
}

fn tell_report(report: &Report) -> Option<String> {
    Some(match report {
        Report::Unchanged(_) => "unchanged".to_owned(),
        Report::TakenBack { superseded, .. } => format!("g{} taken back", superseded.0),
        Report::Undone {
            generation,
            failure,
            ..
        } => format!("g{} undone: {}", generation.0, tell_failure(failure)),
        Report::Proven { generation, .. } => format!("g{} proven", generation.0),
        Report::RollingBack {
            generation,
            misconduct,
            back_to,
            ..
        } => format!(
            "g{} back for g{}: {}",
            back_to.0,
            generation.0,
            tell_misconduct(misconduct)
        ),
        Report::RolledBack { generation, .. } => format!("g{} is back", generation.0),
        Report::ParkedDied { generation, .. } => format!("g{} died parked", generation.0),
        Report::Worker { worker, report, .. } => tell_worker_report(*worker, report)?,
        Report::BackingOff { delay, .. } | Report::RevivalDelayed { delay, .. } => {
            format!("next try in {delay:?}")
        }
        Report::ScaleUndone {
            workers, failure, ..
        } => format!("back to {workers} workers: {}", tell_failure(failure)),
        Report::ServingGenerationDied { generation, .. } => format!("g{} died", generation.0),
        Report::Adopted { .. }
        | Report::Rolling { .. }
        | Report::Serving { .. }
        | Report::Reviving { .. }
        | Report::Scaled { .. }
        | Report::Stopping { .. }
        | Report::GenerationOverdue(_) => return None,
    })
}

fn tell_worker_report(worker: WorkerId, report: &WorkerReport) -> Option<String> {
    let id = worker.0;
    Some(match report {
        WorkerReport::Stuck { .. } => format!("w{id} is stuck"),
        WorkerReport::Overdue { why, .. } => format!("w{id} is overdue, {why:?}"),
        WorkerReport::Died { why: None, .. } => format!("w{id} died"),
        WorkerReport::NotForked { .. }
        | WorkerReport::Ready { .. }
        | WorkerReport::Retires(_)
        | WorkerReport::Died { .. } => return None,
    })
}

fn tell_misconduct(misconduct: &Misconduct) -> String {
    match misconduct {
        Misconduct::WorkersDied(count) => format!("{count} died"),
        Misconduct::BootFailed(failure) => tell_failure(failure),
        Misconduct::ProcessDied(_) => "its process died".to_owned(),
        Misconduct::Errors { counts, .. } => {
            format!("{} errors in {}", counts.errors, counts.requests)
        }
    }
}

fn tell_failure(failure: &Failure) -> String {
    match failure {
        Failure::Said { reason, .. } => reason.clone(),
        Failure::Died { .. } => "its process died".to_owned(),
        Failure::NotPrepared { .. } => "not prepared in time".to_owned(),
        Failure::NotForked { reason } => reason.clone(),
        Failure::WorkerDied { worker, .. } => format!("w{} died", worker.0),
        Failure::WorkerNotReady { worker, .. } => format!("w{} not ready in time", worker.0),
    }
}
