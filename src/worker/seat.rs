//! A thread's place in the crew: whether it is in the app, since when, and who may answer the request it runs.

use std::{
    os::fd::RawFd,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicI32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
    thread::Thread,
};

use super::{
    connection::Connection,
    held::HeldResponse,
    reactor::{QUICK_CALL_NS_MAX, is_in_time},
    request_id::RequestIds,
};
use crate::{
    http::{Refusal, date},
    sys,
};

/// Who answers the current call: the two low bits of [`Seat::answer`]; the others count the calls, so that whoever looks
/// late meets the call it meant or none.
const ANSWER_BITS: u32 = 2;
/// Nobody has begun to answer.
const OPEN: u64 = 0;
/// The app's response has begun.
const ANSWERING: u64 = 1;
/// The app took too long; the answer is being sent in its place.
const TIMED_OUT: u64 = 2;
/// That answer is out.
const ANSWERED: u64 = 3;

#[derive(Default)]
#[repr(align(64))]
pub struct Seat {
    thread: OnceLock<Thread>,
    /// It waits for leadership; whoever swaps this to false promises it.
    pub is_free: AtomicBool,
    /// CLOCK_MONOTONIC nanoseconds; 0 while not in the app.
    call_started: AtomicU64,
    /// The call's number and who answers it.
    answer: AtomicU64,
    socket: AtomicI32,
    /// The call's request is a HEAD.
    is_head: AtomicBool,
    /// The last call that was interrupted, or is about to be.
    interrupted: AtomicU64,
    /// What the call is about, where slow ones are told of.
    what: Mutex<String>,
    /// The response field with the request's id, where responses say it: for whoever answers in the app's place.
    id_field: Mutex<Vec<u8>>,
    /// It is not empty: without ids, no lock is taken.
    has_id_field: AtomicBool,
    /// The last call that was told to be slow.
    told_slow: AtomicU64,
    /// The kernel's id of the thread that has the seat.
    thread_id: AtomicI32,
    /// Since when responses wait for company, CLOCK_MONOTONIC nanoseconds; 0: that of the current call may not.
    holds_since_ns: AtomicU64,
    /// The response of the current call, if it waits for others.
    held: Mutex<HeldResponse>,
}

impl Seat {
    /// Takes the seat for the current thread.
    pub fn occupy(&self) {
        let _ = self.thread.set(std::thread::current());
        self.thread_id.store(sys::thread_id(), Relaxed);
    }

    /// The kernel's id of the thread that has the seat.
    pub fn thread_id(&self) -> i32 {
        self.thread_id.load(Relaxed)
    }

    /// Keeps what the call to come is about.
    pub fn describe(&self, ids: &RequestIds, connection: &Connection) {
        let mut what = self.what.lock().unwrap_or_else(PoisonError::into_inner);
        what.clear();
        ids.describe(connection, &mut what);
    }

    /// Keeps the id that the response to the call to come says.
    pub fn keep_id(&self, ids: &RequestIds, connection: &Connection) {
        if ids.are_said() || self.has_id_field.load(Relaxed) {
            let mut field = (self.id_field.lock()).unwrap_or_else(PoisonError::into_inner);
            field.clear();
            ids.write_field(connection, &mut field);
            self.has_id_field.store(!field.is_empty(), Relaxed);
        }
    }

    /// If the current call has become slow: its number, how long it has lasted (nanoseconds) and what it is about; once
    /// per call.
    pub fn became_slow(&self, now_ns: u64, limit_ns: u64) -> Option<(u64, u64, String)> {
        // Read before the duration, as in `time_out`.
        let call = self.call();
        let lasted_ns = self.lasted_ns(now_ns);
        if lasted_ns <= limit_ns || self.told_slow.swap(call, SeqCst) == call {
            return None;
        }
        let what = self.what.lock().unwrap_or_else(PoisonError::into_inner);
        Some((call, lasted_ns, what.clone()))
    }

    pub fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// `is_head`: the answer has no body.
    pub fn begin(&self, now_ns: u64, socket: RawFd, is_head: bool) {
        self.socket.store(socket, Relaxed);
        self.is_head.store(is_head, Relaxed);
        self.answer.store(word(self.call() + 1, OPEN), Release);
        self.call_started.store(now_ns, Release);
    }

    /// The number of the current call, or of the last one.
    pub fn call(&self) -> u64 {
        self.answer.load(Acquire) >> ANSWER_BITS
    }

    /// Whether this call is not over yet.
    pub fn is_in_call(&self, call: u64) -> bool {
        self.call() == call && self.call_started.load(Acquire) != 0
    }

    /// Whether the current call was interrupted, or is about to be.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(SeqCst) == self.call()
    }

    /// The response of the current call may wait for company, as others have since `since_ns`; `None`: it may not.
    pub fn let_hold(&self, since_ns: Option<u64>) {
        self.holds_since_ns.store(since_ns.unwrap_or(0), Relaxed);
    }

    /// Takes a complete response, made of `parts`, if it may wait for company. Returns when that was.
    pub fn hold_back(&self, parts: &[&[u8]]) -> Option<u64> {
        let since_ns = self.holds_since_ns.load(Relaxed);
        if since_ns == 0 {
            return None;
        }
        let now_ns = sys::monotonic_ns();
        if !is_in_time(self.call_started.load(Acquire), since_ns, now_ns) {
            return None;
        }
        let mut held = self.held();
        for part in parts {
            held.extend(part);
        }
        Some(now_ns)
    }

    /// The response that waits; while this is held, nobody else sends of it.
    pub fn held(&self) -> MutexGuard<'_, HeldResponse> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a response that waits although its call goes on.
    pub fn send_held_if_late(&self, now_ns: u64) {
        if self.call_lasts(now_ns, QUICK_CALL_NS_MAX) {
            // The socket stays open: its thread locks the response before it gives the connection back.
            self.held().send(self.socket.load(Relaxed));
        }
    }

    pub fn end(&self) {
        self.call_started.store(0, Release);
    }

    /// How long the current call has lasted, nanoseconds; 0 while there is none.
    pub fn lasted_ns(&self, now_ns: u64) -> u64 {
        match self.call_started.load(Acquire) {
            0 => 0,
            started => now_ns.saturating_sub(started),
        }
    }

    pub fn call_lasts(&self, now_ns: u64, longer_than_ns: u64) -> bool {
        self.lasted_ns(now_ns) > longer_than_ns
    }

    /// When the current call, if there is one, will have lasted so long.
    pub fn due_ns(&self, limit_ns: u64) -> Option<u64> {
        let started = self.call_started.load(Acquire);
        (started != 0).then(|| started.saturating_add(limit_ns))
    }

    /// The app's thread asks before the first byte of its response. False: the request has been answered already.
    pub fn may_answer(&self) -> bool {
        let call = self.call();
        match self
            .answer
            .compare_exchange(word(call, OPEN), word(call, ANSWERING), SeqCst, SeqCst)
        {
            Ok(_) => true,
            Err(answer) if answer == word(call, ANSWERING) => true,
            Err(_) => {
                // The answer is a few hundred bytes into a socket buffer: this lasts microseconds.
                while self.answer.load(Acquire) != word(call, ANSWERED) {
                    std::hint::spin_loop();
                }
                false
            }
        }
    }

    /// The app takes the connection's socket: nobody answers in its place any more, and the call lasts as long as it likes, which
    /// nobody watches. False: the request has been answered already.
    pub fn lose_call(&self) -> bool {
        let may = self.may_answer();
        if may {
            self.end();
        }
        may
    }

    /// Takes back what [`Seat::may_answer`] has claimed.
    pub fn leave_open(&self) {
        let call = self.call();
        let (answering, open) = (word(call, ANSWERING), word(call, OPEN));
        // Fails where nothing was claimed.
        let _ = self
            .answer
            .compare_exchange(answering, open, SeqCst, SeqCst);
    }

    /// Ends the call if it has lasted longer than allowed: answers 504 if nothing was answered yet. Returns the call to
    /// interrupt, once per call.
    pub fn time_out(&self, now_ns: u64, longer_than_ns: u64) -> Option<u64> {
        // Read before the duration: were the call over by then, the exchange below would fail.
        let call = self.call();
        if !self.call_lasts(now_ns, longer_than_ns) || self.interrupted.swap(call, SeqCst) == call {
            return None;
        }
        if self
            .answer
            .compare_exchange(word(call, OPEN), word(call, TIMED_OUT), SeqCst, SeqCst)
            .is_ok()
        {
            let mut answer = Vec::new();
            let date = date::format(sys::unix_seconds());
            let id = (self.id_field.lock()).unwrap_or_else(PoisonError::into_inner);
            let is_head = self.is_head.load(Relaxed);
            Refusal::APP_TIMEOUT
                .write_answer(&mut answer, &date, is_head, |head| head.extend(&*id));
            drop(id);
            // The socket stays open: its thread waits for ANSWERED before it gives the connection back.
            let _ = sys::net::send_to_number(self.socket.load(Relaxed), &answer);
            self.answer.store(word(call, ANSWERED), Release);
        }
        Some(call)
    }
}

fn word(call: u64, answer: u64) -> u64 {
    call << ANSWER_BITS | answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_call_that_began_to_answer_in_time_is_interrupted_but_keeps_its_answer() {
        let seat = Seat::default();
        seat.begin(SECOND, -1, false);
        assert!(seat.may_answer());
        assert_eq!(seat.time_out(3 * SECOND, SECOND), Some(1));
        assert!(seat.may_answer());
        assert!(seat.is_interrupted());
    }

    #[test]
    fn a_call_that_took_too_long_loses_its_answer_and_is_interrupted_once() {
        let seat = Seat::default();
        seat.begin(SECOND, -1, false);
        assert_eq!(seat.time_out(SECOND + 5, SECOND), None, "not yet");
        assert_eq!(seat.time_out(3 * SECOND, SECOND), Some(1));
        assert_eq!(seat.time_out(3 * SECOND, SECOND), None, "once");
        assert!(!seat.may_answer());
    }

    #[test]
    fn a_call_that_has_only_hinted_can_still_be_answered_in_its_place() {
        let seat = Seat::default();
        seat.begin(SECOND, -1, false);
        assert!(seat.may_answer());
        seat.leave_open();
        assert_eq!(seat.time_out(3 * SECOND, SECOND), Some(1));
        assert!(!seat.may_answer());
        seat.leave_open();
        assert!(!seat.may_answer(), "nothing was claimed");
    }

    #[test]
    fn a_call_that_took_the_socket_lasts_as_long_as_it_likes() {
        let seat = Seat::default();
        seat.begin(SECOND, -1, false);
        assert!(seat.lose_call());
        assert_eq!(seat.time_out(3 * SECOND, SECOND), None);
        assert_eq!(seat.became_slow(3 * SECOND, SECOND), None);
        seat.begin(3 * SECOND, -1, false);
        seat.time_out(9 * SECOND, SECOND);
        assert!(!seat.lose_call(), "another has answered");
    }

    #[test]
    fn the_next_call_knows_nothing_of_the_last_ones_timeout() {
        let seat = Seat::default();
        seat.begin(SECOND, -1, false);
        seat.time_out(3 * SECOND, SECOND);
        seat.end();
        assert_eq!(
            seat.time_out(9 * SECOND, SECOND),
            None,
            "nothing is running"
        );
        seat.begin(9 * SECOND, -1, false);
        assert!(!seat.is_interrupted());
        assert!(seat.may_answer());
    }
}
