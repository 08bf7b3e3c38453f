//! The listening sockets: opened here, kept for as long as a generation uses them, closed here.
//!
//! A reload opens what is new before it touches anything that is open; what it does not want any more is closed only
//! once the new generation serves. A socket that both want is the very same one, so its backlog survives.

mod foresee;
mod handed;
mod kept;
pub(super) mod tcp;
pub(super) mod unix;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use nix::sys::socket::{Backlog, getsockopt, sockopt};

use super::activation::Passed;
use crate::{
    admin,
    config::{Bind, Config, TcpBind},
    sys::{
        Identity, adopt_descriptor, duplicate,
        net::{PeerAddress, local_address},
    },
    wire::{ListenerAddress, PassedListener},
};
pub use foresee::obstacles;
pub use handed::HandedListeners;
use kept::Kept;
use unix::SocketFile;

/// Names an open socket in messages.
pub type ListenerId = u32;

/// Why an address of `bind` cannot be had.
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
    #[error("`{bind}`: the service manager passed {}", listed(passed))]
    NotPassed { bind: Bind, passed: Vec<String> },
    #[error("opening `{bind}` failed: {source}")]
    Os { bind: Bind, source: io::Error },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no sockets".to_owned(),
        names => format!("only `{}`", names.join("`, `")),
    }
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
    socket: Arc<OwnedFd>,
    /// The name of a UNIX socket in the file system.
    file: Option<SocketFile>,
}

impl Listener {
    /// Whether a name in the file system leads to it, if one did: somebody may have removed it, or the directory.
    fn is_reachable(&self) -> bool {
        self.file.as_ref().is_none_or(SocketFile::is_ours)
    }
}

/// What tells whether an open socket is the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Asked {
    Tcp { address: SocketAddr, v6_only: bool },
    Unix(PathBuf),
    Inherited(i32),
}

/// All listening sockets of the arbiter, whoever uses them.
#[derive(Debug, Default)]
pub struct Listeners {
    open: BTreeMap<ListenerId, Listener>,
    opened: ListenerId,
    /// Inherited sockets keep their numbers for life, so that a later configuration can name them again.
    inherited: BTreeMap<i32, OwnedFd>,
    /// The names of those of them that a service manager passed.
    names: BTreeMap<i32, String>,
    /// Sockets of our predecessor that the service manager kept, until a configuration wants them.
    kept: Vec<(Kept, OwnedFd)>,
}

/// The sockets of one configuration. Not in force before [`Listeners::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub ids: Vec<ListenerId>,
    /// Those of them that were opened for it.
    pub new: Vec<ListenerId>,
    /// Those of the new ones that the service manager had kept.
    kept: Vec<ListenerId>,
}

impl Listeners {
    /// Takes over what a service manager passed. For the start of the process, as [`adopt_descriptor`] is.
    pub fn adopt_passed(&mut self, passed: Vec<Passed>) {
        for Passed { number, name } in passed {
            let Ok(socket) = adopt_descriptor(number) else {
                continue;
            };
            match Kept::parse(&name) {
                Some(kept) => self.kept.push((kept, socket)),
                None => {
                    self.inherited.insert(number, socket);
                    self.names.insert(number, name);
                }
            }
        }
    }

    /// Opens what the configuration binds, or finds it open. After an error everything is as it was before.
    ///
    /// Sockets that a service manager passed and that no `bind` names are served too; where nobody wrote a `bind`, they
    /// take the place of its default. A configuration that names any of them names all that it wants.
    pub fn open(
        &mut self,
        config: &Config,
        is_bind_written: bool,
        identity: Option<&Identity>,
    ) -> Result<Opened, ListenError> {
        let mut opened = Opened {
            ids: Vec::new(),
            new: Vec::new(),
            kept: Vec::new(),
        };
        let names_any = config
            .bind
            .iter()
            .any(|bind| matches!(bind, Bind::Fd(_) | Bind::Systemd(_)));
        let beside: Vec<Bind> = match names_any {
            true => Vec::new(),
            false => self.names.keys().map(|number| Bind::Fd(*number)).collect(),
        };
        let written = config
            .bind
            .iter()
            .filter(|_| is_bind_written || beside.is_empty());
        for bind in written.chain(&beside) {
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
            Bind::Tcp(wanted) => self.open_addresses(bind, wanted, config, opened),
            Bind::Unix(path) => {
                let address = ListenerAddress::Unix(path.to_string_lossy().into_owned());
                if let Some(number) = self.passed_at(&address) {
                    return self.open_inherited(bind, number, opened);
                }
                self.find_or_open(Asked::Unix(path.clone()), opened, |_| {
                    unix::open(bind, path, config, identity)
                })
            }
            Bind::Fd(number) => self.open_inherited(bind, *number, opened),
            Bind::Systemd(name) => self.open_passed(bind, name, opened),
        }
    }

    /// All addresses that a host stands for.
    fn open_addresses(
        &mut self,
        bind: &Bind,
        wanted: &TcpBind,
        config: &Config,
        opened: &mut Opened,
    ) -> Result<(), ListenError> {
        let addresses = tcp::resolve(bind, wanted)?;
        let several = addresses.len() > 1;
        let mut unavailable = None;
        let before = opened.ids.len();
        for address in addresses {
            if let Some(number) = self.passed_at(&ListenerAddress::Tcp(address)) {
                self.open_inherited(bind, number, opened)?;
                continue;
            }
            let v6_only = tcp::leaves_v4_to_another(config, address);
            let asked = Asked::Tcp { address, v6_only };
            let open =
                |listeners: &mut Self| listeners.open_tcp(bind, address, v6_only, config.backlog);
            match self.find_or_open(asked, opened, open) {
                // A name may stand for a family that this machine does not have (`localhost` without IPv6).
                Err(ListenError::Os { source, .. }) if several && tcp::is_unavailable(&source) => {
                    unavailable = Some(source);
                }
                other => other?,
            }
        }
        match unavailable {
            Some(source) if opened.ids.len() == before => Err(ListenError::of(bind, source)),
            _ => Ok(()),
        }
    }

    /// All sockets that a service manager passed under a name.
    fn open_passed(
        &mut self,
        bind: &Bind,
        name: &str,
        opened: &mut Opened,
    ) -> Result<(), ListenError> {
        let named = self.names.iter().filter(|(_, other)| *other == name);
        let numbers: Vec<i32> = named.map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            return Err(ListenError::NotPassed {
                bind: bind.clone(),
                passed: self.names.values().cloned().collect(),
            });
        }
        numbers
            .into_iter()
            .try_for_each(|number| self.open_inherited(bind, number, opened))
    }

    /// Once for each configuration, however often it is named.
    fn open_inherited(
        &mut self,
        bind: &Bind,
        number: i32,
        opened: &mut Opened,
    ) -> Result<(), ListenError> {
        let asked = Asked::Inherited(number);
        let is_it = |id| self.open.get(id).is_some_and(|open| open.asked == asked);
        if opened.ids.iter().any(is_it) {
            return Ok(());
        }
        self.find_or_open(asked, opened, |listeners| listeners.adopt(bind, number))
    }

    /// The passed socket that is bound to this address already.
    fn passed_at(&self, address: &ListenerAddress) -> Option<i32> {
        let mut passed = self.names.keys().copied();
        passed.find(|number| {
            let socket = self.inherited.get(number);
            socket.is_some_and(|socket| address_of(socket) == *address)
        })
    }

    fn find_or_open(
        &mut self,
        asked: Asked,
        opened: &mut Opened,
        open: impl FnOnce(&mut Self) -> Result<Listener, ListenError>,
    ) -> Result<(), ListenError> {
        let found = self.open.iter().find(|(id, listener)| {
            listener.asked == asked && listener.is_reachable() && !opened.ids.contains(id)
        });
        let id = match found {
            Some((id, _)) => *id,
            None => {
                let kept = self.take_kept(&asked);
                let is_kept = kept.is_some();
                let listener = match kept {
                    Some(kept) => kept,
                    None => open(self)?,
                };
                self.opened += 1;
                self.open.insert(self.opened, listener);
                if is_kept {
                    opened.kept.push(self.opened);
                }
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
            socket: Arc::new(socket),
            file: None,
        })
    }

    /// Takes up a socket that the parent of this process opened (`fd://n`).
    fn adopt(&mut self, bind: &Bind, number: i32) -> Result<Listener, ListenError> {
        let not_inherited = || ListenError::NotInherited { bind: bind.clone() };
        let failed = |source| ListenError::of(bind, source);
        let socket = match self.inherited.get(&number) {
            Some(known) => known.try_clone().map_err(failed)?,
            // A copy: the number may be that of a descriptor of our own.
            None => duplicate(number).map_err(|_| not_inherited())?,
        };
        if !getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false) {
            return Err(not_inherited());
        }
        if let Entry::Vacant(place) = self.inherited.entry(number) {
            place.insert(socket.try_clone().map_err(failed)?);
        }
        tcp::set_nonblocking(&socket).map_err(failed)?;
        Ok(Listener {
            asked: Asked::Inherited(number),
            address: address_of(&socket),
            socket: Arc::new(socket),
            file: None,
        })
    }

    /// Closes what was opened, but for what the service manager had kept: it has copies, so that nobody could open that anew.
    fn abandon(&mut self, opened: &Opened) {
        for id in &opened.new {
            let listener = self.open.remove(id);
            if let Some(listener) = listener.filter(|_| opened.kept.contains(id))
                && let Some(kept) = Kept::of(&listener)
                && let Some(socket) = Arc::into_inner(listener.socket)
            {
                if let Some(file) = listener.file {
                    file.leave();
                }
                self.kept.push((kept, socket));
            }
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

    /// Those that a service manager shall keep for our successor, each with a name that says what it is. What it passed
    /// itself it has anyway.
    pub fn worth_keeping(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let open = self.open.values();
        open.filter_map(|listener| {
            let kept = Kept::of(listener)?;
            Some((kept.name()?, listener.socket.as_fd()))
        })
        .collect()
    }

    /// The names of those that it kept.
    pub fn kept(&self) -> Vec<String> {
        self.kept
            .iter()
            .filter_map(|(kept, _)| kept.name())
            .collect()
    }

    /// Lets go what it kept and no configuration wants.
    pub fn forget_kept(&mut self) {
        self.kept.clear();
    }

    fn take_kept(&mut self, asked: &Asked) -> Option<Listener> {
        let index = self.kept.iter().position(|(kept, _)| kept.is(asked))?;
        let (kept, socket) = self.kept.swap_remove(index);
        kept.listener(socket)
    }

    /// Closes all. With `keep_files` the names of UNIX sockets stay: the service manager keeps what they lead to.
    pub fn close(&mut self, keep_files: bool) {
        for (_, listener) in std::mem::take(&mut self.open) {
            if let Some(file) = listener.file.filter(|_| keep_files) {
                file.leave();
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

    /// For who looks at the sockets, and must not keep them open.
    pub fn watched(&self, ids: &[ListenerId]) -> Vec<admin::Listener> {
        let listeners = ids.iter().filter_map(|id| self.open.get(id));
        let watched = listeners.map(|listener| admin::Listener {
            address: shown(&listener.address),
            socket: Arc::downgrade(&listener.socket),
        });
        watched.collect()
    }
}

fn shown(address: &ListenerAddress) -> String {
    match address {
        ListenerAddress::Tcp(address) => format!("http://{address}"),
        ListenerAddress::Unix(path) => format!("unix:{path}"),
    }
}

fn address_of(socket: &OwnedFd) -> ListenerAddress {
    match tcp_address(socket) {
        Ok(address) => ListenerAddress::Tcp(address),
        Err(_) => ListenerAddress::Unix(unix::name_of(socket).unwrap_or_default()),
    }
}

fn tcp_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    match local_address(socket.as_fd())? {
        PeerAddress::Ip(address) => Ok(address),
        PeerAddress::Unix => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The kernel cuts it to `net.core.somaxconn`.
fn backlog(configured: u32) -> Backlog {
    let wanted = i32::try_from(configured).unwrap_or(i32::MAX);
    Backlog::new(wanted).unwrap_or(Backlog::MAXALLOWABLE)
}

#[cfg(test)]
mod tests;
