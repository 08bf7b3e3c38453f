//! The pidfile: held by a lock and not by its mere existence, so that one a crash left behind is in nobody's way.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// A pid, and what an editor or a shell may have put around it.
const BYTES_MAX: usize = 32;

/// Why the pidfile cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    #[error("the pidfile `{}` is held by another server{}", path.display(), pid_of(holder))]
    Held { path: PathBuf, holder: String },
    #[error("`{}` is no pidfile: it holds something else than a number, and is left as it is", path.display())]
    Foreign { path: PathBuf },
    #[error("the pidfile `{}` cannot be written: {source}", path.display())]
    Os { path: PathBuf, source: io::Error },
}

fn pid_of(holder: &str) -> String {
    match holder.trim() {
        "" => String::new(),
        pid => format!(" (pid {pid})"),
    }
}

/// Our pid in a locked file. Dropping it removes the file, if it is still the same one.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    file: Flock<File>,
}

impl Pidfile {
    /// Writes this process's pid into the file, which is created or, when nobody holds it, taken over.
    pub fn create(path: &Path) -> Result<Self, PidfileError> {
        let failed = |source| PidfileError::Os {
            path: path.to_owned(),
            source,
        };
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(path)
                .map_err(failed)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                    let mut holder = String::new();
                    let _unreadable_is_unknown = file.read_to_string(&mut holder);
                    let path = path.to_owned();
                    return Err(PidfileError::Held { path, holder });
                }
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            // Its holder may have removed it between our open and our lock: then the lock is on no file at all.
            if !is_at(&file, path) {
                continue;
            }
            let path = path.to_owned();
            if !is_of_a_server(&file).map_err(failed)? {
                return Err(PidfileError::Foreign { path });
            }
            // Dropped when nothing can be written, as on a full disk: an empty file is left to nobody.
            let mut pidfile = Self { path, file };
            write_pid(&mut pidfile.file).map_err(failed)?;
            return Ok(pidfile);
        }
    }

    /// Goes on holding the file that this process locked before it executed itself anew.
    pub fn resume(path: PathBuf, file: OwnedFd) -> Result<Self, PidfileError> {
        // The lock is the open file's, not the process's: to lock it again changes nothing.
        match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { path, file }),
            Err((_, errno)) => Err(PidfileError::Os {
                path,
                source: errno.into(),
            }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Pidfile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _gone_already = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether it is empty or holds a pid: a typo in the configuration must not cost anybody's file.
fn is_of_a_server(file: &File) -> io::Result<bool> {
    let mut content = Vec::new();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    let is_pid = content.trim_ascii().iter().all(u8::is_ascii_digit);
    Ok(is_pid && content.len() <= BYTES_MAX)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (file.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_our_pid_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let pidfile = Pidfile::create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(pidfile);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_one_is_taken_over_and_a_longer_pid_leaves_no_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        std::fs::write(&path, "99999999999\n").unwrap();
        let _pidfile = Pidfile::create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_that_holds_something_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.py");
        let digits = "1".repeat(BYTES_MAX + 1);
        for content in ["import os\n", "12 monkeys", &digits] {
            std::fs::write(&path, content).unwrap();
            let problem = Pidfile::create(&path).unwrap_err().to_string();
            assert!(problem.contains("is no pidfile"), "{problem}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn one_that_is_held_is_refused_with_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let _pidfile = Pidfile::create(&path).unwrap();
        let problem = Pidfile::create(&path).unwrap_err().to_string();
        let holder = format!("is held by another server (pid {})", std::process::id());
        assert!(problem.ends_with(&holder), "{problem}");
    }

    #[test]
    fn one_that_somebody_replaced_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let pidfile = Pidfile::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert!(path.exists());
    }
}
