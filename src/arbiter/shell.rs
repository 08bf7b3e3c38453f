//! The shell around the core: one poll loop that turns what happens into events, and orders into system calls.
//!
//! It decides nothing. The descriptors it polls are hints: after each wake-up it looks at everything, so no event can be
//! lost by looking at the wrong moment.

mod admin;
mod counting;
mod history;
mod hooks;
mod live;
mod obey;
mod orders;
mod perceive;
mod reload;
mod resume;
mod scale;
mod service;
mod stacks;
mod upgrade;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::{
    activation,
    causes::with_causes,
    clock,
    core::{Core, Event, GenerationId, Moment, ReloadId},
    doors::Doors,
    history::History,
    hook_commands::Commands,
    listeners::{ListenError, Listeners},
    open_files,
    pidfile::Pidfile,
    processes::Processes,
    reading::{self, Reading, Resources, Unfit},
    report::Reporter,
    running::{Notice, Running},
    service_manager::ServiceManager,
    statsd::Statsd,
    tally::Tally,
    upgrade::Invocation,
    watcher::Watcher,
};
use crate::{
    admin::{Admin, Outcome, Upgrade},
    config::{Config, ConfigLoader, Loaded, LogLevel, effective, forget_schema},
    critical, info,
    sys::{
        self, Bell, Identity, Lifeline, SignalBell, become_subreaper, disregard, seqpacket_pair,
        set_process_title,
    },
    warning,
    wire::{SLOTS_MAX, Scoreboard},
};
use orders::Orders;

/// Signals that mean something to the arbiter.
const SIGNALS: [Signal; 9] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Of a log file that reaches RLIMIT_FSIZE: writing then fails, as on a full disk, instead of ending the server. Python does the
/// same.
const DISREGARDED: [Signal; 1] = [Signal::SIGXFSZ];

pub(super) struct Shell {
    loader: Box<dyn ConfigLoader>,
    invocation: Invocation,
    /// USR2 arrived and waits for its moment.
    wants_upgrade: bool,
    core: Core,
    /// Facts that the core has not taken in yet.
    events: VecDeque<Event>,
    processes: Processes,
    commands: Commands,
    /// Of every generation that runs, and what was read last.
    readings: BTreeMap<ReloadId, Reading>,
    reloads: u64,
    /// Whose configuration is in force.
    serving: Option<ReloadId>,
    /// A change within the generation that is not carried out yet.
    settling: Option<ReloadId>,
    /// All was as it should be when last looked at, and the memory of getting there was given back.
    is_resting: bool,
    listeners: Listeners,
    shared: Shared,
    signals: SignalBell,
    watcher: Watcher,
    pidfile: Option<Pidfile>,
    manager: ServiceManager,
    admin: Admin,
    doors: Doors,
    /// For the admin interface.
    history: History,
    started: Moment,
    orders: Orders,
    /// The last one, for the admin interface.
    upgrade: Option<Upgrade>,
    /// Why workers are missing; `None` once none is.
    trouble: Option<String>,
    next_sample: Option<Moment>,
    tally: Tally,
    statsd: Statsd,
    notice: Notice,
    /// What the notice is about.
    noticed: Option<(ReloadId, GenerationId, bool)>,
    /// From fork to ready, the last time.
    last_boot: Option<Duration>,
    exit: Option<u8>,
}

/// What all generations and workers are given, and the arbiter keeps.
struct Shared {
    board: Scoreboard,
    bell: Bell,
    /// Closes with the arbiter.
    lifeline: Lifeline,
    lifeline_end: OwnedFd,
    /// One end to send, one to receive.
    lobby: (OwnedFd, OwnedFd),
}

impl Shared {
    fn create() -> io::Result<Self> {
        let (lifeline, lifeline_end) = Lifeline::create()?;
        Ok(Self {
            board: Scoreboard::create()?,
            bell: Bell::create()?,
            lifeline,
            lifeline_end,
            lobby: seqpacket_pair()?,
        })
    }
}

/// Why the server cannot even begin.
#[derive(Debug)]
pub(super) enum StartError {
    /// Ready to print.
    Config(String),
    Other(String),
}

impl Shell {
    /// Everything up to the first order: after this the server can be stopped as any other.
    pub(super) fn start(loader: Box<dyn ConfigLoader>) -> Result<Self, StartError> {
        let failed = |error: &dyn std::error::Error| StartError::Other(with_causes(error));
        let now = clock::now();
        let invocation = Invocation::find().map_err(|error| failed(&error))?;
        let mut watcher = Watcher::new(loader.path(), now).map_err(|error| failed(&error))?;
        let text = loader.text().map_err(StartError::Config)?;
        let loaded = loader.load(text).map_err(StartError::Config)?;
        let config = &loaded.config;
        open_error_log(&loaded).map_err(|unfit| StartError::Other(unfit.told(&loaded.origins)))?;
        let signals = SignalBell::install(&SIGNALS).map_err(|error| failed(&error))?;
        disregard(&DISREGARDED).map_err(|error| failed(&error))?;
        become_subreaper().map_err(|error| failed(&error))?;
        let shared = Shared::create().map_err(|error| failed(&error))?;
        shared.board.server().start(clock::unix_us());
        let counted = shared.board.another().map_err(|error| failed(&error))?;
        crate::telemetry::count_in(counted);
        let mut listeners = Listeners::default();
        listeners.adopt_passed(activation::passed());
        let manager = ServiceManager::find(now, listeners.kept());
        let admin =
            admin::closed_admin(config, &shared.board, now).map_err(|error| failed(&error))?;
        let resources = open_patiently(&loaded, &mut listeners)
            .map_err(|unfit| StartError::Other(unfit.told(&loaded.origins)))?;
        listeners.forget_kept();
        let distrusted = reading::distrusted(resources.identity.as_ref());
        let pidfile = (config.pidfile.as_deref())
            .map(|path| Pidfile::create(path, distrusted))
            .transpose()
            .map_err(|error| failed(&error))?;
        watcher.apply(&config.chdir, &config.reload, now);
        let shortage = open_files::shortage(&loaded);
        let reading = Reading {
            effective: effective(&loaded.config, &loaded.origins).into(),
            config: Rc::new(loaded.config),
            resources: Rc::new(resources),
            told: String::new(),
            began: now,
        };
        let mut shell = Self {
            loader,
            invocation,
            wants_upgrade: false,
            core: Core::new(SLOTS_MAX),
            events: VecDeque::new(),
            processes: Processes::default(),
            commands: Commands::default(),
            readings: BTreeMap::from([(ReloadId(0), reading.clone())]),
            reloads: 0,
            serving: None,
            settling: None,
            is_resting: false,
            listeners,
            shared,
            signals,
            watcher,
            pidfile,
            manager,
            admin,
            doors: Doors::default(),
            history: History::default(),
            started: now,
            orders: Orders::default(),
            upgrade: None,
            trouble: None,
            next_sample: None,
            tally: Tally::default(),
            statsd: Statsd::default(),
            notice: Notice::default(),
            noticed: None,
            last_boot: None,
            exit: None,
        };
        for note in &loaded.notes {
            crate::telemetry::line(note.level, format_args!("{}", note.text));
        }
        shell.begin(&reading);
        if let Some(shortage) = shortage {
            warning!("{shortage}");
        }
        Ok(shell)
    }

    fn begin(&mut self, reading: &Reading) {
        let config = &reading.config;
        set_process_title(&format!("rgunicorn: arbiter [{}]", config.proc_name));
        let backlogs = self.admin.backlogs();
        self.statsd
            .apply(&config.statsd, &self.shared.board, backlogs);
        let python = &reading.resources.interpreter;
        info!(
            "rgunicorn {} starting with Python {} ({}, from {})",
            env!("CARGO_PKG_VERSION"),
            python.version,
            python.path.display(),
            python.origin
        );
        for address in self.listeners.addresses(&reading.resources.listeners) {
            info!("listening at {address}");
        }
        self.open_admin(&config.admin);
        let mut actions = Vec::new();
        self.core
            .boot(clock::now(), reading::rules(config), &mut actions);
        self.obey(actions);
    }

    /// Serves until the end; the exit code.
    pub(super) fn run(mut self) -> u8 {
        loop {
            self.events.push_back(Event::Tick);
            self.take_events();
            self.tell_settled();
            self.tell_running();
            self.tell_manager();
            self.count_reloads();
            self.tell_admin();
            self.upgrade_when_possible();
            self.rest();
            if let Some(code) = self.exit {
                self.finish_hooks();
                info!("stopped");
                return code;
            }
            self.wait();
            self.perceive();
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let mut actions = Vec::new();
            self.core.step(clock::now(), event, &mut actions);
            self.obey(actions);
        }
    }

    /// A change within the generation is done when as many workers serve as are wanted, and go by it.
    fn tell_settled(&mut self) {
        if self.core.is_settled() {
            self.trouble = None;
        }
        if let Some(reload) = self.settling
            && self.core.is_settled()
            && self.live_is_taken()
        {
            self.settling = None;
            self.reporter().tell_done(reload);
            self.history
                .conclude(reload, clock::now(), Outcome::Done, None, None);
            self.tell_reload_done(reload);
        }
    }

    /// Once all is as it should be, an arbiter has little to do, and gives back the memory that getting there took.
    fn rest(&mut self) {
        let is_settled = self.core.is_settled();
        if is_settled && !self.is_resting {
            if let Err(error) = sys::release_program_files() {
                crate::debug!("the program files stay in memory: {error}");
            }
            forget_schema();
            sys::trim_heap();
        }
        self.is_resting = is_settled;
    }

    /// For `rgunicorn plan`.
    fn tell_running(&mut self) {
        let Some(generation) = self.core.candidate().or_else(|| self.core.serving()) else {
            return;
        };
        let Some(handle) = self.processes.generations.get(&generation) else {
            return;
        };
        let is_booting = self.core.candidate().is_some();
        let about = (handle.reload, generation, is_booting);
        let Some(reading) = self.readings.get(&handle.reload) else {
            return;
        };
        if self.noticed == Some(about) {
            return;
        }
        let running = Running {
            pid: std::process::id(),
            standing: self.loader.standing(),
            generation: generation.0,
            generation_pid: handle.process.as_ref().map_or(0, |process| process.pid),
            is_booting,
            config: Config::clone(&reading.config),
            boot: self.last_boot,
            admin: self.doors.path().map(Into::into),
        };
        self.noticed = Some(about);
        if let Err(problem) = self.notice.tell(&running) {
            // The server serves all the same.
            warning!("`rgunicorn plan` will not know what runs: {problem}");
        }
    }

    /// Sleeps until something happens or is due.
    fn wait(&mut self) {
        let now = clock::now();
        let due = self
            .core
            .deadline(now)
            .into_iter()
            .chain(self.next_sample)
            .chain(self.tally.next_look)
            .chain(self.manager.deadline())
            .chain(self.commands.deadline())
            .fold(self.watcher.deadline(), Moment::min);
        // Rounded up, or a deadline less than a millisecond away would be polled for again and again.
        let timeout = due.since(now) + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut entries = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.admin.bell(), PollFlags::POLLIN),
        ];
        let watched = self.watcher.descriptor();
        entries.extend(watched.map(|watched| PollFd::new(watched, PollFlags::POLLIN)));
        for generation in self.processes.generations.values() {
            if let Some(process) = generation.process.as_ref().filter(|_| !generation.is_deaf) {
                let mut wanted = PollFlags::POLLIN;
                wanted.set(PollFlags::POLLOUT, process.channel.wants_to_write());
                entries.push(PollFd::new(process.channel.as_fd(), wanted));
            }
        }
        self.admin.note_waiting();
        // Interrupted or not: what happened is looked for, not told.
        let _ = poll(&mut entries, timeout);
        self.admin.note_busy();
    }

    fn reporter(&self) -> Reporter<'_> {
        Reporter {
            now: clock::now(),
            processes: &self.processes,
            board: &self.shared.board,
            readings: &self.readings,
            serving: self.serving,
        }
    }

    fn serving_config(&self) -> Option<&Rc<Config>> {
        let reading = self.readings.get(&self.serving?)?;
        Some(&reading.config)
    }

    /// The candidate's reading, when there is one.
    fn candidate_reload(&self) -> Option<ReloadId> {
        let handle = self.processes.generations.get(&self.core.candidate()?)?;
        Some(handle.reload)
    }
}

/// How long an address may be in use at the start: the workers of a server that died give it up when they notice that.
const ADDRESS_TIME_MAX: Duration = Duration::from_secs(2);
const ADDRESS_PAUSE: Duration = Duration::from_millis(20);

fn open_error_log(loaded: &Loaded) -> Result<(), Unfit> {
    let config = &loaded.config;
    let identity = Identity::resolve(config.user.as_deref(), config.group.as_deref())?;
    crate::telemetry::init(&config.log, reading::owner(identity.as_ref()))
        .map_err(|source| reading::unfit_log("log.error", &config.log.error, source))
}

/// The resources of the first reading.
fn open_patiently(loaded: &Loaded, listeners: &mut Listeners) -> Result<Resources, Unfit> {
    let since = clock::now();
    loop {
        match Resources::open(loaded, listeners) {
            Err(Unfit::Listen(ListenError::InUse { .. }))
                if clock::now().since(since) < ADDRESS_TIME_MAX =>
            {
                std::thread::sleep(ADDRESS_PAUSE);
            }
            other => return other,
        }
    }
}

/// Tells why the server cannot begin; the exit code.
pub(super) fn tell_start_error(error: &StartError) -> u8 {
    match error {
        StartError::Config(problems) => crate::telemetry::block(
            LogLevel::Critical,
            format_args!("cannot start: the configuration has problems"),
            problems,
        ),
        StartError::Other(reason) => critical!("cannot start: {reason}"),
    }
    1
}
