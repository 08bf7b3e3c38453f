//! USR2: the program on disk takes over, in place: same pid, same children, same sockets. Workers serve throughout.
//!
//! All that can go wrong is tried before the jump: the new program is run with the very state that it will take over.

use std::{
    collections::{BTreeMap, VecDeque},
    env, io,
    os::fd::{AsFd, AsRawFd},
    rc::Rc,
    sync::Arc,
};

use nix::sys::signal::Signal;

use super::{DISREGARDED, SIGNALS, Shared, Shell, StartError};
use crate::{
    admin::{Outcome, Upgrade},
    arbiter::{
        GenerationProcess, clock,
        commands::Commands,
        core::{GenerationId, ReloadId, WorkerId},
        doors::Doors,
        listeners::Listeners,
        pidfile::Pidfile,
        processes::{GenerationHandle, Processes, WorkerHandle},
        reading::{self, Reading, Resources},
        running::Notice,
        service_manager::ServiceManager,
        statsd::Statsd,
        upgrade::{
            self, FORMAT, HandedGeneration, HandedReading, HandedShared, HandedWorker, Invocation,
            STATE_VARIABLE, State,
        },
        watcher::Watcher,
    },
    config::ConfigLoader,
    error, info,
    sys::{
        Bell, Handed, Identity, Lifeline, PidFd, SignalBell, adopt_descriptor, become_subreaper,
        disregard, execute, hold_signals, memory_file, release_signals, set_process_title,
    },
    warning,
    wire::{ArbiterEnd, LastWords, LivePage, Scoreboard, StackSheet},
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
            && self.watcher.hand_over().is_some()
            && channels.all(|process| !process.channel.wants_to_write())
    }

    /// Returns only when it did not work.
    fn try_upgrade(&self, arrived: &[Signal]) -> Result<std::convert::Infallible, String> {
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
            seen: self.watcher.hand_over().flatten(),
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

    /// Goes on where the program before left off. What fails here was tried before: then the server ends, its workers
    /// finish, and whoever started it starts it again.
    pub(in crate::arbiter) fn resume(
        loader: Box<dyn ConfigLoader>,
        state: State,
    ) -> Result<Self, StartError> {
        Self::try_resume(loader, state)
            .map_err(|error| StartError::Other(format!("the upgrade failed: {error}")))
    }

    fn try_resume(loader: Box<dyn ConfigLoader>, state: State) -> io::Result<Self> {
        let now = clock::now();
        let readings = resumed_readings(state.readings)?;
        let serving = state.serving.and_then(|id| readings.get(&id).cloned());
        let serving = serving.ok_or_else(|| io::Error::other("nothing serves"))?;
        let config = Rc::clone(&serving.config);
        crate::telemetry::init(&config.log)?;
        let signals = SignalBell::install(&SIGNALS)?;
        disregard(&DISREGARDED)?;
        become_subreaper()?;
        let mut watcher = Watcher::new(loader.path(), now)?;
        watcher.apply(&config.chdir, &config.reload);
        watcher.resume(state.seen, now);
        let listeners = Listeners::resume(state.listeners)?;
        let kept: Vec<String> = listeners
            .worth_keeping()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let mut manager = ServiceManager::find(now, kept);
        manager.is_ready_already();
        let shared = resumed_shared(&state.shared)?;
        let pidfile = state.pidfile.map(|(path, number)| -> io::Result<Pidfile> {
            Pidfile::resume(path, adopt_descriptor(number)?).map_err(io::Error::other)
        });
        crate::telemetry::count_in(shared.board.another()?);
        let mut shell = Self {
            loader,
            invocation: Invocation::find()?,
            wants_upgrade: false,
            core: state.core,
            events: VecDeque::new(),
            processes: resumed_processes(state.generations, state.workers)?,
            commands: Commands::default(),
            readings,
            reloads: state.reloads,
            serving: state.serving,
            settling: None,
            listeners,
            admin: super::admin::admin(&config, &shared.board, state.started)?,
            doors: Doors::resume(state.doors)?,
            history: state.history,
            started: state.started,
            log_level: None,
            stack_askers: Arc::default(),
            upgrade: Some(Upgrade {
                upgrade: state.upgrade,
                outcome: Outcome::Done,
                reason: None,
            }),
            shared,
            signals,
            watcher,
            pidfile: pidfile.transpose()?,
            manager,
            scales: 0,
            scale_failure: None,
            trouble: None,
            tally: state.tally,
            statsd: Statsd::default(),
            notice: Notice::default(),
            noticed: None,
            last_boot: state.last_boot,
            next_sample: None,
            is_resting: false,
            exit: None,
        };
        shell.admin.resume_events(state.events);
        set_process_title(&format!("rgunicorn: arbiter [{}]", config.proc_name));
        shell.own_error_log(&serving);
        let backlogs = shell.admin.backlogs();
        (shell.statsd).apply(&config.statsd, &shell.shared.board, backlogs);
        // Who asks from the first moment on is told what goes on, and not that a server starts.
        shell.tell_admin();
        shell.open_admin(&config.admin);
        release_signals(&SIGNALS)?;
        info!(
            "upgrade done: rgunicorn {} goes on for {}, workers={}",
            env!("CARGO_PKG_VERSION"),
            state.version,
            shell.core.workers().count()
        );
        for signal in state.signals {
            if let Ok(signal) = Signal::try_from(signal) {
                shell.on_signal(signal);
            }
        }
        // Ends and changes during the jump rang for nobody.
        shell.shared.bell.ring();
        shell.on_signal(Signal::SIGCHLD);
        shell.perceive();
        // The log level that somebody asked for held until now.
        shell.post_to_all(false);
        Ok(shell)
    }
}

fn resumed_readings(
    handed: BTreeMap<ReloadId, HandedReading>,
) -> io::Result<BTreeMap<ReloadId, Reading>> {
    let resumed = |(id, reading): (ReloadId, HandedReading)| {
        let config = reading.config;
        let identity = Identity::resolve(config.user.as_deref(), config.group.as_deref());
        let resources = Resources {
            interpreter: reading.interpreter,
            engine: reading.engine,
            identity: identity.map_err(|error| io::Error::other(reading::told(&error)))?,
            listeners: reading.listeners,
        };
        let reading = Reading {
            config: Rc::new(config),
            effective: reading.effective.into(),
            resources: Rc::new(resources),
            told: reading.told,
            began: reading.began,
        };
        Ok((id, reading))
    };
    handed.into_iter().map(resumed).collect()
}

fn resumed_processes(
    generations: BTreeMap<GenerationId, HandedGeneration>,
    workers: BTreeMap<WorkerId, HandedWorker>,
) -> io::Result<Processes> {
    let mut processes = Processes::default();
    for (id, handed) in generations {
        let process = match handed.process {
            Some((pid, pidfd, channel)) => Some(GenerationProcess {
                pid,
                pidfd: PidFd::received(adopt_descriptor(pidfd)?),
                channel: ArbiterEnd::open(adopt_descriptor(channel)?),
            }),
            None => None,
        };
        let live = match handed.live {
            Some([page, receiver, sender]) => Some(LivePage::resume([
                adopt_descriptor(page)?,
                adopt_descriptor(receiver)?,
                adopt_descriptor(sender)?,
            ])?),
            None => None,
        };
        let last_words = handed.last_words.map(adopt_descriptor).transpose()?;
        let last_words = last_words.map(LastWords::open);
        let handle = GenerationHandle {
            reload: handed.reload,
            process,
            live,
            last_words,
            is_deaf: handed.is_deaf,
        };
        processes.generations.insert(id, handle);
    }
    for (id, handed) in workers {
        let process = match handed.process {
            Some((pid, pidfd)) => Some((pid, PidFd::received(adopt_descriptor(pidfd)?))),
            None => None,
        };
        let handle = WorkerHandle {
            generation: handed.generation,
            slot: handed.slot,
            sheet: handed.sheet.map(resumed_sheet).transpose()?,
            peak_bytes: 0,
            oom_kills_before: crate::sys::oom_kills(),
            process,
        };
        processes.workers.insert(id, handle);
    }
    Ok(processes)
}

fn resumed_sheet(number: i32) -> io::Result<Arc<StackSheet>> {
    StackSheet::open(adopt_descriptor(number)?).map(Arc::new)
}

fn resumed_shared(handed: &HandedShared) -> io::Result<Shared> {
    Ok(Shared {
        board: Scoreboard::open(adopt_descriptor(handed.board)?)?,
        bell: Bell::open(adopt_descriptor(handed.bell)?),
        lifeline: Lifeline::resume(adopt_descriptor(handed.lifeline)?),
        lifeline_end: adopt_descriptor(handed.lifeline_end)?,
        lobby: (
            adopt_descriptor(handed.lobby.0)?,
            adopt_descriptor(handed.lobby.1)?,
        ),
    })
}
