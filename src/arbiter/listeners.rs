//! The listening sockets: opened here, kept for as long as a generation uses them, closed here.
//!
//! A reload opens what is new before it touches anything that is open; what it does not want any more is closed only
//! once the new generation serves. A socket that both want is the very same one, so its backlog survives.

mod tcp;
mod unix;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use nix::sys::socket::{Backlog, SockaddrStorage, getsockname, getsockopt, sockopt};

use crate::{
    config::{Bind, Config},
    sys::{Identity, adopt_descriptor},
    wire::{ListenerAddress, PassedListener},
};
use unix::SocketFile;

/// Names an open socket in messages.
pub type ListenerId = u32;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("`{bind}` is already in use")]
    InUse { bind: Bind },
    #[error("`{bind}` needs a privilege this process does not have")]
    Denied { bind: Bind },
    #[error("`{bind}`: the name `{host}` cannot be resolved: {source}")]
    Unresolved {
        bind: Bind,
        host: String,
        source: io::Error,
    },
    #[error("`{bind}` exists and is not a socket; it is left alone")]
    NotASocket { bind: Bind },
    #[error("`{bind}` is not a listening socket that this process inherited")]
    NotInherited { bind: Bind },
    #[error("opening `{bind}` failed: {source}")]
    Os { bind: Bind, source: io::Error },
}

impl ListenError {
    fn of(bind: &Bind, source: io::Error) -> Self {
        let bind = bind.clone();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { bind },
            io::ErrorKind::PermissionDenied => Self::Denied { bind },
            _ => Self::Os { bind, source },
        }
    }
}

#[derive(Debug)]
struct Listener {
    /// What was asked for; differs from `address` in the port when that was 0.
    asked: Asked,
    address: ListenerAddress,
    socket: OwnedFd,
    /// The name of a UNIX socket in the file system.
    file: Option<SocketFile>,
}

/// What tells whether an open socket is the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Tcp { address: SocketAddr, v6_only: bool },
    Unix(PathBuf),
    Inherited(i32),
}

#[derive(Debug, Default)]
pub struct Listeners {
    open: BTreeMap<ListenerId, Listener>,
    opened: ListenerId,
    /// Inherited sockets keep their numbers for life, so that a later configuration can name them again.
    inherited: BTreeMap<i32, OwnedFd>,
}

/// The sockets of one configuration. Not in force before [`Listeners::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub ids: Vec<ListenerId>,
    /// Those of them that were opened for it.
    pub new: Vec<ListenerId>,
}

impl Listeners {
    /// Opens what the configuration binds, or finds it open. After an error everything is as it was before.
    pub fn open(
        &mut self,
        config: &Config,
        identity: Option<&Identity>,
    ) -> Result<Opened, ListenError> {
        let mut opened = Opened {
            ids: Vec::new(),
            new: Vec::new(),
        };
        for bind in &config.bind {
            if let Err(error) = self.open_bind(bind, config, identity, &mut opened) {
                self.abandon(&opened);
                return Err(error);
            }
        }
        Ok(opened)
    }

    fn open_bind(
        &mut self,
        bind: &Bind,
        config: &Config,
        identity: Option<&Identity>,
        opened: &mut Opened,
    ) -> Result<(), ListenError> {
        match bind {
            Bind::Tcp(wanted) => {
                let addresses = tcp::resolve(bind, wanted)?;
                let several = addresses.len() > 1;
                let mut unavailable = None;
                let before = opened.ids.len();
                for address in addresses {
                    let v6_only = tcp::leaves_v4_to_another(config, address);
                    let asked = Asked::Tcp { address, v6_only };
                    let open = |listeners: &mut Self| {
                        listeners.open_tcp(bind, address, v6_only, config.backlog)
                    };
                    match self.find_or_open(asked, opened, open) {
                        // A name may stand for a family that this machine does not have (`localhost` without IPv6).
                        Err(ListenError::Os { source, .. })
                            if several && tcp::is_unavailable(&source) =>
                        {
                            unavailable = Some(source);
                        }
                        other => other?,
                    }
                }
                match unavailable {
                    Some(source) if opened.ids.len() == before => {
                        Err(ListenError::of(bind, source))
                    }
                    _ => Ok(()),
                }
            }
            Bind::Unix(path) => self.find_or_open(Asked::Unix(path.clone()), opened, |_| {
                unix::open(bind, path, config, identity)
            }),
            Bind::Fd(number) => self.find_or_open(Asked::Inherited(*number), opened, |listeners| {
                listeners.adopt(bind, *number)
            }),
        }
    }

    fn find_or_open(
        &mut self,
        asked: Asked,
        opened: &mut Opened,
        open: impl FnOnce(&mut Self) -> Result<Listener, ListenError>,
    ) -> Result<(), ListenError> {
        let found = self
            .open
            .iter()
            .find(|(id, listener)| listener.asked == asked && !opened.ids.contains(id));
        let id = match found {
            Some((id, _)) => *id,
            None => {
                let listener = open(self)?;
                self.opened += 1;
                self.open.insert(self.opened, listener);
                opened.new.push(self.opened);
                self.opened
            }
        };
        opened.ids.push(id);
        Ok(())
    }

    fn open_tcp(
        &mut self,
        bind: &Bind,
        address: SocketAddr,
        v6_only: bool,
        backlog: u32,
    ) -> Result<Listener, ListenError> {
        let ours: Vec<BorrowedFd<'_>> = self
            .open
            .values()
            .filter(|listener| matches!(listener.asked, Asked::Tcp { address: other, .. } if other.port() == address.port()))
            .map(|listener| listener.socket.as_fd())
            .collect();
        let socket = tcp::open(address, v6_only, backlog, &ours)
            .map_err(|source| ListenError::of(bind, source))?;
        let address_bound = tcp_address(&socket).map_err(|source| ListenError::of(bind, source))?;
        Ok(Listener {
            asked: Asked::Tcp { address, v6_only },
            address: ListenerAddress::Tcp(address_bound),
            socket,
            file: None,
        })
    }

    /// Takes up a socket that the parent of this process opened (`fd://n`).
    fn adopt(&mut self, bind: &Bind, number: i32) -> Result<Listener, ListenError> {
        let not_inherited = || ListenError::NotInherited { bind: bind.clone() };
        let failed = |source| ListenError::of(bind, source);
        let adopted = match self.inherited.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(adopt_descriptor(number).map_err(|_| not_inherited())?)
            }
        };
        let socket = adopted.try_clone().map_err(failed)?;
        if !getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false) {
            return Err(not_inherited());
        }
        tcp::set_nonblocking(&socket).map_err(failed)?;
        let address = match tcp_address(&socket) {
            Ok(address) => ListenerAddress::Tcp(address),
            Err(_) => ListenerAddress::Unix(unix::name_of(&socket).unwrap_or_default()),
        };
        Ok(Listener {
            asked: Asked::Inherited(number),
            address,
            socket,
            file: None,
        })
    }

    fn abandon(&mut self, opened: &Opened) {
        for id in &opened.new {
            self.open.remove(id);
        }
    }

    /// Closes all others: nobody is going to use them.
    pub fn retain(&mut self, ids: &BTreeSet<ListenerId>) {
        self.open.retain(|id, _| ids.contains(id));
    }

    /// The configuration is in force: its backlog and mode hold.
    pub fn settle(&self, config: &Config, ids: &[ListenerId]) {
        for listener in ids.iter().filter_map(|id| self.open.get(id)) {
            if !matches!(listener.asked, Asked::Inherited(_)) {
                let _ = nix::sys::socket::listen(&listener.socket, backlog(config.backlog));
            }
            if let Some(file) = &listener.file {
                file.set_mode(config.socket_mode);
            }
        }
    }

    /// What a generation is told about its sockets, and the sockets, in the same order.
    pub fn passed(&self, ids: &[ListenerId]) -> (Vec<PassedListener>, Vec<BorrowedFd<'_>>) {
        ids.iter()
            .filter_map(|id| self.open.get(id).map(|listener| (id, listener)))
            .map(|(id, listener)| {
                let told = PassedListener {
                    id: *id,
                    address: listener.address.clone(),
                };
                (told, listener.socket.as_fd())
            })
            .unzip()
    }

    /// Where clients reach the server, for the log.
    pub fn addresses(&self, ids: &[ListenerId]) -> Vec<String> {
        let (passed, _) = self.passed(ids);
        passed.iter().map(|told| shown(&told.address)).collect()
    }
}

fn shown(address: &ListenerAddress) -> String {
    match address {
        ListenerAddress::Tcp(address) => format!("http://{address}"),
        ListenerAddress::Unix(path) => format!("unix:{path}"),
    }
}

fn tcp_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    use std::os::fd::AsRawFd;
    let storage: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    if let Some(v4) = storage.as_sockaddr_in() {
        return Ok(SocketAddr::from(std::net::SocketAddrV4::from(*v4)));
    }
    if let Some(v6) = storage.as_sockaddr_in6() {
        return Ok(SocketAddr::from(std::net::SocketAddrV6::from(*v6)));
    }
    Err(io::ErrorKind::InvalidInput.into())
}

/// The kernel cuts it to `net.core.somaxconn`.
fn backlog(configured: u32) -> Backlog {
    let wanted = i32::try_from(configured).unwrap_or(i32::MAX);
    Backlog::new(wanted).unwrap_or(Backlog::MAXALLOWABLE)
}

#[cfg(test)]
mod tests;
