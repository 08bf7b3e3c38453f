//! The sockets of the admin interface. What cannot be had is a warning: the server serves without.

use std::{
    env, fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    listeners::{
        ListenError, tcp,
        unix::{SocketFile, open_private, sweep},
    },
    reading::told,
};
use crate::{
    admin::{Door, DoorKind, Policy},
    config::{self, AdminSocket, Secret},
    info,
    sys::{Handed, adopt_descriptor, read_file},
    warning,
};

const BACKLOG: u32 = 64;
/// Where system services have their sockets; made where this process may.
const RUN_DIRECTORY: &str = "/run/rgunicorn";
/// Names that are tried where another instance has this one's process id, in another container that shares the directory.
const NAMES_MAX: u32 = 8;
/// As the configuration has it for `admin.token`.
const TOKEN_CHARS_MIN: usize = 16;
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// What is open now.
#[derive(Debug, Default)]
pub(super) struct Doors {
    unix: Option<UnixDoor>,
    tcp: Option<TcpDoor>,
    /// Why there is no UNIX socket, which is told once.
    obstacle: Option<String>,
}

#[derive(Debug)]
struct UnixDoor {
    asked: AdminSocket,
    socket: Arc<OwnedFd>,
    path: PathBuf,
    file: SocketFile,
}

#[derive(Debug)]
struct TcpDoor {
    asked: SocketAddr,
    socket: Arc<OwnedFd>,
}

/// For the next program that this process becomes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct HandedDoors {
    /// Descriptor, and the file's path, device and inode.
    unix: Option<(AdminSocket, i32, (PathBuf, u64, u64))>,
    tcp: Option<(SocketAddr, i32)>,
}

impl Doors {
    /// Opens what the configuration wants, keeps of it what is open, and closes the rest.
    pub(super) fn settle(&mut self, wanted: &config::Admin) -> Policy {
        let is_kept = |door: &UnixDoor| door.asked == wanted.socket && door.file.is_ours();
        if !self.unix.as_ref().is_some_and(is_kept) {
            self.unix = None;
            self.open_unix(&wanted.socket);
        }
        let token = wanted.address.and_then(|_| token(wanted));
        let address = wanted.address.filter(|_| token.is_some());
        if self.tcp.as_ref().map(|door| door.asked) != address {
            // Open until the new one is: where their addresses overlap, it can only be bound beside it.
            let before = self.tcp.take();
            self.tcp = address.and_then(|address| open_tcp(address, before.as_ref()));
        }
        Policy {
            token,
            open: wanted.open.clone(),
        }
    }

    pub(super) fn all(&self) -> Vec<Door> {
        let unix = self.unix.as_ref().map(|door| Door {
            kind: DoorKind::Unix,
            socket: Arc::clone(&door.socket),
        });
        let tcp = self.tcp.as_ref().map(|door| Door {
            kind: DoorKind::Tcp(door.asked),
            socket: Arc::clone(&door.socket),
        });
        unix.into_iter().chain(tcp).collect()
    }

    /// The UNIX socket, for the commands.
    pub(super) fn path(&self) -> Option<&Path> {
        self.unix.as_ref().map(|door| door.path.as_path())
    }

    fn open_unix(&mut self, asked: &AdminSocket) {
        let opened = match asked {
            AdminSocket::Off => return,
            AdminSocket::Auto => open_somewhere(),
            AdminSocket::Path(path) => open_at(&with_pid(path)),
        };
        match opened {
            Ok((path, socket, file)) => {
                info!("admin interface at unix:{}", path.display());
                self.obstacle = None;
                self.unix = Some(UnixDoor {
                    asked: asked.clone(),
                    socket: Arc::new(socket),
                    path,
                    file,
                });
            }
            Err(reason) if self.obstacle.as_ref() == Some(&reason) => {}
            Err(reason) => {
                warning!(
                    "no admin interface on a UNIX socket: {reason}; the server serves without, see `admin.socket`"
                );
                self.obstacle = Some(reason);
            }
        }
    }

    pub(super) fn hand_over<'a>(&'a self, handed: &mut Handed<'a>) -> HandedDoors {
        HandedDoors {
            unix: self.unix.as_ref().map(|door| {
                let number = handed.add(door.socket.as_fd());
                (door.asked.clone(), number, door.file.parts())
            }),
            tcp: self
                .tcp
                .as_ref()
                .map(|door| (door.asked, handed.add(door.socket.as_fd()))),
        }
    }

    pub(super) fn resume(handed: HandedDoors) -> io::Result<Self> {
        let unix = handed
            .unix
            .map(|(asked, number, parts)| -> io::Result<UnixDoor> {
                Ok(UnixDoor {
                    asked,
                    socket: Arc::new(adopt_descriptor(number)?),
                    path: parts.0.clone(),
                    file: SocketFile::resume(parts),
                })
            });
        let tcp = handed.tcp.map(|(asked, number)| -> io::Result<TcpDoor> {
            let socket = Arc::new(adopt_descriptor(number)?);
            Ok(TcpDoor { asked, socket })
        });
        Ok(Self {
            unix: unix.transpose()?,
            tcp: tcp.transpose()?,
            obstacle: None,
        })
    }
}

/// `before`: what is open still.
fn open_tcp(address: SocketAddr, before: Option<&TcpDoor>) -> Option<TcpDoor> {
    let ours = before.filter(|door| door.asked.port() == address.port());
    let ours: Vec<_> = ours.iter().map(|door| door.socket.as_fd()).collect();
    match tcp::open(address, false, BACKLOG, &ours) {
        Ok(socket) => {
            let told = bound(&socket).unwrap_or(address);
            info!("admin interface at http://{told}");
            Some(TcpDoor {
                asked: address,
                socket: Arc::new(socket),
            })
        }
        Err(error) => {
            warning!(
                "no admin interface at {address}: {error}; the server serves without, see `admin.address`"
            );
            None
        }
    }
}

type Opened = Result<(PathBuf, OwnedFd, SocketFile), String>;

fn open_at(path: &Path) -> Opened {
    match open_private(path, BACKLOG) {
        Ok((socket, file)) => Ok((path.to_owned(), socket, file)),
        Err(error) => Err(told(&error)),
    }
}

/// In the first directory that can be had, under a name that no other instance uses.
fn open_somewhere() -> Opened {
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
                    reasons.push(told(&error));
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

fn with_pid(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    text.replace("{pid}", &std::process::id().to_string())
        .into()
}

/// With the port that was found where 0 was asked for.
fn bound(socket: &OwnedFd) -> Option<SocketAddr> {
    match crate::sys::net::local_address(socket.as_fd()).ok()? {
        crate::sys::net::PeerAddress::Ip(address) => Some(address),
        crate::sys::net::PeerAddress::Unix => None,
    }
}

/// Of the configuration or its file; `None`, with a warning, when there is none that can be used.
fn token(wanted: &config::Admin) -> Option<Secret> {
    if let Some(token) = &wanted.token {
        return Some(token.clone());
    }
    let path = wanted.token_file.as_deref()?;
    match read_token(path) {
        Ok(token) => Some(token),
        Err(reason) => {
            warning!(
                "no admin interface on TCP: `admin.token_file`: `{}` {reason}",
                path.display()
            );
            None
        }
    }
}

fn read_token(path: &Path) -> Result<Secret, String> {
    let content = read_file(path, TOKEN_FILE_BYTES_MAX);
    let content = content.map_err(|error| format!("cannot be read: {error}"))?;
    let text = String::from_utf8(content).map_err(|_| "is not UTF-8".to_owned())?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN {
        return Err(format!("holds less than {TOKEN_CHARS_MIN} characters"));
    }
    Ok(Secret::new(token.to_owned()))
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

    #[test]
    fn a_token_file_is_read_without_the_space_around_it_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_token(&path)
        };
        assert!(read("0123456789abcdef\n").unwrap().is(b"0123456789abcdef"));
        assert!(read("short\n").unwrap_err().contains("less than 16"));
        assert!(
            read(&"x".repeat(5000))
                .unwrap_err()
                .contains("larger than 4096 bytes")
        );
        assert!(read_token(Path::new("/no/such/file")).is_err());
        let endless = read_token(Path::new("/dev/zero")).unwrap_err();
        assert!(endless.contains("has to be a file"), "{endless}");
    }

    #[test]
    fn a_socket_in_use_is_left_to_its_server_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-{pid}.sock");
        let wanted = config::Admin {
            socket: AdminSocket::Path(path.clone()),
            ..config::Admin::default()
        };
        let (mut first, mut second) = (Doors::default(), Doors::default());
        first.settle(&wanted);
        let place = first.path().unwrap().to_owned();
        assert_eq!(place, with_pid(&path));
        assert_eq!(
            fs::metadata(&place).unwrap().permissions().mode() & 0o777,
            0o600
        );
        second.settle(&wanted);
        assert!(second.all().is_empty(), "it is the first one's");
        // As after a crash: the name is there, and nobody listens.
        let door = first.unix.take().unwrap();
        door.file.leave();
        drop(door.socket);
        assert!(place.exists());
        second.settle(&wanted);
        assert_eq!(second.all().len(), 1);
        drop(second);
        assert!(!place.exists());
    }
}
