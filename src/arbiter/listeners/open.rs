//! How what a configuration binds becomes open sockets: those that are open already, those that somebody passed, and new ones.

use std::{
    collections::btree_map::Entry,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::sys::socket::{getsockopt, sockopt};

use super::{Asked, ListenError, Listener, Listeners, Opened, kept::Kept, tcp, unix};
use crate::{
    config::{Bind, Config, TcpBind},
    sys::{
        Identity, duplicate,
        net::{PeerAddress, local_address},
    },
    wire::ListenerAddress,
};

impl Listeners {
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

    fn take_kept(&mut self, asked: &Asked) -> Option<Listener> {
        let index = self.kept.iter().position(|(kept, _)| kept.is(asked))?;
        let (kept, socket) = self.kept.swap_remove(index);
        kept.listener(socket)
    }
}

pub(super) fn address_of(socket: &OwnedFd) -> ListenerAddress {
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
