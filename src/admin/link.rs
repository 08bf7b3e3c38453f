//! What the arbiter's shell and the admin thread share. Neither ever waits for the other: locks are held for a move or a
//! copy, and both are woken by bells.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{
    backlogs::Backlogs,
    events::{Event, Events},
    server,
    view::View,
};
use crate::{
    config::{LogLevel, Secret},
    sys::{Bell, monotonic_ns, unix_micros, without_signals},
    wire::Scoreboard,
};

/// Orders that may wait for the shell. People and their tools give few.
const ORDERS_MAX: usize = 64;
/// The deepest it goes is parsing a head, which sets aside 16 KiB for fields. Pages that are not used take no memory.
const STACK_BYTES: usize = 512 * 1024;

/// What a client wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again and roll a new generation in, as HUP does.
    Reload,
    /// So many workers, until the file changes `workers`. As many as before when one cannot boot.
    Scale(u16),
    Stop {
        quick: bool,
    },
    /// End the worker with this process id; its successor comes by itself.
    EndWorker {
        pid: u32,
        quick: bool,
    },
    LogLevel(LogLevel),
    /// Write down what the Python code of this worker is at.
    Stacks {
        pid: u32,
    },
    /// Execute the program on disk in place, as USR2 does.
    Upgrade,
}

/// Names an order that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// What the shell says to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Accepted; what was done, in a sentence, or what was asked for.
    Done(String),
    /// The reload with this number has begun, or is decided already.
    Reload(u64),
    /// Another number of workers is wanted; which order for that it is, from 1.
    Scale(u64),
    /// Not possible; why, in a sentence.
    Refused(String),
}

/// A socket to be asked at.
#[derive(Debug, Clone)]
pub struct Door {
    pub kind: DoorKind,
    /// Listens, and does not block.
    pub socket: Arc<OwnedFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorKind {
    /// Whoever can connect may do everything: the file's mode says who can.
    Unix,
    /// Strangers may connect.
    Tcp(SocketAddr),
}

/// What is asked of strangers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Without one they may ask for what is open only.
    pub token: Option<Secret>,
    /// Paths that are open beside those that always are.
    pub open: Vec<String>,
}

/// The shell's end.
pub struct Admin {
    link: Arc<Link>,
    /// For the thread, which starts with the first door; `None` once it runs.
    board: Option<Scoreboard>,
}

/// Gives answers from any thread.
pub struct Answers(Arc<Link>);

impl Answers {
    pub fn give(&self, ticket: Ticket, answer: Answer) {
        lock(&self.0.answers).push_back((ticket, answer));
        self.0.thread_bell.ring();
    }
}

/// The state behind both ends.
pub(super) struct Link {
    view: Mutex<Arc<View>>,
    doors: Mutex<Arc<Vec<Door>>>,
    policy: Mutex<Arc<Policy>>,
    events: Mutex<Events>,
    orders: Mutex<VecDeque<(Ticket, Order)>>,
    answers: Mutex<VecDeque<(Ticket, Answer)>>,
    tickets: AtomicU64,
    /// CLOCK_MONOTONIC nanoseconds since when the shell has not waited; 0 while it waits.
    busy_since: AtomicU64,
    is_over: AtomicBool,
    shell_bell: Bell,
    thread_bell: Bell,
}

impl Admin {
    /// Without a thread or a socket yet. `board` is a mapping of its own.
    pub fn new(view: View, board: Scoreboard) -> io::Result<Self> {
        let link = Link {
            view: Mutex::new(Arc::new(view)),
            doors: Mutex::default(),
            policy: Mutex::default(),
            events: Mutex::default(),
            orders: Mutex::default(),
            answers: Mutex::default(),
            tickets: AtomicU64::new(1),
            busy_since: AtomicU64::new(monotonic_ns()),
            is_over: AtomicBool::new(false),
            shell_bell: Bell::create()?,
            thread_bell: Bell::create()?,
        };
        Ok(Self {
            link: Arc::new(link),
            board: Some(board),
        })
    }

    /// From now on it is asked at these doors, and at no others. An error: there is no thread yet, and the next call tries again.
    pub fn open(&mut self, doors: Vec<Door>, policy: Policy) -> io::Result<()> {
        let is_wanted = !doors.is_empty();
        *lock(&self.link.doors) = Arc::new(doors);
        *lock(&self.link.policy) = Arc::new(policy);
        self.link.thread_bell.ring();
        if is_wanted && let Some(board) = &self.board {
            let board = board.another()?;
            let link = Arc::clone(&self.link);
            let builder = std::thread::Builder::new()
                .name("admin".to_owned())
                .stack_size(STACK_BYTES);
            // Signals are the shell's.
            without_signals(|| builder.spawn(move || server::run(&link, board)))?;
            self.board = None;
        }
        Ok(())
    }

    /// What changed is worth telling to whoever waits for it.
    pub fn publish(&self, view: View) {
        let mut published = lock(&self.link.view);
        if **published != view {
            *published = Arc::new(view);
            drop(published);
            self.link.thread_bell.ring();
        }
    }

    /// What is remembered of the log, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.link.events_after(0)
    }

    /// Remembers these, of the program that this one goes on for.
    pub fn resume_events(&self, events: Vec<Event>) {
        *lock(&self.link.events) = Events::resume(events);
    }

    /// Remembers what this process tells its log from now on.
    pub fn listen_to_log(&self) {
        let link = Arc::clone(&self.link);
        crate::telemetry::open_tap(Box::new(move |level, line, text_below| {
            if level >= LogLevel::Info {
                lock(&link.events).add(unix_micros(), level, line, text_below);
            }
        }));
    }

    /// Readable when orders wait.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.link.shell_bell.as_fd()
    }

    /// The orders that wait, oldest first.
    pub fn take_orders(&self) -> Vec<(Ticket, Order)> {
        self.link.shell_bell.drain();
        lock(&self.link.orders).drain(..).collect()
    }

    /// To answer the orders by.
    pub fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.link))
    }

    /// To watch the listeners by.
    pub fn backlogs(&self) -> Backlogs {
        Backlogs(Arc::clone(&self.link))
    }

    /// To be called around the one place where the shell waits.
    pub fn note_waiting(&self) {
        self.link.busy_since.store(0, Relaxed);
    }

    pub fn note_busy(&self) {
        self.link.busy_since.store(monotonic_ns(), Relaxed);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.link.is_over.store(true, SeqCst);
        self.link.thread_bell.ring();
    }
}

impl Link {
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&lock(&self.view))
    }

    pub(super) fn doors(&self) -> Arc<Vec<Door>> {
        Arc::clone(&lock(&self.doors))
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&lock(&self.policy))
    }

    pub(super) fn events_after(&self, number: u64) -> Vec<Event> {
        lock(&self.events).after(number)
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.thread_bell
    }

    /// The shell is gone.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// `None` when too many wait already.
    pub(super) fn give(&self, order: Order) -> Option<Ticket> {
        let mut orders = lock(&self.orders);
        if orders.len() >= ORDERS_MAX {
            return None;
        }
        let ticket = Ticket(self.tickets.fetch_add(1, Relaxed));
        orders.push_back((ticket, order));
        drop(orders);
        self.shell_bell.ring();
        Some(ticket)
    }

    /// The answers since the last call. One that nobody waits for any more is forgotten by whoever takes it.
    pub(super) fn take_answers(&self) -> Vec<(Ticket, Answer)> {
        lock(&self.answers).drain(..).collect()
    }

    /// For how long the shell has not waited; 0 while it waits.
    pub(super) fn busy_ns(&self, now_ns: u64) -> u64 {
        match self.busy_since.load(Relaxed) {
            0 => 0,
            since => now_ns.saturating_sub(since),
        }
    }
}

/// A panic elsewhere leaves values that were moved in whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
