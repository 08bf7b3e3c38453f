//! Which connections come to this worker and which go to others: accepting, the lobby and balance.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{FIRST_LISTENER, LOBBY, Reactor, WAIT_MS_MAX, drain::STOP_IDLE_MS};
use crate::{
    sys::{Watch, net},
    wire::Count,
    worker::{connection::Connection, lobby::Guest, peer::Peer},
};

/// Connections accepted for one event.
const ACCEPTS_MAX: usize = 64;
/// While this worker is above its share it looks again after this long.
pub(super) const SHARE_RECHECK_MS: u64 = 50;
/// How long a connection from the lobby may take at least to send its request, where connections are not kept alive.
const LOBBY_PATIENCE_MS_MIN: u64 = 1_000;

impl Reactor {
    /// The kernel reports that connections wait in a backlog.
    pub(super) fn let_in(&mut self, listener: usize, thread_is_free: bool) {
        if thread_is_free || !self.acceptor.has_colleagues() {
            self.make_room();
        }
        self.accept(listener, thread_is_free);
    }

    fn accept(&mut self, listener: usize, thread_is_free: bool) {
        let is_alone = !self.acceptor.has_colleagues();
        let allowed = match (thread_is_free, self.app_is_slow) {
            // It may be long until a thread is free, and nobody else takes them.
            _ if is_alone => usize::MAX,
            (false, _) => self.acceptor.idle_others(),
            (true, true) => 1,
            (true, false) => match self.acceptor.allowance(self.table.len()) {
                // The others are busy, perhaps for long.
                0 if self.acceptor.idle_others() == 0 => 1,
                allowance => allowance,
            },
        };
        let allowed = allowed.min(self.room());
        if allowed == 0 {
            self.acceptor.stop_watching(&self.epoll);
            return;
        }
        for _ in 0..allowed.min(ACCEPTS_MAX) {
            let Some((socket, peer)) = self.accept_one(listener) else {
                return;
            };
            match thread_is_free || is_alone {
                true => self.welcome(socket, peer, self.settings.header_ms),
                false => self.pass_on(socket, peer, self.settings.header_ms),
            }
        }
    }

    /// The next connection of a backlog; `None` when it is empty, or cannot be had now.
    pub(super) fn accept_one(&mut self, listener: usize) -> Option<(OwnedFd, Peer)> {
        loop {
            let open = self.acceptor.listeners[listener].socket.as_ref()?;
            match net::accept(open.as_fd()) {
                Ok((socket, address)) => {
                    self.counters().add(Count::Accepted, 1);
                    let introduction = self.settings.first_introduction();
                    let peer = self.settings.peer(listener, address, introduction);
                    return Some((socket, peer));
                }
                // That client has gone; others may wait behind it.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EINTR | libc::ECONNABORTED | libc::EPROTO)
                    ) => {}
                Err(error) => {
                    self.on_accept_error(&error);
                    return None;
                }
            }
        }
    }

    /// A connection was accepted for a worker that is free while this one is not, or may not be.
    pub(super) fn pass_on(&mut self, socket: OwnedFd, peer: Peer, patience_ms: u64) {
        if self.leave(&peer, socket.as_fd()).is_err() {
            self.put_off(socket, peer, patience_ms);
        }
    }

    fn leave(&self, peer: &Peer, socket: BorrowedFd<'_>) -> io::Result<()> {
        let listener = self.acceptor.listeners[peer.listener].passed.id;
        self.lobby.leave(listener, peer.introduction, socket)
    }

    pub(super) fn on_accept_error(&mut self, error: &io::Error) {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => {}
            Some(libc::EBADF | libc::ENOTSOCK | libc::EINVAL) => self.lose_listener(error),
            _ => self.pause_intake("accept", error),
        }
    }

    fn lose_listener(&mut self, error: &io::Error) {
        crate::critical!(
            "{} cannot accept: {error}; the app has closed or replaced a descriptor of the server, so the worker ends",
            self.who()
        );
        self.calls.is_broken = true;
    }

    /// Out of descriptors or memory: what waits stays in the backlog and in the lobby for a while.
    fn pause_intake(&mut self, what: &str, error: &io::Error) {
        let remedy = match error.raw_os_error() {
            Some(libc::EMFILE) => {
                " (raise the limit, `ulimit -n` or systemd's `LimitNOFILE=`, or lower `limits.connections`)"
            }
            _ => "",
        };
        crate::warning!(
            "{} cannot {what}: {error}{remedy}; trying again in a second",
            self.who()
        );
        self.accept_again_ms = self.now_ms + 1_000;
        self.watch_intake(false);
    }

    /// The beginning of its log lines.
    pub(super) fn who(&self) -> String {
        let slot = &self.board.slots()[self.slot];
        format!("generation={} worker={}", slot.generation(), slot.worker())
    }

    /// A new connection; its first request is often there already.
    pub(super) fn welcome(&mut self, socket: OwnedFd, peer: Peer, patience_ms: u64) {
        // Where an app is slow and clients pipeline, such requests wait in the line of each worker: a connection that is left to
        // the others whenever there is time would go from line to line and be the first in none.
        let must_stay = self.app_is_slow && self.waiting.requests_in_line() > 0;
        if !self.waiting.is_line_empty() && !must_stay {
            return self.put_off(socket, peer, patience_ms);
        }
        let mut connection = self.admit(socket, peer, patience_ms);
        if let Some(job) = self.receive(&mut connection).settle(self, connection) {
            self.waiting.push(job);
        }
    }

    fn admit(&mut self, socket: OwnedFd, peer: Peer, patience_ms: u64) -> Box<Connection> {
        let token = self.table.open();
        let mut connection = Box::new(Connection::new(socket, token, peer));
        connection.streams = self.settings.streams;
        connection.deadline_ms = self.now_ms + patience_ms;
        connection.idle_since_ms = self.now_ms;
        self.count_connections();
        if self.room() == 0 {
            self.tell_full();
        }
        connection
    }

    /// The request of a new connection stays unread until its turn: should the turn be long in coming, another worker can
    /// have it.
    pub(super) fn put_off(&mut self, socket: OwnedFd, peer: Peer, patience_ms: u64) {
        let connection = self.admit(socket, peer, patience_ms);
        self.arm(connection.token, connection.deadline_ms);
        self.waiting.push_unread(connection.token);
        self.table.put(connection);
    }

    /// The kernel reports that connections wait in the lobby.
    pub(super) fn welcome_guests(&mut self, thread_is_free: bool) {
        if thread_is_free {
            self.make_room();
        }
        self.take_from_lobby(thread_is_free);
    }

    fn take_from_lobby(&mut self, thread_is_free: bool) {
        let wanted = match (thread_is_free, self.app_is_slow) {
            _ if !self.has_heirs() => usize::MAX,
            (false, _) => 0,
            // One at a time where the app is slow: the others are for whoever is free.
            (true, true) => 1,
            (true, false) => self.acceptor.allowance(self.table.len()).max(1),
        };
        let count = wanted.min(self.room()).min(ACCEPTS_MAX);
        if count == 0 {
            self.watch_lobby(false);
        }
        for _ in 0..count {
            let Guest {
                listener,
                introduction,
                socket,
            } = match self.lobby.take() {
                Ok(Some(guest)) => guest,
                Ok(None) => return,
                Err(error) => {
                    let what = "take a connection of another worker";
                    return self.pause_intake(what, &error);
                }
            };
            let Ok(address) = net::peer_address(socket.as_fd()) else {
                continue;
            };
            // A listener that this generation does not have: the first one stands in for its name.
            let listeners = &self.acceptor.listeners;
            let known = listeners
                .iter()
                .position(|known| known.passed.id == listener);
            let patience_ms = match self.is_closing() {
                true => STOP_IDLE_MS,
                false => self.settings.keepalive_ms.max(LOBBY_PATIENCE_MS_MIN),
            };
            let peer = self
                .settings
                .peer(known.unwrap_or(0), address, introduction);
            self.welcome(socket, peer, patience_ms);
        }
    }

    /// While the app is slow, each call begins with a look at what waits for any worker: one connection of the lobby or of a
    /// backlog, in turn, joins those that wait here. Requests that come back again and again would keep the others out.
    pub fn let_one_join(&mut self) {
        let may_try = self.is_open && self.drain.is_none() && self.now_ms >= self.accept_again_ms;
        if !self.app_is_slow || !may_try || !self.acceptor.has_colleagues() {
            return;
        }
        self.lobby_rota = self.lobby_rota.wrapping_add(1);
        let before = self.table.len();
        if self.lobby_rota.is_multiple_of(2) {
            self.take_from_lobby(true);
        }
        if self.table.len() == before {
            self.accept_in_turn();
        }
        if self.table.len() == before {
            self.take_from_lobby(true);
        }
    }

    fn accept_in_turn(&mut self) {
        let listeners = self.acceptor.listeners.len();
        if listeners > 0 {
            // Half of the turns are the lobby's.
            self.accept(self.lobby_rota / 2 % listeners, true);
        }
    }

    /// Leaves idle connections beyond this worker's share to the others. Connections pile up where workers were free
    /// when they came; what keeps them alive would keep the imbalance.
    pub(super) fn rebalance(&mut self) {
        if self.now_ms < self.rebalance_again_ms {
            return;
        }
        self.rebalance_again_ms = self.now_ms + SHARE_RECHECK_MS;
        let surplus = self.acceptor.surplus(self.table.len());
        if surplus == 0 || self.acceptor.idle_others() == 0 {
            return;
        }
        let mut left = surplus;
        for token in self.table.tokens_here() {
            if left == 0 {
                return;
            }
            if let Some(connection) = self.table.take(token) {
                match self.hand_over(connection) {
                    Ok(()) => left -= 1,
                    Err(connection) => self.hold(connection),
                }
            }
        }
    }

    /// A request came in on an idle connection while no thread is free: the first worker that is free gets it, unread.
    pub(super) fn offer(&mut self, token: u64) {
        if !self.leave_unread(token) {
            self.waiting.push_unread(token);
        }
    }

    /// Offers those who are the first in the line, unread, as far as the lobby has room.
    pub(super) fn offer_unread(&mut self) {
        while let Some(token) = self.waiting.first_unread()
            && self.leave_unread(token)
        {
            self.waiting.pop();
        }
    }

    /// False: it has to stay.
    fn leave_unread(&mut self, token: u64) -> bool {
        if !self.has_heirs() {
            return false;
        }
        let Some(connection) = self.table.take(token) else {
            // Its client has left, or sent the end of the stream and was read.
            return true;
        };
        match self.hand_over(connection) {
            Ok(()) => true,
            Err(connection) => {
                self.hold(connection);
                false
            }
        }
    }

    /// Leaves an idle connection to another worker.
    pub(super) fn hand_over(&mut self, connection: Box<Connection>) -> Result<(), Box<Connection>> {
        if !connection.is_movable() {
            return Err(connection);
        }
        // First, so that one for which the lobby has no room is watched as before.
        if self.leave(&connection.peer, connection.socket()).is_err() {
            return Err(connection);
        }
        // The kernel reports events for as long as the socket is open anywhere, so it has to be told.
        if connection.is_registered.get() {
            let _ = self.epoll.remove(connection.socket());
        }
        self.close(connection);
        Ok(())
    }

    /// No thread is free. Where no other worker serves, new connections wait here and not outside: requests that come back
    /// again and again would keep them out. But while no call ends they stay outside, where they survive a worker that is
    /// stuck. Returns whether no other worker serves.
    pub fn watch_if_alone(&mut self, threads_move_on: bool) -> bool {
        let is_alone = !self.acceptor.has_colleagues();
        if is_alone && self.is_open && self.drain.is_none() {
            let has_room = self.has_room();
            let may_try = self.now_ms >= self.accept_again_ms;
            self.watch_intake(threads_move_on && has_room && may_try);
        }
        is_alone
    }

    fn watch_intake(&mut self, wanted: bool) {
        if !wanted {
            self.acceptor.stop_watching(&self.epoll);
        } else if let Err(error) = self.acceptor.watch(&self.epoll, FIRST_LISTENER) {
            self.lose_listener(&error);
        }
        self.watch_lobby(wanted);
    }

    /// Whether listeners and lobby are watched is decided anew; returns how long the wait may last, in milliseconds
    /// (-1: until something happens). `free_threads` could run the app now.
    pub fn prepare_wait(&mut self, free_threads: usize) -> i32 {
        self.show_states();
        let mut timeout_ms = self.timers.next_in_ms(self.now_ms).unwrap_or(u64::MAX);
        if !self.table.is_empty() {
            timeout_ms = timeout_ms.min(WAIT_MS_MAX);
        }
        timeout_ms = timeout_ms.min(self.health_in_ms().unwrap_or(u64::MAX));
        self.lacks_room = false;
        timeout_ms = timeout_ms.min(self.drain_in_ms(free_threads).unwrap_or(u64::MAX));
        if free_threads > 0 && self.is_open && self.drain.is_none() {
            let has_room = self.has_room();
            self.lacks_room = !has_room;
            let may_try = self.now_ms >= self.accept_again_ms;
            let has_share = self.acceptor.allowance(self.table.len()) > 0;
            if !has_share {
                self.rebalance();
                timeout_ms = timeout_ms.min(SHARE_RECHECK_MS);
            }
            let is_needed = has_share || self.acceptor.idle_others() == 0;
            self.watch_intake(has_room && may_try && is_needed);
            if !may_try {
                timeout_ms = timeout_ms.min(SHARE_RECHECK_MS);
            }
        }
        if self.calls.is_broken || self.needs_turn() || self.waiting.has_aside() {
            return 0;
        }
        if timeout_ms == u64::MAX {
            -1
        } else {
            timeout_ms as i32
        }
    }

    /// Whether a connection that another worker leaves would be taken at once.
    pub fn takes_from_lobby(&self) -> bool {
        self.lobby_is_watched
    }

    pub(super) fn watch_lobby(&mut self, wanted: bool) {
        if wanted == self.lobby_is_watched {
            return;
        }
        let changed = if wanted {
            self.epoll.add(self.lobby.exit(), LOBBY, Watch::Level)
        } else {
            self.epoll.remove(self.lobby.exit())
        };
        self.lobby_is_watched = if changed.is_ok() {
            wanted
        } else {
            self.lobby_is_watched
        };
    }
}
