//! USR2: the program on disk takes over, in place: same pid, same children, same sockets. Workers serve throughout.
//!
//! All that can go wrong is tried before the jump: the new program is run with the very state that it will take over. How
//! that goes on is in `resume`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env, io,
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::signal::Signal;

use super::{SIGNALS, Shell};
use crate::{
    admin::{Outcome, Upgrade},
    arbiter::{
        core::{GenerationId, ReloadId, WorkerId},
        upgrade::{
            self, HandedGeneration, HandedReading, HandedShared, HandedWorker, Invocation,
            STATE_VARIABLE, State,
        },
    },
    error, info,
    sys::{Handed, execute, hold_signals, memory_file, release_signals},
    warning,
    wire::{FORMAT, Scoreboard},
};

impl Shell {
    pub(super) fn want_upgrade(&mut self) {
        if self.core.is_stopping() {
            return warning!("SIGUSR2 has no meaning for a server that stops");
        }
        self.wants_upgrade = true;
        self.upgrade = Some(Upgrade {
            upgrade: self.upgrade.as_ref().map_or(0, |last| last.upgrade) + 1,
            outcome: Outcome::Pending,
            reason: None,
        });
        if !self.may_upgrade() {
            info!("upgrade: waits until what is under way is over");
        }
    }

    /// To be called when all events were taken.
    pub(super) fn upgrade_when_possible(&mut self) {
        if !self.wants_upgrade || !self.may_upgrade() {
            return;
        }
        self.wants_upgrade = false;
        let program = self.invocation.program.display().to_string();
        info!("upgrade: asking {program}");
        // From here on, signals wait for whoever is the arbiter then.
        if let Err(problem) = hold_signals(&SIGNALS) {
            return self.reject_upgrade(&format!("signals cannot be held back: {problem}"));
        }
        let arrived = self.signals.take();
        let reason = match self.try_upgrade(&arrived) {
            Ok(never) => match never {},
            Err(reason) => reason,
        };
        self.reject_upgrade(&format!("{program}: {reason}"));
        let _ = release_signals(&SIGNALS);
        for signal in arrived {
            self.on_signal(signal);
        }
    }

    fn reject_upgrade(&mut self, reason: &str) {
        error!("upgrade rejected: {reason}; all goes on");
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.outcome = Outcome::Rejected;
            upgrade.reason = Some(reason.to_owned());
        }
    }

    fn may_upgrade(&self) -> bool {
        let generations = self.processes.generations.values();
        let mut channels = generations.filter_map(|generation| generation.process.as_ref());
        self.core.may_be_handed_over()
            && self.settling.is_none()
            && self.events.is_empty()
            && self.commands.is_idle()
            && self.watcher.is_quiet()
            && channels.all(|process| !process.channel.wants_to_write())
    }

    /// Returns only when it did not work.
    fn try_upgrade(&self, arrived: &[Signal]) -> Result<Infallible, String> {
        let told = |error: io::Error| error.to_string();
        let mut handed = Handed::default();
        let state = self.state(arrived, &mut handed);
        let text = serde_json::to_vec(&state).map_err(|error| error.to_string())?;
        let file = memory_file("rgunicorn-state", &text).map_err(told)?;
        upgrade::ask(&self.invocation, &file)?;
        handed.add(file.as_fd());
        let environment = env::vars_os()
            .filter(|(name, _)| name != STATE_VARIABLE)
            .chain([(STATE_VARIABLE.into(), State::variable(file.as_raw_fd()))]);
        let Invocation { program, arguments } = &self.invocation;
        Err(execute(program, arguments, environment, &handed).to_string())
    }

    fn state<'a>(&'a self, arrived: &[Signal], handed: &mut Handed<'a>) -> State {
        let shared = &self.shared;
        State {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scoreboard_bytes: Scoreboard::BYTES,
            core: self.core.clone(),
            generations: self.handed_generations(handed),
            workers: self.handed_workers(handed),
            readings: self.handed_readings(),
            reloads: self.reloads,
            serving: self.serving,
            tally: self.tally.clone(),
            last_boot: self.last_boot,
            seen: self.watcher.seen(),
            listeners: self.listeners.hand_over(handed),
            shared: HandedShared {
                board: handed.add(shared.board.descriptor()),
                bell: handed.add(shared.bell.as_fd()),
                lifeline: handed.add(shared.lifeline.as_fd()),
                lifeline_end: handed.add(shared.lifeline_end.as_fd()),
                lobby: (
                    handed.add(shared.lobby.0.as_fd()),
                    handed.add(shared.lobby.1.as_fd()),
                ),
            },
            doors: self.doors.hand_over(handed),
            history: self.history.clone(),
            events: self.admin.events(),
            started: self.started,
            upgrade: self.upgrade.as_ref().map_or(0, |last| last.upgrade),
            pidfile: self
                .pidfile
                .as_ref()
                .map(|pidfile| (pidfile.path().to_owned(), handed.add(pidfile.as_fd()))),
            signals: arrived.iter().map(|signal| *signal as i32).collect(),
        }
    }

    fn handed_generations<'a>(
        &'a self,
        handed: &mut Handed<'a>,
    ) -> BTreeMap<GenerationId, HandedGeneration> {
        let generations = self.processes.generations.iter();
        generations
            .map(|(id, handle)| {
                let process = handle.process.as_ref().map(|process| {
                    let pidfd = handed.add(process.pidfd.as_fd());
                    (process.pid, pidfd, handed.add(process.channel.as_fd()))
                });
                let generation = HandedGeneration {
                    reload: handle.reload,
                    process,
                    live: (handle.live.as_ref())
                        .map(|live| live.parts().map(|part| handed.add(part))),
                    last_words: (handle.last_words.as_ref())
                        .map(|words| handed.add(words.descriptor())),
                    is_deaf: handle.is_deaf,
                };
                (*id, generation)
            })
            .collect()
    }

    fn handed_workers<'a>(&'a self, handed: &mut Handed<'a>) -> BTreeMap<WorkerId, HandedWorker> {
        let workers = self.processes.workers.iter();
        workers
            .map(|(id, handle)| {
                let process = handle.process.as_ref();
                let worker = HandedWorker {
                    generation: handle.generation,
                    slot: handle.slot,
                    sheet: handle
                        .sheet
                        .as_ref()
                        .map(|sheet| handed.add(sheet.descriptor())),
                    process: process.map(|(pid, pidfd)| (*pid, handed.add(pidfd.as_fd()))),
                };
                (*id, worker)
            })
            .collect()
    }

    fn handed_readings(&self) -> BTreeMap<ReloadId, HandedReading> {
        let readings = self.readings.iter();
        readings
            .map(|(id, reading)| {
                let resources = &reading.resources;
                let reading = HandedReading {
                    config: reading.config.as_ref().clone(),
                    effective: reading.effective.to_vec(),
                    interpreter: resources.interpreter.clone(),
                    engine: resources.engine.clone(),
                    listeners: resources.listeners.clone(),
                    told: reading.told.clone(),
                    began: reading.began,
                };
                (*id, reading)
            })
            .collect()
    }
}
