//! A running rgunicorn in a directory of its own.
//!
//! Ends with the test, by process id, and then looks that nothing was left behind: neither a process nor a panic in
//! the log. A test that fails prints the log and keeps the directory.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    Address, Client, DEADLINE, Directory, Log, Process, Response, Save, Setup, descendants,
    eventually,
    guardian::{guard, release},
    phrases::{APPLIED, LISTENING, READY, SERVING},
    setup::complete,
    within,
};

/// A server that ended, or never came up.
#[derive(Debug)]
pub struct Exit {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub log: String,
    pub stdout: String,
}

pub struct Server {
    child: Child,
    process: Process,
    /// The error log: what the server writes to its standard error.
    log: Log,
    /// What it writes to its standard output, the access log if nothing else is configured.
    stdout: Log,
    /// Lines of the error log there were when the test last did something to the server.
    mark: Cell<usize>,
    /// Requests that the app has said it has begun with.
    begun: Cell<usize>,
    /// Who ran under it when it was told something: none of them may outlive it, whoever becomes their parent.
    family: RefCell<Vec<Process>>,
    config_path: PathBuf,
    python: Option<PathBuf>,
    pub directory: Directory,
}

impl Server {
    /// Whatever becomes of the test, the process ends with it. Its streams are piped.
    pub(super) fn follow(
        mut child: Child,
        directory: Directory,
        config_path: PathBuf,
        python: Option<PathBuf>,
    ) -> Self {
        guard(child.id());
        let copy = |name: &str| File::create(directory.path().join(name)).unwrap();
        let log = Log::follow(child.stderr.take().unwrap(), copy("stderr"));
        let stdout = Log::follow(child.stdout.take().unwrap(), copy("stdout"));
        Self {
            process: Process::find(child.id().cast_signed()).unwrap(),
            child,
            log,
            stdout,
            mark: Cell::new(0),
            begun: Cell::new(0),
            family: RefCell::default(),
            config_path,
            python,
            directory,
        }
    }

    /// The app of `apps/app.py` with these lines of TOML, a worker ready.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Setup::with(config).start()
    }

    // What it says.

    /// Waits for a line of the error log, written since the test last did something, that has the parts of
    /// `pattern` (parted by `…`) in this order.
    #[track_caller]
    pub fn says(&self, pattern: &str) -> String {
        self.says_times(1, pattern).remove(0)
    }

    /// Waits for `count` such lines.
    #[track_caller]
    pub fn says_times(&self, count: usize, pattern: &str) -> Vec<String> {
        let from = self.mark.get();
        let found = (self.log).wait(from, count, DEADLINE, |line| has_parts(line, pattern));
        found.unwrap_or_else(|| panic!("the log does not say ({count} times): {pattern}"))
    }

    /// Waits until an edit or a HUP is in force, and for the workers it replaced to be gone.
    #[track_caller]
    pub fn applied(&self) {
        self.says(APPLIED);
        eventually("what was replaced is gone", || {
            self.generations().len() <= 1
        });
    }

    /// Whether such a line is there now.
    pub fn has_said(&self, pattern: &str) -> bool {
        let from = self.mark.get();
        self.log
            .wait(from, 1, Duration::ZERO, |line| has_parts(line, pattern))
            .is_some()
    }

    /// All of the error log, as text.
    pub fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Waits for a line of the standard output.
    #[track_caller]
    pub fn prints(&self, pattern: &str) -> String {
        let found = (self.stdout).wait(0, 1, DEADLINE, |line| has_parts(line, pattern));
        found
            .unwrap_or_else(|| panic!("standard output has no: {pattern}"))
            .remove(0)
    }

    /// All of the standard output.
    pub fn printed(&self) -> String {
        self.stdout.lines().join("\n")
    }

    /// What is said from now on is what `says` looks at.
    pub fn from_now(&self) {
        self.mark.set(self.log.count());
    }

    // What is done to it.

    /// Saves new text for the config file, completed like the first.
    pub fn edit(&self, config: &str) {
        self.edit_by(Save::InPlace, config);
    }

    pub fn edit_by(&self, save: Save, config: &str) {
        let text = complete(config, self.python.as_deref(), self.directory.path());
        self.from_now();
        save.write(&self.config_path, &text);
    }

    /// Saves a text that is not completed: what a person who errs writes.
    pub fn edit_raw(&self, text: &str) {
        self.from_now();
        Save::InPlace.write(&self.config_path, text);
    }

    pub fn config_path(&self) -> &Path {
        &self.config_path
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.from_now();
        self.remember_family();
        self.process.signal(signal);
    }

    /// Waits for the end of the arbiter, and of all that it started.
    #[track_caller]
    pub fn ended(mut self) -> Exit {
        self.remember_family();
        let mut status = None;
        within(DEADLINE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.expect("the server does not end");
        for (name, log) in [("error", &self.log), ("output", &self.stdout)] {
            let is_complete = log.wait_for_end(DEADLINE);
            assert!(is_complete, "somebody holds the standard {name} open");
        }
        Exit {
            code: status.code(),
            log: self.log(),
            stdout: self.printed(),
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    // Who runs.

    /// The arbiter, or the wrapper it was started in.
    pub fn arbiter(&self) -> Process {
        self.process
    }

    /// Every process under the arbiter.
    pub fn below(&self) -> Vec<Process> {
        descendants(self.process.pid)
    }

    fn remember_family(&self) {
        self.family.borrow_mut().extend(self.below());
    }

    /// Generations: the arbiter's children that have children.
    pub fn generations(&self) -> Vec<Process> {
        let mut children = self.process.children();
        children.retain(|child| !child.children().is_empty());
        children
    }

    /// Process ids of the workers in the order in which they became ready since the test last did something.
    pub fn workers(&self) -> Vec<i32> {
        let from = self.mark.get();
        let ready = self
            .log
            .wait(from, 0, Duration::ZERO, |line| line.ends_with(READY));
        let lines = ready.unwrap_or_default();
        lines.iter().filter_map(|line| key(line, "pid")).collect()
    }

    // How it answers.

    /// Where it said that it listens, in order.
    #[track_caller]
    pub fn addresses(&self) -> Vec<Address> {
        let lines = self
            .log
            .wait(0, 1, DEADLINE, |line| line.contains(LISTENING));
        let lines = lines.expect("the log does not say where the server listens");
        lines.iter().map(|line| address(line)).collect()
    }

    #[track_caller]
    pub fn address(&self) -> Address {
        self.addresses().remove(0)
    }

    #[track_caller]
    pub fn port(&self) -> u16 {
        match self.address() {
            Address::Tcp(address) => address.port(),
            Address::Unix(path) => panic!("{} has no port", path.display()),
        }
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::to(&self.address())
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.client().get(target)
    }

    /// The body of the answer, which must be a 200.
    #[track_caller]
    pub fn text(&self, target: &str) -> String {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        response.text()
    }

    /// A connection whose request has reached the app of `apps/app.py` or `apps/asgi.py`; `target` has a query.
    #[track_caller]
    pub fn busy_with(&self, target: &str) -> Client {
        let number = self.begun.replace(self.begun.get() + 1);
        let mark = format!("begun-{number}");
        let mut client = self.client();
        client.send(format!(
            "GET {target}&begun={mark} HTTP/1.1\r\nHost: test\r\n\r\n"
        ));
        let mark = self.directory.path().join(mark);
        eventually("the app has the request", || mark.exists());
        client
    }

    /// The process id of the worker that answers.
    #[track_caller]
    pub fn worker(&self) -> i32 {
        self.text("/pid").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remember_family();
        let family = self.family.take();
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.process.signal(Signal::SIGQUIT);
        }
        let mut child_ended = || self.child.try_wait().is_ok_and(|status| status.is_some());
        let ended = within(Duration::from_secs(5), &mut child_ended);
        if !ended {
            self.process.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
        release(self.child.id());
        let all_gone = || family.iter().all(|process| !process.is_alive());
        let gone = within(Duration::from_secs(5), all_gone);
        for process in family.iter().filter(|process| process.is_alive()) {
            process.signal(Signal::SIGKILL);
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- error log ---\n{log}\n--- end of the error log ---");
            return;
        }
        assert!(ended, "the server did not end at SIGQUIT");
        assert!(gone, "the server left processes behind");
        assert!(
            !log.contains("panicked at"),
            "a panic is in the log:\n{log}"
        );
    }
}

/// The parts of `pattern` between `…`, in order. [`READY`] and [`SERVING`] are the last words of a line, so that neither
/// "not ready after 3s" nor "serving again" is taken for them.
fn has_parts(line: &str, pattern: &str) -> bool {
    let last = pattern.rsplit([' ', '…']).next();
    let is_missed = |word: &str| last == Some(word.trim_start()) && !line.ends_with(word);
    if is_missed(READY) || is_missed(SERVING) {
        return false;
    }
    let mut rest = line;
    pattern.split('…').map(str::trim).all(|part| {
        let found = rest.find(part);
        rest = found.map_or("", |at| &rest[at + part.len()..]);
        found.is_some()
    })
}

/// The value of `name=value` in a log line.
fn key(line: &str, name: &str) -> Option<i32> {
    let mut words = line.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn address(line: &str) -> Address {
    let place = line
        .split_once(LISTENING)
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap();
    if let Some(path) = place.strip_prefix("unix:") {
        return Address::Unix(PathBuf::from(path));
    }
    let address = place.strip_prefix("http://").unwrap_or(place);
    let address: SocketAddr = address
        .parse()
        .unwrap_or_else(|_| panic!("not an address: {line}"));
    Address::Tcp(address)
}
