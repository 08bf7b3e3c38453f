//! Where a call of the app runs: in a thread of a crew, or in a greenlet inside a hub. What the gateway asks of either.

use std::{
    io,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use pyo3::prelude::*;

use crate::worker::{Connection, Crew, Hub, Reactor, Seat, Station};

/// Bytes of a streamed response that may wait for their client while a thread goes on: most of them in a file.
const THREAD_BACKLOG_MAX: u64 = 1024 * 1024 * 1024;
/// The same for a greenlet, which costs nothing while it waits: all of them in memory.
const GREENLET_BACKLOG_MAX: u64 = 512 * 1024;
/// A longer response is worth a wake-up of its client.
const HELD_BYTES_MAX: usize = 8 * 1024;
/// Between two looks whether the client has read: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A place for one call at a time.
pub(in crate::python) enum Desk {
    Thread {
        crew: Arc<Crew>,
        seat: usize,
    },
    Greenlet {
        hub: Arc<Hub>,
        seat: Arc<Seat>,
        /// Called with seconds; lets other greenlets run.
        sleep: Py<PyAny>,
    },
}

impl Desk {
    pub(super) fn station(&self) -> &Station {
        match self {
            Self::Thread { crew, .. } => &crew.station,
            Self::Greenlet { hub, .. } => &hub.station,
        }
    }

    fn reactor(&self) -> MutexGuard<'_, Reactor> {
        match self {
            Self::Thread { crew, .. } => crew.reactor(),
            Self::Greenlet { hub, .. } => hub.reactor(),
        }
    }

    /// Whether the response is still the app's to give: asked before its first byte goes out.
    pub(super) fn may_answer(&self) -> bool {
        self.seat().may_answer()
    }

    fn seat(&self) -> &Seat {
        match self {
            Self::Thread { crew, seat } => &crew.seats[*seat],
            Self::Greenlet { seat, .. } => seat,
        }
    }

    /// The app takes the socket. False: the request has been answered in its place. With the interpreter held.
    pub(super) fn let_take(&self, connection: &mut Connection) -> bool {
        match self {
            Self::Thread { crew, seat } => crew.let_take(*seat, connection),
            Self::Greenlet { hub, seat, .. } => {
                let may = seat.lose_call();
                if may {
                    hub.let_take(connection);
                }
                may
            }
        }
    }

    /// What was sent was no response yet: should the app take too long now, it is answered in its place.
    pub(super) fn leave_open(&self) {
        match self {
            Self::Thread { crew, seat } => crew.seats[*seat].leave_open(),
            Self::Greenlet { seat, .. } => seat.leave_open(),
        }
    }

    /// Takes a complete response, made of `parts`, if it is small and may wait for company instead of being sent. Returns
    /// when that was, CLOCK_MONOTONIC nanoseconds.
    pub(super) fn hold_back(&self, parts: &[&[u8]]) -> Option<u64> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        match self {
            Self::Thread { .. } if bytes <= HELD_BYTES_MAX => self.seat().hold_back(parts),
            Self::Thread { .. } | Self::Greenlet { .. } => None,
        }
    }

    /// A streaming response made progress.
    pub(super) fn note_progress(&self) {
        match self {
            Self::Thread { crew, .. } => crew.note_progress(),
            Self::Greenlet { hub, .. } => hub.show_life(),
        }
    }

    /// Leaves a part of a streamed response with the reactor, which sends it as the client reads. Without the interpreter:
    /// it may write to a file.
    pub(super) fn queue(&self, connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
        self.reactor().queue_streamed(connection, bytes)
    }

    /// Bytes of a streamed response that wait for the client. An error: it is gone, or has not read for `timeouts.write`.
    pub(super) fn backlog(&self, token: u64) -> io::Result<u64> {
        self.reactor().stream_backlog(token)
    }

    /// Waits while too much of a streamed response waits for its client; what this desk's thread could do meanwhile goes
    /// on. `timeouts.write` bounds it, `timeouts.worker` does not count it, and `timeouts.request` ends it: the app is
    /// interrupted when it goes on. Nothing may be borrowed. An error is an exception raised in a greenlet that waits.
    pub(super) fn wait_for_room(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        let most = match self {
            Self::Thread { .. } => THREAD_BACKLOG_MAX,
            Self::Greenlet { .. } => GREENLET_BACKLOG_MAX,
        };
        let mut pause = FIRST_LOOK;
        // A client that is gone is noticed by the next part.
        let is_full = || self.backlog(token).is_ok_and(|waiting| waiting > most);
        while is_full() && !self.seat().is_interrupted() {
            self.note_progress();
            match self {
                Self::Thread { .. } => py.detach(|| std::thread::sleep(pause)),
                Self::Greenlet { sleep, .. } => {
                    sleep.call1(py, (pause.as_secs_f64(),))?;
                }
            }
            pause = (pause * 2).min(LOOK_EVERY);
        }
        Ok(())
    }
}
