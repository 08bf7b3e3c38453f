//! The listening sockets through an exec of the arbiter: what they are, and under which numbers they are found again.

use std::{collections::BTreeMap, io, os::fd::AsFd, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Asked, Listener, ListenerId, Listeners, SocketFile};
use crate::{
    sys::{Handed, adopt_descriptor},
    wire::ListenerAddress,
};

/// For the next program that this process becomes.
#[derive(Debug, Serialize, Deserialize)]
pub struct HandedListeners {
    open: BTreeMap<ListenerId, HandedListener>,
    opened: ListenerId,
    /// Descriptor by the number that a configuration knows it by.
    inherited: BTreeMap<i32, i32>,
    names: BTreeMap<i32, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HandedListener {
    asked: Asked,
    address: ListenerAddress,
    descriptor: i32,
    /// Path, device and inode.
    file: Option<(PathBuf, u64, u64)>,
}

impl Listeners {
    /// What the next program needs to know; the descriptors go with the others that are handed over.
    pub fn hand_over<'a>(&'a self, handed: &mut Handed<'a>) -> HandedListeners {
        let open = self.open.iter().map(|(id, listener)| {
            let listener = HandedListener {
                asked: listener.asked.clone(),
                address: listener.address.clone(),
                descriptor: handed.add(listener.socket.as_fd()),
                file: listener.file.as_ref().map(SocketFile::parts),
            };
            (*id, listener)
        });
        let open = open.collect();
        let inherited = self.inherited.iter();
        HandedListeners {
            open,
            opened: self.opened,
            inherited: inherited
                .map(|(number, socket)| (*number, handed.add(socket.as_fd())))
                .collect(),
            names: self.names.clone(),
        }
    }

    /// Goes on with the sockets of the program before, under their numbers.
    pub fn resume(handed: HandedListeners) -> io::Result<Self> {
        let mut listeners = Self {
            opened: handed.opened,
            names: handed.names,
            ..Self::default()
        };
        for (id, listener) in handed.open {
            let listener = Listener {
                asked: listener.asked,
                address: listener.address,
                socket: Arc::new(adopt_descriptor(listener.descriptor)?),
                file: listener.file.map(SocketFile::resume),
            };
            listeners.open.insert(id, listener);
        }
        for (number, descriptor) in handed.inherited {
            let socket = adopt_descriptor(descriptor)?;
            listeners.inherited.insert(number, socket);
        }
        Ok(listeners)
    }
}
