//! The sockets of the admin interface. What cannot be had is a warning: the server serves without.

mod place;
mod token;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use place::{open_at, open_somewhere, with_pid};
use token::token;

use super::listeners::{tcp, unix::SocketFile};
use crate::{
    admin::{Door, DoorKind, Policy},
    config::{self, AdminSocket},
    info,
    sys::{Handed, adopt_descriptor},
    warning,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

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

/// With the port that was found where 0 was asked for.
fn bound(socket: &OwnedFd) -> Option<SocketAddr> {
    match crate::sys::net::local_address(socket.as_fd()).ok()? {
        crate::sys::net::PeerAddress::Ip(address) => Some(address),
        crate::sys::net::PeerAddress::Unix => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

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
