//! An arbiter reduced to what a generation sees of it: the channel, the scoreboard, the bell, the lifeline, the logs.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::waitpid,
    unistd::Pid,
};
use rgunicorn::{
    arbiter::{GenerationProcess, engine, interpreter},
    config::{Config, LiveConfig},
    sys::{Bell, Lifeline, PidFd, seqpacket_pair},
    wire::{
        FORMAT, ForkDescriptors, FromGeneration, LIVE_SIGNAL, LastWords, LivePage, LogDescriptors,
        Received, Scoreboard, Slot, StackSheet, StartDescriptors, ToGeneration, WorkerSettings,
        WorkerState,
    },
};
use tempfile::TempDir;

use crate::config::config;

/// The number that every rig gives its generation.
pub(crate) const GENERATION: u64 = 3;
/// No step of these tests takes so long, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with the app's files, readable by every user.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// With one module, `site_app`.
    pub(crate) fn with_module(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("site_app.py"), source).unwrap();
        Self { folder }
    }

    pub(crate) fn config(&self, app: &str) -> Config {
        config(app, self.folder.path())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn error_log(&self) -> String {
        fs::read_to_string(self.file("error.log")).unwrap_or_default()
    }
}

pub(crate) struct Rig {
    pub(crate) process: GenerationProcess,
    pub(crate) scoreboard: Scoreboard,
    bell: Bell,
    pub(crate) last_words: LastWords,
    live: LivePage,
    lifeline: Option<Lifeline>,
    /// Where workers write their stacks.
    pub(crate) sheets: BTreeMap<u64, Arc<StackSheet>>,
    /// Kept open, as the arbiter does.
    _lobby: (OwnedFd, OwnedFd),
}

impl Rig {
    /// Spawns a generation, hears its `Hello` and tells it to start.
    pub(crate) fn start(config: &Config) -> Self {
        let interpreter = interpreter::find(config, None).unwrap();
        let engine = engine::find().unwrap();
        let mut process = GenerationProcess::spawn(&interpreter, &engine, config).unwrap();
        let hello = receive(&mut process);
        let FromGeneration::Hello {
            python,
            engine,
            format,
        } = hello.0
        else {
            panic!("{hello:?} came first");
        };
        assert_eq!(format, FORMAT);
        assert_eq!(python, interpreter.version);
        assert_eq!(engine, env!("CARGO_PKG_VERSION"));

        let scoreboard = Scoreboard::create().unwrap();
        let bell = Bell::create().unwrap();
        let (lifeline, lifeline_end) = Lifeline::create().unwrap();
        let lobby = seqpacket_pair().unwrap();
        let live = LivePage::create(&LiveConfig::of(config), &logs(config)).unwrap();
        let [live_page, waiting_logs] = live.descriptors();
        let settings = Box::new(WorkerSettings {
            generation: GENERATION,
            config: std::sync::Arc::new(config.clone()),
            imports_app: config.preload,
            listeners: Vec::new(),
        });
        let last_words = LastWords::create().unwrap();
        let descriptors = StartDescriptors {
            scoreboard: scoreboard.descriptor(),
            bell: bell.as_fd(),
            lifeline: lifeline_end.as_fd(),
            lobby_sender: lobby.0.as_fd(),
            lobby_receiver: lobby.1.as_fd(),
            last_words: last_words.descriptor(),
            live_page,
            waiting_logs,
        };
        let descriptors = descriptors.with_listeners([]);
        process
            .channel
            .send(ToGeneration::Start(settings), &descriptors)
            .unwrap();
        Self {
            process,
            scoreboard,
            bell,
            last_words,
            live,
            lifeline: Some(lifeline),
            sheets: BTreeMap::new(),
            _lobby: lobby,
        }
    }

    /// Posts this configuration, and opens the logs anew.
    pub(crate) fn post(&self, config: &Config) {
        let logs = logs(config);
        self.live
            .post(&LiveConfig::of(config), Some(&logs))
            .unwrap();
        self.process.pidfd.signal(LIVE_SIGNAL).unwrap();
    }

    pub(crate) fn receive(&mut self) -> FromGeneration {
        receive(&mut self.process).0
    }

    pub(crate) fn expect_prepared(&mut self) {
        assert_eq!(self.receive(), FromGeneration::Prepared);
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.scoreboard.slots()[slot as usize]
    }

    /// Forks a worker into the slot of its number.
    pub(crate) fn fork(&mut self, worker: u64) -> (u32, PidFd) {
        let slot = worker as u32;
        self.scoreboard.assign(slot, worker, GENERATION);
        let order = ToGeneration::Fork { worker, slot };
        let sheet = Arc::new(StackSheet::create().unwrap());
        let descriptors = ForkDescriptors {
            stack_sheet: sheet.descriptor(),
        };
        self.process
            .channel
            .send(order, &descriptors.into_list())
            .unwrap();
        self.sheets.insert(worker, sheet);
        let (message, mut descriptors) = receive(&mut self.process);
        let FromGeneration::Forked { worker: named, pid } = message else {
            panic!("{message:?} answers the order to fork");
        };
        assert_eq!(named, worker);
        (pid, PidFd::received(descriptors.pop().unwrap()))
    }

    /// Forks a worker and waits until it says that it is ready.
    pub(crate) fn fork_ready(&mut self, worker: u64) -> (u32, PidFd) {
        let forked = self.fork(worker);
        while self.slot(worker as u32).state() != WorkerState::Ready {
            wait_readable(self.bell.as_fd(), "the bell");
            self.bell.drain();
        }
        forked
    }

    /// Waits for the end of a worker; its raw status.
    pub(crate) fn expect_exit(&mut self, expected: u64) -> i32 {
        match self.receive() {
            FromGeneration::Exited { worker, status, .. } if worker == expected => status,
            other => panic!("{other:?} instead of the exit of worker {expected}"),
        }
    }

    /// Orders the generation to leave, and waits for its exit code.
    pub(crate) fn retire(mut self) -> i32 {
        self.process
            .channel
            .send(ToGeneration::Retire, &[])
            .unwrap();
        self.wait()
    }

    /// The arbiter dies: the channel and the lifeline close. Waits for the generation's exit code.
    pub(crate) fn abandon(mut self) -> i32 {
        self.lifeline = None;
        let GenerationProcess {
            pid,
            pidfd,
            channel,
        } = self.process;
        drop(channel);
        exit_code_of(pid, &pidfd)
    }

    pub(crate) fn wait(self) -> i32 {
        exit_code_of(self.process.pid, &self.process.pidfd)
    }
}

/// The error log is a file beside the app; the access log is off.
fn logs(config: &Config) -> LogDescriptors {
    let error = OpenOptions::new()
        .append(true)
        .create(true)
        .open(config.chdir.join("error.log"));
    LogDescriptors {
        access: File::open("/dev/null").unwrap().into(),
        error: error.unwrap().into(),
    }
}

fn exit_code_of(pid: u32, pidfd: &PidFd) -> i32 {
    wait_readable(pidfd.as_fd(), "the end of the generation");
    match waitpid(Pid::from_raw(pid as i32), None).unwrap() {
        nix::sys::wait::WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

fn receive(process: &mut GenerationProcess) -> (FromGeneration, Vec<OwnedFd>) {
    loop {
        match process.channel.receive().unwrap() {
            Received::Message(message, descriptors) => return (message, descriptors),
            Received::Empty => wait_readable(process.channel.as_fd(), "the generation"),
            Received::Closed => panic!("the generation is gone"),
        }
    }
}

/// Waits until `fact` is true.
pub(crate) fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{what} was not heard of in {PATIENCE:?}");
        let mut entries = [PollFd::new(descriptor, PollFlags::POLLIN)];
        if poll(&mut entries, PollTimeout::try_from(left).unwrap()).is_ok_and(|ready| ready > 0) {
            return;
        }
    }
}

/// The command line that `ps` shows.
pub(crate) fn title_of(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let text = String::from_utf8_lossy(&line);
    text.trim_end_matches('\0').to_owned()
}
