//! The monitor's thread: it watches the calls of the app, and leads while no other thread can.

use std::{
    sync::{
        PoisonError,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use super::{
    CLEARLY_SLOW_CALL_NS, Crew, EAGER_NS, SLOW_CALL_NS,
    leadership::{IN_CALL, active},
};
use crate::{
    sys::{self, Event},
    worker::{
        reactor::{EVENTS_MAX, QUICK_CALL_NS_MAX, Reactor},
        seat::Seat,
    },
};

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How often the monitor, leading, looks for events of connections that another worker could serve: the less, the longer
/// the calls take already.
const BUSY_LOOK_EVERY_MIN: Duration = Duration::from_micros(500);
const BUSY_LOOK_EVERY_MAX: Duration = Duration::from_millis(5);
/// The same where no other worker serves, and nobody could be given anything.
const LONELY_LOOK_EVERY: Duration = Duration::from_millis(10);
/// While leadership is passed on before each call, the monitor has only the limits of calls to watch; and where all calls have
/// been quick, each look costs more than the moment by which it would see the first slow one earlier.
const RELAXED_LOOK_EVERY: Duration = Duration::from_millis(5);
/// All calls have been quick: none was seen to be slow for this long.
const QUICK_FOR_NS: u64 = 1_000_000_000;

/// The monitor looks around, or will soon.
pub(super) const AWAKE: u32 = 0;
/// The monitor sleeps until somebody sets its alarm.
const ASLEEP: u32 = 1;
/// Somebody has set it.
const ALARMED: u32 = 2;

impl Crew {
    /// The monitor's thread: watches the calls, and leads while no other thread can.
    pub fn monitor(&self) {
        *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        let (mut calls_seen, mut ended_seen) = (0, 0);
        loop {
            self.watch_calls();
            let ended = self.calls_ended();
            let threads_move_on = std::mem::replace(&mut ended_seen, ended) != ended;
            if self.leads(self.seats.len()) {
                self.lead_while_busy(threads_move_on);
                continue;
            }
            let is_quiet = self.busy.load(SeqCst) == 0;
            let must_leave = self.leave_by_ns.load(SeqCst) != 0;
            if self.leaving.load(SeqCst) && (is_quiet || !must_leave) {
                return;
            }
            // Where calls are rare, looking for them would cost more than they do; where they are many, waking up for each.
            let calls = self.calls_begun();
            let nothing_happens = !self.has_calls_to_watch() && calls == calls_seen;
            calls_seen = calls;
            if nothing_happens && !must_leave {
                self.sleep_until_a_call();
            } else {
                std::thread::park_timeout(self.look_every());
            }
        }
    }

    /// The calls of all seats so far.
    fn calls_begun(&self) -> u64 {
        self.seats.iter().map(Seat::call).sum()
    }

    /// Of these, those that are over.
    fn calls_ended(&self) -> u64 {
        (self.calls_begun()).saturating_sub(u64::from(self.busy.load(SeqCst)))
    }

    /// The thread that begins the next call sets the alarm.
    fn sleep_until_a_call(&self) {
        self.monitor_state.store(ASLEEP, SeqCst);
        // What came before that was no reason to set the alarm.
        let may_sleep = !self.has_calls_to_watch()
            && !self.leads(self.seats.len())
            && !self.leaving.load(SeqCst)
            && self.leave_by_ns.load(SeqCst) == 0;
        if may_sleep {
            self.alarm.sleep();
        }
        self.monitor_state.store(AWAKE, SeqCst);
    }

    /// A call has begun: should it last, the monitor is awake by then.
    pub(super) fn have_call_watched(&self) {
        let state = &self.monitor_state;
        if state.load(SeqCst) == ASLEEP
            && state
                .compare_exchange(ASLEEP, ALARMED, SeqCst, SeqCst)
                .is_ok()
        {
            self.alarm.set(LOOK_EVERY);
        }
    }

    pub(super) fn wake_monitor(&self) {
        if let Some(thread) = &*self.monitor.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
        if self.monitor_state.swap(ALARMED, SeqCst) != AWAKE {
            self.alarm.set(Duration::ZERO);
        }
    }

    fn look_every(&self) -> Duration {
        let (now_ns, slow_until_ns) = (sys::monotonic_ns(), self.slow_until_ns.load(Relaxed));
        let is_eager = self.seats.len() > 1
            && now_ns < slow_until_ns
            && self.leader.load(SeqCst) & IN_CALL == 0;
        if is_eager || now_ns > slow_until_ns + QUICK_FOR_NS {
            RELAXED_LOOK_EVERY
        } else {
            LOOK_EVERY
        }
    }

    fn watch_calls(&self) {
        let now_ns = sys::monotonic_ns();
        let leader = self.leader.load(SeqCst);
        if leader & IN_CALL != 0 {
            let seat = (leader >> 1) as usize;
            if self.seats[seat].call_lasts(now_ns, QUICK_CALL_NS_MAX) {
                self.reactor().let_go();
            }
            if self.seats[seat].call_lasts(now_ns, SLOW_CALL_NS) {
                self.pass_leadership_on(seat);
            }
        }
        for seat in &self.seats {
            seat.send_held_if_late(now_ns);
            if seat.call_lasts(now_ns, CLEARLY_SLOW_CALL_NS) {
                self.slow_until_ns.store(now_ns + EAGER_NS, Relaxed);
            }
        }
        let request_timeout_ns = self.station.live.request_timeout_ns();
        if request_timeout_ns > 0 {
            for (index, seat) in self.seats.iter().enumerate() {
                if let Some(call) = seat.time_out(now_ns, request_timeout_ns) {
                    self.interpreter.interrupt(index, call);
                }
            }
        }
        if let Some(limit_ns) = self.station.slow.limit_ns() {
            self.tell_slow_calls(now_ns, limit_ns);
        }
        let leave_by_ns = self.leave_by_ns.load(SeqCst);
        if leave_by_ns != 0 && now_ns >= leave_by_ns {
            self.station.finish_logs();
            sys::exit_now(0);
        }
    }

    fn tell_slow_calls(&self, now_ns: u64, limit_ns: u64) {
        for (index, seat) in self.seats.iter().enumerate() {
            let Some((call, age_ns, what)) = seat.became_slow(now_ns, limit_ns) else {
                continue;
            };
            let slow = &self.station.slow;
            if let Some(headline) = slow.headline(self.slot(), &what, age_ns, now_ns) {
                self.interpreter.show(index, call, headline);
            }
        }
    }

    /// The monitor's turn of the loop, while every thread is in the app. It looks for events now and then and does not wait
    /// for them: nobody could run what they bring.
    fn lead_while_busy(&self, threads_move_on: bool) {
        let is_alone = {
            let mut reactor = self.reactor();
            if !self.leads(self.seats.len()) {
                return;
            }
            reactor.let_go();
            if self.leaving.load(SeqCst) {
                self.leader.store(active(0), SeqCst);
                return;
            }
            // A thread that came back just before the monitor took over.
            if let Some(heir) = self.claim_free_seat() {
                self.leader.store(active(heir), SeqCst);
                self.seats[heir].wake();
                return;
            }
            reactor.do_cold_work(sys::monotonic_ns());
            let is_alone = reactor.watch_if_alone(threads_move_on);
            self.poll(&mut reactor);
            reactor.pump_while_busy();
            self.after_events(&mut reactor);
            is_alone
        };
        self.station.with_logs(0);
        std::thread::park_timeout(match is_alone {
            true => LONELY_LOOK_EVERY,
            false => self.busy_look_every(),
        });
    }

    /// The longer the calls take already, the less it matters to see a moment earlier what came in meanwhile.
    fn busy_look_every(&self) -> Duration {
        let now_ns = sys::monotonic_ns();
        let calls = self.seats.iter().map(|seat| seat.lasted_ns(now_ns));
        // Those that took their socket may last for days.
        let shortest_ns = calls.filter(|lasted_ns| *lasted_ns > 0).min();
        let shortest_ns = shortest_ns.unwrap_or(u64::MAX);
        Duration::from_nanos(shortest_ns / 4).clamp(BUSY_LOOK_EVERY_MIN, BUSY_LOOK_EVERY_MAX)
    }

    /// Takes the events that are there.
    fn poll(&self, reactor: &mut Reactor) {
        let mut events = [Event::EMPTY; EVENTS_MAX];
        match self.epoll.wait(&mut events, 0) {
            Ok(count) => self.collect(reactor, &events[..count]),
            Err(error) => self.fail(&error),
        }
    }
}
