//! After the jump of an upgrade: the new program goes on with the state that the one before left to it.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    rc::Rc,
    sync::Arc,
};

use nix::sys::signal::Signal;

use super::{DISREGARDED, SIGNALS, Shared, Shell, StartError, orders::Orders};
use crate::{
    admin::{Outcome, Upgrade},
    arbiter::{
        GenerationProcess,
        causes::with_causes,
        clock,
        core::{GenerationId, ReloadId, WorkerId},
        doors::Doors,
        hook_commands::Commands,
        listeners::Listeners,
        pidfile::Pidfile,
        processes::{GenerationHandle, Processes, WorkerHandle},
        reading::{self, Reading, Resources},
        running::Notice,
        service_manager::ServiceManager,
        statsd::Statsd,
        upgrade::{HandedGeneration, HandedReading, HandedShared, HandedWorker, Invocation, State},
        watcher::Watcher,
    },
    config::ConfigLoader,
    info,
    sys::{
        Bell, Identity, Lifeline, PidFd, SignalBell, adopt_descriptor, become_subreaper, disregard,
        release_signals, set_process_title,
    },
    telemetry, warning,
    wire::{ArbiterEnd, LastWords, LivePage, Scoreboard, StackSheet},
};

impl Shell {
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
        let owner = reading::owner(serving.resources.identity.as_ref());
        let error_log = telemetry::init(&config.log, owner);
        let signals = SignalBell::install(&SIGNALS)?;
        disregard(&DISREGARDED)?;
        become_subreaper()?;
        let mut watcher = Watcher::new(loader.path(), now)?;
        watcher.apply(&config.chdir, &config.reload, now);
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
        let distrusted = reading::distrusted(serving.resources.identity.as_ref());
        let pidfile = state.pidfile.map(|(path, number)| -> io::Result<Pidfile> {
            Pidfile::resume(path, adopt_descriptor(number)?, distrusted).map_err(io::Error::other)
        });
        telemetry::count_in(shared.board.another()?);
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
            admin: super::admin::closed_admin(&config, &shared.board, state.started)?,
            doors: Doors::resume(state.doors)?,
            history: state.history,
            started: state.started,
            orders: Orders::default(),
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
        if let Err(problem) = error_log {
            // Nothing that other programs do meanwhile may end the server.
            shell.share_error_log(&serving);
            warning!("`log.error` cannot be opened: {problem}; the old one stays in use");
        }
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
            identity: identity.map_err(|error| io::Error::other(with_causes(&error)))?,
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
