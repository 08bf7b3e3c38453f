//! The pidfile: held by a lock and not by its mere existence, so that one a crash left behind is in nobody's way.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::sys::{Place, open_pidfile};

/// A pid, and what an editor or a shell may have put around it.
const BYTES_MAX: usize = 32;
/// Its permission bits when it is made; the umask narrows them.
const MODE: u32 = 0o644;
/// How often it may be removed between our open and our lock.
const TRIES: usize = 10;

/// Why the pidfile cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    #[error("the pidfile `{}` is held by another server{}", path.display(), pid_of(holder))]
    Held { path: PathBuf, holder: String },
    #[error("`{}` is no pidfile: {why}, and is left as it is", path.display())]
    Foreign { path: PathBuf, why: &'static str },
    #[error("the pidfile `{}` cannot be written: {source}", path.display())]
    Os { path: PathBuf, source: io::Error },
}

fn pid_of(holder: &str) -> String {
    match holder.trim() {
        pid if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!(" (pid {pid})")
        }
        _ => String::new(),
    }
}

/// Our pid in a locked file. Dropping it removes the file, if it is still the same one.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    /// `None`: its folder was not found after an upgrade, and nothing is removed.
    place: Option<Place>,
    file: Flock<File>,
}

impl Pidfile {
    /// Writes this process's pid into the file, which is created or, when nobody holds it, taken over. A link of the user
    /// `distrusted` leads to what is that user's own, or nowhere.
    pub fn create(path: &Path, distrusted: Option<u32>) -> Result<Self, PidfileError> {
        let failed = |source| PidfileError::Os {
            path: path.to_owned(),
            source,
        };
        for _ in 0..TRIES {
            let opened = open_pidfile(path, MODE, distrusted).map_err(failed)?;
            if !opened.file.metadata().map_err(failed)?.is_file() {
                let why = "it is a pipe or a device";
                return Err(PidfileError::Foreign {
                    path: path.to_owned(),
                    why,
                });
            }
            let file = match Flock::lock(opened.file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                    let mut holder = String::new();
                    let _unreadable_is_unknown =
                        file.take(BYTES_MAX as u64).read_to_string(&mut holder);
                    let path = path.to_owned();
                    return Err(PidfileError::Held { path, holder });
                }
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            // Its holder may have removed it between our open and our lock: then the lock is on no file at all.
            if !opened.place.holds(&file) {
                continue;
            }
            if let Some(why) = why_foreign(&file).map_err(failed)? {
                return Err(PidfileError::Foreign {
                    path: path.to_owned(),
                    why,
                });
            }
            // Dropped when nothing can be written, as on a full disk: an empty file is left to nobody.
            let mut pidfile = Self {
                path: path.to_owned(),
                place: Some(opened.place),
                file,
            };
            write_pid(&mut pidfile.file).map_err(failed)?;
            return Ok(pidfile);
        }
        Err(failed(io::Error::other("somebody keeps removing it")))
    }

    /// Goes on holding the file that this process locked before it executed itself anew.
    pub fn resume(
        path: PathBuf,
        file: OwnedFd,
        distrusted: Option<u32>,
    ) -> Result<Self, PidfileError> {
        // The lock is the open file's, not the process's: to lock it again changes nothing.
        match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self {
                place: Place::find(&path, distrusted).ok(),
                path,
                file,
            }),
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
        if let Some(place) = &self.place {
            place.remove(&self.file);
        }
    }
}

/// Why a file must not be written to; `None`: it is empty or holds a pid. A typo in the configuration must not cost anybody's file,
/// nor a name that somebody else gave it.
fn why_foreign(file: &File) -> io::Result<Option<&'static str>> {
    let mut content = Vec::new();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    let is_pid = content.trim_ascii().iter().all(u8::is_ascii_digit);
    if !is_pid || content.len() > BYTES_MAX {
        return Ok(Some("it holds something else than a number"));
    }
    let has_other_names = file.metadata()?.nlink() > 1;
    Ok(has_other_names.then_some("it has another name, too (a hard link)"))
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_our_pid_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let pidfile = Pidfile::create(&path, None).unwrap();
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
        let _pidfile = Pidfile::create(&path, None).unwrap();
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
            let problem = Pidfile::create(&path, None).unwrap_err().to_string();
            assert!(problem.contains("is no pidfile"), "{problem}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn what_is_no_file_or_somebody_elses_too_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let problem = Pidfile::create(&fifo, None).unwrap_err().to_string();
        assert!(problem.contains("it is a pipe or a device"), "{problem}");
        let (file, second) = (folder.path().join("file"), folder.path().join("second"));
        std::fs::write(&file, "").unwrap();
        std::fs::hard_link(&file, &second).unwrap();
        let problem = Pidfile::create(&second, None).unwrap_err().to_string();
        assert!(problem.contains("it has another name"), "{problem}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
        let problem = Pidfile::create(&folder.path().join("a/b"), None).unwrap_err();
        let told = "cannot be written: No such file or directory";
        assert!(problem.to_string().contains(told), "{problem}");
    }

    #[test]
    fn at_the_end_of_a_link_it_is_removed_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        std::os::unix::fs::symlink("real.pid", &path).unwrap();
        let pidfile = Pidfile::create(&path, None).unwrap();
        let real = folder.path().join("real.pid");
        assert!(real.exists());
        let resumed = Pidfile::resume(
            path.clone(),
            pidfile.as_fd().try_clone_to_owned().unwrap(),
            None,
        );
        std::mem::forget(pidfile);
        drop(resumed.unwrap());
        assert!(!real.exists() && path.is_symlink());
    }

    #[test]
    fn one_that_is_held_is_refused_with_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let _pidfile = Pidfile::create(&path, None).unwrap();
        let problem = Pidfile::create(&path, None).unwrap_err().to_string();
        let holder = format!("is held by another server (pid {})", std::process::id());
        assert!(problem.ends_with(&holder), "{problem}");
    }

    #[test]
    fn one_that_somebody_replaced_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let pidfile = Pidfile::create(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert!(path.exists());
    }
}
