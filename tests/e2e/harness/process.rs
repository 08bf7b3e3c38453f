//! Processes as the kernel tells of them in /proc: never signalled by name, only by id.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process at one time: the id together with its start, so that an id used again is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks after boot.
    started: u64,
}

impl Process {
    /// `None` when there is no such process.
    pub fn find(pid: i32) -> Option<Self> {
        let (_, _, started) = stat(pid)?;
        Some(Self { pid, started })
    }

    /// Runs still; a zombie does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, _, started)| state != 'Z' && started == self.started)
    }

    /// Gone and reaped: not even a zombie is left.
    pub fn is_reaped(self) -> bool {
        stat(self.pid).is_none_or(|(_, _, started)| started != self.started)
    }

    #[track_caller]
    pub fn signal(self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    /// The command line as `ps` shows it.
    pub fn title(self) -> String {
        let raw = fs::read(self.folder().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&raw).replace('\0', " ");
        text.trim().to_owned()
    }

    pub fn threads(self) -> usize {
        fs::read_dir(self.folder().join("task")).map_or(0, |tasks| tasks.count())
    }

    /// How often its threads went to sleep so far.
    pub fn sleeps(self) -> u64 {
        let tasks = fs::read_dir(self.folder().join("task")).unwrap().flatten();
        tasks.filter_map(|task| sleeps_of(&task.path())).sum()
    }

    /// How often its first thread did.
    pub fn first_thread_sleeps(self) -> u64 {
        sleeps_of(&self.folder()).unwrap()
    }

    /// Processor time used so far, in ticks of which a second has a hundred; proc_pid_stat(5).
    pub fn cpu_ticks(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let (user, system) = (fields[11], fields[12]);
        user.parse::<u64>().unwrap() + system.parse::<u64>().unwrap()
    }

    /// The most that was ever resident (VmHWM of proc_pid_status(5)), in bytes.
    pub fn peak_memory(self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
        kibibytes.parse::<usize>().unwrap() << 10
    }

    pub fn open_files(self) -> io::Result<usize> {
        Ok(fs::read_dir(self.folder().join("fd"))?.count())
    }

    /// How many there may be: the soft limit; proc_pid_limits(5).
    pub fn open_files_max(self) -> usize {
        let limits = fs::read_to_string(self.folder().join("limits")).unwrap();
        let mut lines = limits.lines();
        let line = lines.find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.unwrap().split_whitespace().next();
        soft.unwrap().parse().unwrap()
    }

    /// Children, in no order.
    pub fn children(self) -> Vec<Process> {
        all()
            .into_iter()
            .filter(|(_, parent)| *parent == self.pid)
            .map(|(process, _)| process)
            .collect()
    }

    fn folder(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.pid))
    }
}

/// All processes below `pid`.
pub fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for (child, _) in all.iter().filter(|(_, its_parent)| *its_parent == parent) {
            found.push(*child);
            parents.push(child.pid);
        }
    }
    found
}

/// Every process with its parent's id.
fn all() -> Vec<(Process, i32)> {
    let folders = fs::read_dir("/proc").unwrap().flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let (_, parent, started) = stat(pid)?;
        Some((Process { pid, started }, parent))
    })
    .collect()
}

/// State, parent and start of a process (proc_pid_stat(5), fields 3, 4 and 22).
fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain anything, parentheses too.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some((
        fields.first()?.chars().next()?,
        fields.get(1)?.parse().ok()?,
        fields.get(19)?.parse().ok()?,
    ))
}

/// voluntary_ctxt_switches of proc_pid_status(5). None: the thread is gone.
fn sleeps_of(task: &Path) -> Option<u64> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    count.trim().parse().ok()
}
