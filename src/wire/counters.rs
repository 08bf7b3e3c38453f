//! What a worker counts, in its slot of the scoreboard, and the sum over all workers that ever were.
//!
//! Counters only grow, and each has one writer at a time: the worker counts with its reactor locked, the arbiter moves the
//! counters of a reaped worker to those of the past. So to count is a load and a store, without a locked instruction.
//! They are one flat array: to clear, add up and move them are loops, and no counter can be forgotten in one of them.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Methods that are told apart; the last stands for all others.
pub const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
/// Classes of statuses; the last is for what HTTP does not define.
pub const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
/// Statuses that are told apart one by one; what lies outside is counted as status 0.
pub const STATUSES: Range<u16> = 100..600;
/// The upper bounds of a histogram's buckets, nanoseconds; one more bucket takes what is longer. From the fastest app to
/// a request that somebody gave up on: about two and a half times as long each.
pub const BUCKETS_NS: [u64; 18] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];
/// Statuses of requests that never reach the app; the last stands for all others.
pub const REFUSALS: [u16; 10] = [400, 408, 413, 414, 417, 431, 500, 501, 503, 505];

/// A counter that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Connections that were accepted.
    Accepted,
    /// Bytes received from clients and sent to them, heads and framing included.
    Received,
    Sent,
    /// WebSockets that the app accepted, and messages of theirs.
    WebSockets,
    MessagesReceived,
    MessagesSent,
}

/// A distribution of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Histogram {
    /// From the complete request to the complete response, as far as it is ours to complete.
    Duration,
    /// The part of it before the app was called.
    Wait,
}

const COUNTS: usize = 0;
const COUNTS_LENGTH: usize = Count::MessagesSent as usize + 1;
const HISTOGRAMS: usize = COUNTS + COUNTS_LENGTH;
/// The buckets, and the sum of all durations in nanoseconds.
const HISTOGRAM_LENGTH: usize = BUCKETS_NS.len() + 2;
const REQUESTS: usize = HISTOGRAMS + 2 * HISTOGRAM_LENGTH;
const REQUESTS_LENGTH: usize = METHODS.len() * STATUS_CLASSES.len();
const RESPONSES: usize = REQUESTS + REQUESTS_LENGTH;
/// The first is for status 0.
const RESPONSES_LENGTH: usize = 1 + (STATUSES.end - STATUSES.start) as usize;
const REFUSED: usize = RESPONSES + RESPONSES_LENGTH;
const REFUSED_LENGTH: usize = REFUSALS.len() + 1;
const CELLS: usize = REFUSED + REFUSED_LENGTH;

/// The counters of one worker, or of all that left.
#[repr(C, align(64))]
pub struct Counters {
    cells: [AtomicU64; CELLS],
}

impl Counters {
    /// Counts a request that was answered or refused. `method` is what the client sent.
    pub fn count_request(&self, method: &[u8], status: u16) {
        let place = REQUESTS + method_index(method) * STATUS_CLASSES.len() + class_index(status);
        self.add_at(place, 1);
        self.add_at(RESPONSES + status_index(status), 1);
    }

    /// Counts a request that never reached the app, beside [`Counters::count_request`].
    pub fn count_refusal(&self, status: u16) {
        let index = REFUSALS.iter().position(|known| *known == status);
        self.add_at(REFUSED + index.unwrap_or(REFUSALS.len()), 1);
    }

    pub fn observe(&self, histogram: Histogram, ns: u64) {
        let start = HISTOGRAMS + histogram as usize * HISTOGRAM_LENGTH;
        let bucket = BUCKETS_NS.iter().position(|bound| ns <= *bound);
        self.add_at(start + bucket.unwrap_or(BUCKETS_NS.len()), 1);
        self.add_at(start + HISTOGRAM_LENGTH - 1, ns);
    }

    pub fn add(&self, count: Count, amount: u64) {
        self.add_at(COUNTS + count as usize, amount);
    }

    fn add_at(&self, place: usize, amount: u64) {
        let cell = &self.cells[place];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Adds what another set of counters holds.
    pub(super) fn absorb(&self, other: &Self) {
        for (place, cell) in other.cells.iter().enumerate() {
            let amount = cell.load(Relaxed);
            if amount != 0 {
                self.add_at(place, amount);
            }
        }
    }

    pub(super) fn clear(&self) {
        for cell in &self.cells {
            cell.store(0, Relaxed);
        }
    }
}

/// Where a method stands in [`METHODS`]. Methods are case-sensitive.
fn method_index(method: &[u8]) -> usize {
    let others = METHODS.len() - 1;
    let mut known = METHODS[..others].iter();
    known
        .position(|known| known.as_bytes() == method)
        .unwrap_or(others)
}

fn class_index(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => usize::from(class) - 1,
        _ => STATUS_CLASSES.len() - 1,
    }
}

fn status_index(status: u16) -> usize {
    match STATUSES.contains(&status) {
        true => usize::from(status - STATUSES.start) + 1,
        false => 0,
    }
}

/// What all workers together counted, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    cells: Box<[u64]>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            cells: vec![0; CELLS].into(),
        }
    }
}

/// A histogram as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution<'a> {
    /// How many fell into each bucket of [`BUCKETS_NS`], and beyond the last.
    pub buckets: &'a [u64],
    pub sum_ns: u64,
}

impl Distribution<'_> {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Totals {
    pub(super) fn add(&mut self, counters: &Counters) {
        for (sum, cell) in self.cells.iter_mut().zip(&counters.cells) {
            *sum += cell.load(Relaxed);
        }
    }

    pub(super) fn clear(&mut self) {
        self.cells.fill(0);
    }

    pub fn count(&self, count: Count) -> u64 {
        self.cells[COUNTS + count as usize]
    }

    pub fn histogram(&self, histogram: Histogram) -> Distribution<'_> {
        let start = HISTOGRAMS + histogram as usize * HISTOGRAM_LENGTH;
        let (buckets, sum) =
            self.cells[start..start + HISTOGRAM_LENGTH].split_at(HISTOGRAM_LENGTH - 1);
        Distribution {
            buckets,
            sum_ns: sum[0],
        }
    }

    /// Requests by method and class of status, all of them.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        METHODS.iter().enumerate().flat_map(move |(row, method)| {
            let columns = STATUS_CLASSES.iter().enumerate();
            columns.map(move |(column, class)| {
                let place = REQUESTS + row * STATUS_CLASSES.len() + column;
                (*method, *class, self.cells[place])
            })
        })
    }

    /// All requests, refused ones included.
    pub fn requests_total(&self) -> u64 {
        self.cells[REQUESTS..RESPONSES].iter().sum()
    }

    /// Responses by status, those that there were. Status 0 stands for all that HTTP does not define.
    pub fn responses(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let statuses = std::iter::once(0).chain(STATUSES);
        let counts = self.cells[RESPONSES..REFUSED].iter().copied();
        statuses.zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Requests that never reached the app, by the status of the answer. Status 0 stands for all others.
    pub fn refusals(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let statuses = REFUSALS.into_iter().chain(std::iter::once(0));
        statuses.zip(self.cells[REFUSED..CELLS].iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Box<Counters> {
        let cells = std::array::from_fn(|_| AtomicU64::new(0));
        Box::new(Counters { cells })
    }

    fn totals_of(counters: &Counters) -> Totals {
        let mut totals = Totals::default();
        totals.add(counters);
        totals
    }

    #[test]
    fn a_request_counts_by_method_class_and_status() {
        let counters = counters();
        counters.count_request(b"GET", 200);
        counters.count_request(b"GET", 204);
        counters.count_request(b"get", 500);
        counters.count_request(b"POST", 999);
        counters.count_refusal(400);
        let totals = totals_of(&counters);
        let requests: Vec<_> = totals.requests().filter(|(_, _, n)| *n > 0).collect();
        assert_eq!(
            requests,
            [("GET", "2xx", 2), ("POST", "other", 1), ("other", "5xx", 1)]
        );
        let responses: Vec<_> = totals.responses().collect();
        assert_eq!(responses, [(0, 1), (200, 1), (204, 1), (500, 1)]);
        assert_eq!(totals.refusals().next(), Some((400, 1)));
        assert_eq!(totals.requests_total(), 4);
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let counters = counters();
        let longest = BUCKETS_NS[BUCKETS_NS.len() - 1];
        for ns in [0, BUCKETS_NS[0], BUCKETS_NS[0] + 1, longest, longest + 1] {
            counters.observe(Histogram::Wait, ns);
        }
        let totals = totals_of(&counters);
        let waits = totals.histogram(Histogram::Wait);
        assert_eq!((waits.buckets[0], waits.buckets[1]), (2, 1));
        let last = waits.buckets.len() - 1;
        assert_eq!((waits.buckets[last - 1], waits.buckets[last]), (1, 1));
        assert_eq!(waits.count(), 5);
        assert_eq!(waits.sum_ns, 2 * BUCKETS_NS[0] + 2 * longest + 2);
        assert_eq!(totals.histogram(Histogram::Duration).count(), 0);
    }

    #[test]
    fn the_parts_do_not_overlap() {
        let counters = counters();
        counters.add(Count::MessagesSent, 1);
        counters.observe(Histogram::Duration, 0);
        counters.observe(Histogram::Wait, u64::MAX / 2);
        counters.count_request(b"other", 599);
        counters.count_refusal(599);
        let totals = totals_of(&counters);
        assert_eq!(totals.count(Count::MessagesSent), 1);
        assert_eq!(totals.histogram(Histogram::Duration).sum_ns, 0);
        assert_eq!(totals.requests_total(), 1);
        assert_eq!(totals.responses().collect::<Vec<_>>(), [(599, 1)]);
        assert_eq!(totals.refusals().last(), Some((0, 1)));
    }
}
