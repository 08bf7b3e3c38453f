//! What runs, for others to look at: `rgunicorn plan` compares a file with it.
//!
//! It is kept in anonymous memory of the arbiter (a memfd) that `/proc/<pid>/fd` leads to. So it is never out of date,
//! nothing of it is left behind, no two servers can get into each other's way, and whoever may read it could read the
//! environment of the server, too (proc_pid_fd(5)).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Standing},
    sys::{read_file, resident_bytes},
};

const NAME: &str = "rgunicorn-running";
/// Far more than a configuration and an environment take: a stranger's process may pass itself off as a server.
const BYTES_MAX: u64 = 16 << 20;

/// A server and its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    pub standing: Standing,
    /// The generation that an edit is compared with: the one that boots, else the one that serves.
    pub generation: u64,
    pub generation_pid: u32,
    pub is_booting: bool,
    pub config: Config,
    /// How long the last worker took from its fork to ready.
    pub boot: Option<Duration>,
    /// The UNIX socket of its admin interface.
    pub admin: Option<PathBuf>,
}

/// Holds what was told last.
#[derive(Debug, Default)]
pub(super) struct Notice {
    told: Option<File>,
}

impl Notice {
    /// In new memory each time, so that nobody reads half of it for long.
    pub(super) fn tell(&mut self, running: &Running) -> io::Result<()> {
        let mut file = File::from(memfd_create(NAME, MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&serde_json::to_vec(running)?)?;
        self.told = Some(file);
        Ok(())
    }
}

/// The servers that have this configuration file and that this user may look into.
pub fn find(file: &Path) -> Vec<Running> {
    let wanted = canonical(file);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(of_pid)
        .filter(|running| {
            let theirs = running.standing.file.as_deref();
            theirs.is_some_and(|theirs| canonical(theirs) == wanted)
        })
        .collect()
}

/// Of a file that is gone for the moment, as in the middle of a deployment, the directory is.
fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let directory = whole.parent().and_then(|parent| parent.canonicalize().ok());
        match (directory, whole.file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => whole,
        }
    })
}

/// `None` also for a process that is not ours to look into.
pub fn of_pid(pid: u32) -> Option<Running> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let is_notice = |path: &Path| {
        fs::read_link(path).is_ok_and(|target| {
            let name = target.to_string_lossy();
            name.strip_prefix("/memfd:")
                .is_some_and(|name| name.split(' ').next() == Some(NAME))
        })
    };
    descriptors
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_notice(path))
        .filter_map(|path| serde_json::from_slice(&read_file(&path, BYTES_MAX).ok()?).ok())
        // Between its fork and its exec a child has the arbiter's descriptors.
        .find(|running: &Running| running.pid == pid)
}

impl Running {
    /// Resident bytes of a worker, on average, what it shares included.
    pub fn worker_bytes(&self) -> Option<u64> {
        let pid = self.generation_pid;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let workers: Vec<u64> = children
            .split_ascii_whitespace()
            .filter_map(|pid| resident_bytes(pid.parse().ok()?))
            .collect();
        let count = u64::try_from(workers.len()).ok()?;
        (count > 0).then(|| workers.iter().sum::<u64>() / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_is_found_by_the_path_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut running = Running {
            pid: std::process::id(),
            standing: Standing {
                file: Some(file.clone()),
                ..Standing::default()
            },
            generation: 1,
            generation_pid: 1,
            is_booting: false,
            config: crate::arbiter::tests::config(),
            boot: None,
            admin: None,
        };
        let mut notice = Notice::default();
        notice.tell(&running).unwrap();
        running.generation = 2;
        notice.tell(&running).unwrap();
        assert_eq!(find(&link), [running.clone()]);
        fs::remove_file(&file).unwrap();
        assert_eq!(find(&folder.path().join("./a.toml")), [running]);
        drop(notice);
        assert_eq!(find(&link), []);
    }
}
