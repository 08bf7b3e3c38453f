//! Watches from outside whether a worker's loop turns, where slow requests are told of: code that blocks a loop keeps it from
//! looking at its own requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    python::stacks::{self, Thread},
    sys,
    wire::Slot,
    worker::{Hub, Leaving},
};

/// Between two looks, at least and at most.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(500);
/// An idle loop turns once a second, which some would call slow.
const IDLE_TURN_NS_MAX: u64 = 1_500_000_000;
/// Requests in flight that are named.
const NAMED_MAX: usize = 10;

/// Starts the watch over the loop of the current thread, the loop of this process, once slow requests are told of. Called in
/// each turn.
pub(in crate::python) fn start_when_wanted(hub: &Arc<Hub>) {
    static IS_STARTED: AtomicBool = AtomicBool::new(false);
    if hub.station.slow.limit_ns().is_none() || IS_STARTED.swap(true, Relaxed) {
        return;
    }
    let thread = Thread {
        ident: sys::thread_ident(),
        id: sys::thread_id(),
    };
    let hub = Arc::clone(hub);
    let builder = std::thread::Builder::new().name("rg-loop-watch".to_owned());
    let started = sys::without_signals(|| builder.spawn(move || watch(&hub, thread)));
    if let Err(error) = started {
        crate::warning!("code that blocks the loop will not be told of: {error}");
    }
}

/// Until the loop ends. One line for each time that it stands still.
fn watch(hub: &Arc<Hub>, thread: Thread) {
    let mut told_ns = 0;
    while hub.leaving() == Leaving::No {
        let Some(limit_ns) = hub.station.slow.limit_ns() else {
            std::thread::sleep(LOOK_EVERY_MAX);
            continue;
        };
        std::thread::sleep(
            Duration::from_nanos(limit_ns / 4).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX),
        );
        let now_ns = sys::monotonic_ns();
        let slot = hub.station.slot();
        let turned_ns = slot.stalled_since.load(Relaxed);
        let stands_ns = now_ns.saturating_sub(turned_ns);
        let is_known = turned_ns == 0 || turned_ns == told_ns;
        if is_known || stands_ns <= limit_ns.max(IDLE_TURN_NS_MAX) {
            continue;
        }
        told_ns = turned_ns;
        let what = format!("a call that blocks the loop{}", in_flight(slot));
        if let Some(headline) = hub.station.slow.headline(slot, &what, stands_ns, now_ns) {
            let hub = Arc::clone(hub);
            stacks::tell(thread, headline, move || {
                hub.station.slot().stalled_since.load(Relaxed) == turned_ns
            });
        }
    }
}

/// ` (in flight: GET /a, GET /b)`
fn in_flight(slot: &Slot) -> String {
    let requests = slot.requests_in_flight();
    let named: Vec<&str> = requests
        .iter()
        .take(NAMED_MAX)
        .map(|(_, what)| what.as_str())
        .collect();
    match named.is_empty() {
        true => String::new(),
        false => format!(" (in flight: {})", named.join(", ")),
    }
}
