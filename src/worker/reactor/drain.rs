//! How a worker leaves. Where others stay, they get what waits: idle connections by the lobby, the rest by the backlogs,
//! which are not this worker's alone. When the whole server stops, nobody is left to get it, so it is served first: a
//! worker takes the backlogs as they are at that moment, and goes on taking from the lobby, by which the workers share the
//! work, until that is empty too. Each looks there last thing, so what one leaves there is never the last one's to miss.
//! `timeouts.graceful` bounds it all, and is the arbiter's to keep. Sockets that the app has taken would fill it: they are
//! ended early.

use super::{Reactor, intake::SHARE_RECHECK_MS};
use crate::{sys::Readiness, worker::connection::Connection};

/// How long an idle connection may still send a request to a server that stops.
pub(super) const STOP_IDLE_MS: u64 = 1_000;
/// How long a worker that is told to leave while no other serves keeps the listeners for the arbiter's word.
const WORD_MS: u64 = 500;

pub(super) struct Drain {
    /// The whole server stops: there is nobody to hand a connection to.
    closing: bool,
    /// The lobby had no room for all that idles here: when to try again, milliseconds.
    hand_over_again_ms: Option<u64>,
    /// The listeners are kept until this moment, milliseconds: perhaps every process was told to leave, and the arbiter is
    /// about to say that the server stops.
    listens_until_ms: u64,
    /// From this moment on, milliseconds, sockets that the app has taken are ended.
    ends_taken_ms: u64,
}

impl Reactor {
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the whole server stops.
    pub fn is_closing(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.closing)
    }

    /// Draining, and nothing is held any more, nor waits for this worker.
    pub fn is_drained(&self) -> bool {
        self.drain.is_some()
            && self.table.is_empty()
            && !self.acceptor.is_open()
            && !(self.is_closing() && self.lobby.has_guests())
    }

    /// Whether another worker takes what is left in the lobby.
    pub(super) fn has_heirs(&self) -> bool {
        let is_closing = self.is_closing();
        self.acceptor.has_colleagues() || (is_closing && self.acceptor.has_leaving_others())
    }

    /// Whether a connection is left to the other workers as it is now: this one leaves, and they stay.
    pub(super) fn hands_over(&self, connection: &Connection) -> bool {
        self.is_draining() && !self.is_closing() && connection.is_movable()
    }

    /// Takes no new connections from now on, but for what waits when the whole server stops, which is then `closing`. May
    /// be said of a worker that drains already. Its slot says that it drains, so that of several that are told at once one
    /// knows itself to be the last.
    pub fn start_draining(&mut self, closing: bool) {
        if self.is_closing() || (self.is_draining() && !closing) {
            return;
        }
        let is_last = !self.acceptor.has_colleagues();
        // One that begins to leave anew, because the server stops, gives no more time than it did.
        let ends_taken_ms = match &self.drain {
            Some(drain) => drain.ends_taken_ms,
            None => self.now_ms + self.settings.websocket_grace_ms,
        };
        self.drain = Some(Drain {
            closing,
            hand_over_again_ms: None,
            listens_until_ms: match is_last {
                true => self.now_ms + WORD_MS,
                false => 0,
            },
            ends_taken_ms,
        });
        self.acceptor.stop_watching(&self.epoll);
        self.watch_lobby(false);
        match closing {
            true => self.hurry_idle(),
            false => self.hand_over_idle(),
        }
        self.go_on_draining();
    }

    /// What idles has little time left for another request.
    fn hurry_idle(&mut self) {
        let deadline_ms = self.now_ms + STOP_IDLE_MS;
        for token in self.table.tokens_here() {
            let Some(mut connection) = self.table.take(token) else {
                continue;
            };
            if connection.is_idle() {
                connection.deadline_ms = connection.deadline_ms.min(deadline_ms);
                self.hold(connection);
            } else {
                self.table.put(connection);
            }
        }
    }

    /// What idles goes to the other workers. The lobby has room for some hundreds; the rest follows when they have taken those.
    fn hand_over_idle(&mut self) {
        if let Some(drain) = &mut self.drain {
            drain.hand_over_again_ms = None;
        }
        for token in self.table.tokens_here() {
            let Some(connection) = self.table.take(token) else {
                continue;
            };
            let is_movable = connection.is_movable();
            if let Err(connection) = self.hand_over(connection) {
                self.table.put(connection);
                if is_movable {
                    return self.hand_over_later();
                }
            }
        }
    }

    /// The lobby was full.
    pub(super) fn hand_over_later(&mut self) {
        let again_ms = self.now_ms + SHARE_RECHECK_MS;
        if let Some(drain) = &mut self.drain {
            drain.hand_over_again_ms.get_or_insert(again_ms);
        }
    }

    /// Goes on with what could not be done at once.
    pub(super) fn go_on_draining(&mut self) {
        let Some(drain) = &self.drain else { return };
        let (closing, ends_taken) = (drain.closing, drain.ends_taken_ms <= self.now_ms);
        if ends_taken {
            self.end_taken();
        }
        if closing {
            return self.empty_backlogs();
        }
        let Some(drain) = &self.drain else { return };
        let must_hand_over = drain
            .hand_over_again_ms
            .is_some_and(|again_ms| again_ms <= self.now_ms);
        let may_close = drain.listens_until_ms <= self.now_ms || self.acceptor.has_colleagues();
        if may_close {
            self.acceptor.close(&self.epoll);
        }
        if must_hand_over {
            self.hand_over_idle();
        }
    }

    /// Takes what waits in the backlogs. Once they were seen empty, the listeners are closed: who comes later is refused.
    fn empty_backlogs(&mut self) {
        if !self.acceptor.is_open() || self.now_ms < self.accept_again_ms {
            return;
        }
        for listener in 0..self.acceptor.listeners.len() {
            while self.room() > 0
                && let Some((socket, peer)) = self.accept_one(listener)
            {
                // To all in common: whoever sees nothing wait leaves, and may be the only one with a thread free.
                match self.has_heirs() {
                    true => self.pass_on(socket, peer, STOP_IDLE_MS),
                    false => self.put_off(socket, peer, STOP_IDLE_MS),
                }
            }
        }
        if self.room() > 0 && self.now_ms >= self.accept_again_ms {
            self.acceptor.close(&self.epoll);
        }
    }

    /// Whether the request of an idle connection has come and is left for the worker that is free first: were it read, it
    /// would have to wait for this one, and the server stops.
    pub(super) fn waits_unread(&self, connection: &Connection) -> bool {
        self.is_closing()
            && connection.is_idle()
            && self.has_heirs()
            && Readiness::now(connection.socket()).can_read()
    }

    /// After how many milliseconds there is something to go on with. `free_threads` could serve what waits in the lobby.
    pub(super) fn drain_in_ms(&mut self, free_threads: usize) -> Option<u64> {
        let look_in_ms = self.look_in_ms(free_threads);
        let drain = self.drain.as_ref()?;
        let ends_taken_in_ms = drain.ends_taken_ms.saturating_sub(self.now_ms);
        let has_taken = self.table.taken().any(|socket| socket.is_some());
        let ends_taken_in_ms = has_taken.then_some(ends_taken_in_ms);
        look_in_ms.into_iter().chain(ends_taken_in_ms).min()
    }

    /// Watches the lobby while a thread could serve what waits there; returns when to look after listeners and lobby again.
    fn look_in_ms(&mut self, free_threads: usize) -> Option<u64> {
        let drain = self.drain.as_ref()?;
        if !drain.closing {
            let is_listening = self.acceptor.is_open();
            let look_ms = is_listening.then_some(self.now_ms + SHARE_RECHECK_MS);
            let again_ms = drain.hand_over_again_ms.into_iter().chain(look_ms).min();
            return again_ms.map(|again_ms| again_ms.saturating_sub(self.now_ms));
        }
        let may_try = self.now_ms >= self.accept_again_ms;
        self.lacks_room = self.room() == 0;
        self.watch_lobby(free_threads > 0 && may_try && !self.lacks_room);
        (!may_try).then_some(SHARE_RECHECK_MS)
    }
}
