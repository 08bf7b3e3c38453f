//! The listening sockets: opened here, kept for as long as a generation uses them, closed here.
//!
//! A reload opens what is new before it touches anything that is open; what it does not want any more is closed only
//! once the new generation serves. A socket that both want is the very same one, so its backlog survives.

mod error;
mod foresee;
mod handed;
mod kept;
mod open;
pub(super) mod tcp;
pub(super) mod unix;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use nix::sys::socket::Backlog;

use super::activation::Passed;
use crate::{
    admin,
    config::Config,
    sys::adopt_descriptor,
    wire::{ListenerAddress, PassedListener},
};
pub use error::ListenError;
pub use foresee::obstacles;
pub use handed::HandedListeners;
use kept::Kept;
use unix::SocketFile;

/// Names an open socket in messages.
pub type ListenerId = u32;

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

/// The kernel cuts it to `net.core.somaxconn`.
fn backlog(configured: u32) -> Backlog {
    let wanted = i32::try_from(configured).unwrap_or(i32::MAX);
    Backlog::new(wanted).unwrap_or(Backlog::MAXALLOWABLE)
}

#[cfg(test)]
mod tests;
