//! The thread: polls the doors, the connections and its bell, and gives each what is due.

use std::{
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    connection::Connection,
    link::{Door, DoorKind, Link},
    situation::{Memory, Situation},
};
use crate::{
    sys::{monotonic_ns, net},
    wire::Scoreboard,
};

/// Connections at each door. When one more comes, [`make_room`] decides which has to go.
const CONNECTIONS_MAX: usize = 32;
/// Connections that one turn takes from a door, so that a crowd cannot keep the others waiting.
const ACCEPTS_MAX: usize = 16;
/// While the process, or the machine, may not open another descriptor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Until the shell is gone.
pub(super) fn run(link: &Link, board: Scoreboard) {
    let mut connections: Vec<Connection> = Vec::new();
    let mut memory = Memory::default();
    while !link.is_over() {
        let doors = link.doors();
        let happened = wait(link, &doors, &connections);
        link.bell().drain();
        // Before the look at what was published: the shell publishes what an order led to, and then answers.
        let answers = link.take_answers();
        let mut situation = Situation::now(link, &board, &mut memory);
        for (ticket, answer) in answers {
            let mut waiting = connections.iter_mut();
            if let Some(one) = waiting.find(|one| one.waits_for() == Some(ticket)) {
                guarded(one, |one| one.hear(answer, &mut situation, link));
            }
        }
        for (one, happened) in connections.iter_mut().zip(&happened.connections) {
            guarded(one, |one| one.turn(*happened, &mut situation, link));
        }
        connections.retain(|one| !one.is_over());
        for (door, _) in doors.iter().zip(&happened.doors).filter(|(_, rung)| **rung) {
            accept(door, &mut connections, situation.now_ns);
        }
    }
}

/// What happened to the doors and connections, in their order.
struct Happened {
    doors: Vec<bool>,
    connections: Vec<PollFlags>,
}

fn wait(link: &Link, doors: &[Door], connections: &[Connection]) -> Happened {
    let mut entries = vec![PollFd::new(link.bell().as_fd(), PollFlags::POLLIN)];
    entries.extend(
        doors
            .iter()
            .map(|door| PollFd::new(door.socket.as_fd(), PollFlags::POLLIN)),
    );
    entries.extend(
        connections
            .iter()
            .map(|one| PollFd::new(one.descriptor(), one.wants())),
    );
    // Interrupted or not: what happened is looked for.
    let _ = poll(&mut entries, timeout(connections));
    let happened = |entry: &PollFd<'_>| entry.revents().unwrap_or(PollFlags::empty());
    let (of_doors, of_connections) = entries[1..].split_at(doors.len());
    Happened {
        doors: of_doors
            .iter()
            .map(|entry| !happened(entry).is_empty())
            .collect(),
        connections: of_connections.iter().map(happened).collect(),
    }
}

/// Until the next deadline, rounded up.
fn timeout(connections: &[Connection]) -> PollTimeout {
    let Some(due_ns) = connections.iter().map(Connection::due_ns).min() else {
        return PollTimeout::NONE;
    };
    let left_ms = due_ns.saturating_sub(monotonic_ns()).div_ceil(1_000_000);
    PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX)
}

fn accept(door: &Door, connections: &mut Vec<Connection>, now_ns: u64) {
    for _ in 0..ACCEPTS_MAX {
        match net::accept(door.socket.as_fd()) {
            Ok((socket, _)) if make_room(door.kind, connections) => {
                connections.push(Connection::new(socket, door.kind, now_ns));
            }
            Ok(_) => {}
            Err(error) => {
                // It stays readable, and would be tried again and again.
                if let Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) =
                    error.raw_os_error()
                {
                    std::thread::sleep(EXHAUSTED_PAUSE);
                }
                return;
            }
        }
    }
}

/// Who has not asked completely has to go, or else who has an answer that does not leave: a stranger can have as many of these
/// as they like, and take from each a byte now and then. Orders that are carried out stay. False: there is no room.
fn make_room(kind: DoorKind, connections: &mut Vec<Connection>) -> bool {
    let is_of_kind = |one: &Connection| one.door == kind;
    if connections.iter().filter(|one| is_of_kind(one)).count() < CONNECTIONS_MAX {
        return true;
    }
    let oldest = |is_dispensable: fn(&Connection) -> bool| {
        let mut all = connections.iter();
        all.position(|one| is_of_kind(one) && is_dispensable(one))
    };
    let Some(index) = oldest(Connection::is_reading).or_else(|| oldest(Connection::is_sending))
    else {
        return false;
    };
    connections.remove(index);
    true
}

/// A fault in one answer must not end them all.
fn guarded(connection: &mut Connection, work: impl FnOnce(&mut Connection)) {
    let result = catch_unwind(AssertUnwindSafe(|| work(connection)));
    if result.is_err() {
        crate::error!("admin: a request could not be answered because of a fault in rgunicorn");
        connection.give_up();
    }
}
