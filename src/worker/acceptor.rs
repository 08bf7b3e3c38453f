//! Which connections a worker takes: the listeners, and a fair share of what comes in.
//!
//! All workers share the listening sockets, which the arbiter opened and keeps; nobody's backlog dies with a worker. The
//! kernel wakes idle workers in an order that suits it (nearly last in, first out), and connections that are kept alive
//! would pile up where they landed. So a worker takes no more than its share of all connections, as the scoreboard tells,
//! and stops watching while it is above it.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use crate::{
    sys::{Epoll, Unshared},
    wire::{PassedListener, Scoreboard, WorkerState},
};

/// Connections above the average that a worker still takes. Without any slack, workers would stop and start watching
/// with every connection.
const SLACK: usize = 2;

pub struct Listener {
    pub passed: PassedListener,
    /// `None` once the worker takes no more connections. A process that the app forks does not have it: should it live longer
    /// than the server, the address would not be free.
    pub socket: Option<Unshared>,
}

pub struct Acceptor {
    pub listeners: Vec<Listener>,
    board: Arc<Scoreboard>,
    slot: usize,
    watching: bool,
}

impl Acceptor {
    pub fn new(listeners: Vec<Listener>, board: Arc<Scoreboard>, slot: usize) -> Self {
        Self {
            listeners,
            board,
            slot,
            watching: false,
        }
    }

    /// How many connections this worker may take now beyond the `held` ones.
    pub(crate) fn allowance(&self, held: usize) -> usize {
        self.share(held)
            .map_or(usize::MAX, |share| share.saturating_sub(held))
    }

    /// How many of the `held` connections are more than this worker's share.
    pub(crate) fn surplus(&self, held: usize) -> usize {
        self.share(held)
            .map_or(0, |share| held.saturating_sub(share))
    }

    /// What a worker may hold; `None` for one that is alone.
    fn share(&self, held: usize) -> Option<usize> {
        let (mut workers, mut total) = (1, held);
        for (index, slot) in self.board.slots_in_use().iter().enumerate() {
            if index != self.slot && slot.state() == WorkerState::Ready {
                workers += 1;
                total += slot.connections.load(SeqCst) as usize;
            }
        }
        (workers > 1).then_some(total / workers + SLACK)
    }

    /// Whether another worker serves.
    pub fn has_colleagues(&self) -> bool {
        self.has_others(|state| state == WorkerState::Ready)
    }

    /// Whether another worker is on its way out.
    pub fn has_leaving_others(&self) -> bool {
        self.has_others(|state| state == WorkerState::Draining)
    }

    fn has_others(&self, are: impl Fn(WorkerState) -> bool) -> bool {
        let mut slots = self.board.slots_in_use().iter().enumerate();
        slots.any(|(index, slot)| index != self.slot && are(slot.state()))
    }

    /// Workers beside this one that would serve a connection at once.
    pub fn idle_others(&self) -> usize {
        let slots = self.board.slots_in_use().iter().enumerate();
        let idle = slots.filter(|(index, slot)| {
            *index != self.slot && slot.idle.load(SeqCst) == 1 && slot.state() == WorkerState::Ready
        });
        idle.count()
    }

    /// Watches the listeners; their tokens are `first_token` and up. An error when one cannot be watched any more: the app has
    /// closed or replaced it.
    pub fn watch(&mut self, epoll: &Epoll, first_token: u64) -> io::Result<()> {
        if self.watching {
            return Ok(());
        }
        let mut result = Ok(());
        for (token, listener) in (first_token..).zip(&self.listeners) {
            let Some(socket) = &listener.socket else {
                continue;
            };
            // Else it fails only for lack of kernel memory, or where it could not be given up before.
            if let Err(error) = epoll.add(socket.as_fd(), token, crate::sys::Watch::Level)
                && matches!(error.raw_os_error(), Some(libc::EPERM | libc::EBADF))
            {
                result = Err(error);
            }
        }
        self.show_watching(true);
        result
    }

    /// Watches them no more.
    pub fn stop_watching(&mut self, epoll: &Epoll) {
        if !self.watching {
            return;
        }
        for socket in self
            .listeners
            .iter()
            .filter_map(|open| open.socket.as_ref())
        {
            // Fails where it could not be watched before.
            let _ = epoll.remove(socket.as_fd());
        }
        self.show_watching(false);
    }

    fn show_watching(&mut self, watching: bool) {
        self.watching = watching;
        self.board.slots()[self.slot]
            .watching
            .store(u32::from(watching), SeqCst);
    }

    /// Whether connections can still be had.
    pub fn is_open(&self) -> bool {
        self.listeners.iter().any(|open| open.socket.is_some())
    }

    /// Gives the sockets up, for good. Once nobody holds an address any more, clients are refused there at once, and the
    /// next server can have it; a copy kept by a worker that only finishes its requests would let them wait in vain.
    pub fn close(&mut self, epoll: &Epoll) {
        self.stop_watching(epoll);
        for listener in &mut self.listeners {
            listener.socket = None;
        }
    }
}
