//! Where the UNIX socket of the admin interface lies, and under which name.

use std::{
    env, fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::BACKLOG;
use crate::arbiter::{
    causes::with_causes,
    listeners::{
        ListenError,
        unix::{SocketFile, open_private, sweep},
    },
};

/// Where system services have their sockets; made where this process may.
const RUN_DIRECTORY: &str = "/run/rgunicorn";
/// Names that are tried where another instance has this one's process id, in another container that shares the directory.
const NAMES_MAX: u32 = 8;

pub(super) type Opened = Result<(PathBuf, OwnedFd, SocketFile), String>;

pub(super) fn open_at(path: &Path) -> Opened {
    match open_private(path, BACKLOG) {
        Ok((socket, file)) => Ok((path.to_owned(), socket, file)),
        Err(error) => Err(with_causes(&error)),
    }
}

/// In the first directory that can be had, under a name that no other instance uses.
pub(super) fn open_somewhere() -> Opened {
    let mut reasons = Vec::new();
    'places: for (directory, stem) in places() {
        let directory = match directory {
            Ok(directory) => directory,
            Err(reason) => {
                reasons.push(reason);
                continue;
            }
        };
        for number in 1..=NAMES_MAX {
            let name = match number {
                1 => format!("{stem}.sock"),
                number => format!("{stem}-{number}.sock"),
            };
            let path = directory.join(name);
            match open_private(&path, BACKLOG) {
                Ok((socket, file)) => {
                    // A server that was killed could not take its own away.
                    let prefix = stem.trim_end_matches(|digit: char| digit.is_ascii_digit());
                    sweep(&directory, |name| is_door(name, prefix));
                    return Ok((path, socket, file));
                }
                Err(ListenError::InUse { .. } | ListenError::NotASocket { .. }) => {}
                Err(error) => {
                    reasons.push(with_causes(&error));
                    continue 'places;
                }
            }
        }
        let directory = directory.display();
        reasons.push(format!("all names in `{directory}` are in use"));
    }
    Err(reasons.join("; "))
}

/// Directories, or why one cannot be used, and how the socket is called there.
fn places() -> Vec<(Result<PathBuf, String>, String)> {
    let pid = std::process::id();
    let of_session = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_session = of_session.filter(|directory| directory.is_absolute());
    let mut places = Vec::new();
    if let Some(directory) = of_session {
        places.push((Ok(directory), format!("rgunicorn-{pid}")));
    }
    let run = Path::new(RUN_DIRECTORY);
    // Others may make it for us: systemd by `RuntimeDirectory=rgunicorn`.
    if run.is_dir() || make_private(run).is_ok() {
        places.push((Ok(run.to_owned()), pid.to_string()));
    }
    let user = nix::unistd::geteuid();
    let directory = env::temp_dir().join(format!("rgunicorn-{user}"));
    let private = private(&directory).map(|()| directory);
    places.push((private, pid.to_string()));
    places
}

/// Whether a socket in a place has the name of an admin interface, as [`open_somewhere`] makes them there.
fn is_door(name: &str, prefix: &str) -> bool {
    let stem = name
        .strip_prefix(prefix)
        .and_then(|name| name.strip_suffix(".sock"));
    let Some(stem) = stem else {
        return false;
    };
    let (pid, number) = stem.split_once('-').unwrap_or((stem, "2"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(pid) && is_number(number)
}

fn make_private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(directory)
}

/// Makes sure that the directory is ours alone: everybody may write where it is.
fn private(directory: &Path) -> Result<(), String> {
    let name = directory.display();
    match make_private(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(format!("`{name}` cannot be made: {error}"));
        }
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(directory)
        .map_err(|error| format!("`{name}` cannot be looked at: {error}"))?;
    let is_private = found.is_dir()
        && found.uid() == nix::unistd::geteuid().as_raw()
        && found.permissions().mode() & 0o077 == 0;
    match is_private {
        true => Ok(()),
        false => Err(format!("`{name}` is not a directory of this user alone")),
    }
}

pub(super) fn with_pid(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    text.replace("{pid}", &std::process::id().to_string())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("ours");
        private(&directory).unwrap();
        private(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private(&directory).unwrap_err().contains("alone"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(private(&link).is_err());
    }

    #[test]
    fn sockets_that_nobody_listens_at_are_swept_and_nothing_else_is() {
        use std::os::unix::net::{UnixDatagram, UnixListener};

        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for dead in ["4711.sock", "4711-2.sock"] {
            drop(UnixListener::bind(place(dead)).unwrap());
        }
        let kept = [
            "1.sock",
            "app.sock",
            "4711-x.sock",
            "rgunicorn-4711.sock",
            ".rg4711",
            "2.sock",
            "3.sock",
            "4.sock",
        ];
        let _lives = (
            UnixListener::bind(place("1.sock")).unwrap(),
            UnixDatagram::bind(place("2.sock")).unwrap(),
        );
        for foreign in ["app.sock", "4711-x.sock", "rgunicorn-4711.sock", ".rg4711"] {
            drop(UnixListener::bind(place(foreign)).unwrap());
        }
        fs::write(place("3.sock"), "").unwrap();
        std::os::unix::fs::symlink(place("app.sock"), place("4.sock")).unwrap();
        sweep(folder.path(), |name| is_door(name, ""));
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut kept = kept.map(str::to_owned);
        kept.sort();
        assert_eq!(left, kept);
        sweep(folder.path(), |name| is_door(name, "rgunicorn-"));
        assert!(!place("rgunicorn-4711.sock").exists() && place("app.sock").exists());
        sweep(&place("no such folder"), |_| true);
    }
}
