//! What a statsd server is sent: sums since the last report under Gunicorn's names, and some of the durations as they were.
//! Reads the scoreboard and makes datagrams; it neither waits nor sends.
//!
//! A duration as such cannot be added up, and a receiver computes percentiles of what it gets. So a report has the latest
//! durations of each worker with the share of all that they are (`|@0.25`), by which a receiver counts them in full.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
};

use super::metrics::Snapshot;
use crate::wire::{Count, LogCount, SAMPLES, Scoreboard};

/// Fits into an Ethernet frame, IPv6 headers included.
const DATAGRAM_BYTES_MAX: usize = 1432;
/// Durations in one report, of all workers together.
const DURATIONS_MAX: usize = 1_000;

/// Makes the reports, and knows what was told already.
pub struct Reporter {
    /// With a dot behind it, unless it is empty.
    prefix: String,
    /// With what goes before them, unless there are none.
    tags: String,
    /// What a backlog is sent as: Gunicorn's is a histogram of DogStatsD, which plain statsd does not know.
    backlog_kind: &'static str,
    told: Snapshot,
    exceptions: u64,
    /// By worker: how many durations it had measured.
    measured: BTreeMap<u64, u64>,
}

impl Reporter {
    /// What was counted until now is not reported.
    pub fn new(prefix: &str, tags: &[String], board: &Scoreboard) -> Self {
        let mut reporter = Self {
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}."),
            },
            tags: match tags {
                [] => String::new(),
                tags => format!("|#{}", tags.join(",")),
            },
            backlog_kind: if tags.is_empty() { "g" } else { "h" },
            told: Snapshot::default(),
            exceptions: 0,
            measured: BTreeMap::new(),
        };
        reporter.report(board, None);
        reporter
    }

    /// What happened since the last report, and what is now. `backlog` is how many connections wait to be accepted, where
    /// that is known.
    pub fn report(&mut self, board: &Scoreboard, backlog: Option<u64>) -> Vec<Vec<u8>> {
        let now = Snapshot::of(board);
        let exceptions = board.server().lines(LogCount::Exception);
        let mut out = Datagrams::new(&self.prefix, &self.tags);
        self.count(&mut out, &now, exceptions);
        self.durations(&mut out, board);
        gauges(&mut out, &now);
        if let Some(waiting) = backlog {
            out.line("gunicorn.backlog", waiting, self.backlog_kind);
        }
        let datagrams = out.finish();
        self.told = now;
        self.exceptions = exceptions;
        datagrams
    }

    fn count(&self, out: &mut Datagrams, now: &Snapshot, exceptions: u64) {
        let told = &self.told;
        let requests = now.totals.requests_total() - told.totals.requests_total();
        out.count("gunicorn.requests", requests);
        let before: BTreeMap<u16, u64> = told.totals.responses().collect();
        for (status, count) in now.totals.responses().filter(|(status, _)| *status != 0) {
            let count = count - before.get(&status).copied().unwrap_or(0);
            out.count(&format!("gunicorn.request.status.{status}"), count);
        }
        let [warnings, errors, critical] =
            [0, 1, 2].map(|level| now.log_lines[level] - told.log_lines[level]);
        let exceptions = exceptions - self.exceptions;
        out.count("gunicorn.log.critical", critical);
        out.count("gunicorn.log.error", errors.saturating_sub(exceptions));
        out.count("gunicorn.log.exception", exceptions);
        out.count("gunicorn.log.warning", warnings);
        for (name, count) in [
            ("rgunicorn.received_bytes", Count::Received),
            ("rgunicorn.sent_bytes", Count::Sent),
        ] {
            out.count(name, now.totals.count(count) - told.totals.count(count));
        }
        let before = told.worker_ends.iter().map(|(_, count)| *count);
        for ((end, count), before) in now.worker_ends.iter().zip(or_zero(before)) {
            out.count(
                &format!("rgunicorn.worker_exits.{}", end.word()),
                count - before,
            );
        }
        let before = told.reloads.iter().map(|(_, count)| *count);
        for ((outcome, count), before) in now.reloads.iter().zip(or_zero(before)) {
            out.count(
                &format!("rgunicorn.reloads.{}", outcome.word()),
                count - before,
            );
        }
    }

    fn durations(&mut self, out: &mut Datagrams, board: &Scoreboard) {
        let slots = board.slots_in_use();
        let share = (DURATIONS_MAX / slots.len().max(1)).clamp(1, SAMPLES) as u64;
        let mut measured = BTreeMap::new();
        for slot in slots.iter().filter(|slot| slot.worker() != 0) {
            let before = self.measured.get(&slot.worker()).copied().unwrap_or(0);
            let taken = slot.samples.taken();
            measured.insert(slot.worker(), taken);
            // A worker that boots forgets what it measured.
            let new = taken.saturating_sub(before);
            let shown = new.min(share);
            for us in slot.samples.latest(shown) {
                let ms = f64::from(us) / 1_000.0;
                match shown == new {
                    true => out.line("gunicorn.request.duration", ms, "ms"),
                    false => {
                        let kind = format!("ms|@{:.6}", shown as f64 / new as f64);
                        out.line("gunicorn.request.duration", ms, &kind);
                    }
                }
            }
        }
        self.measured = measured;
    }
}

/// The counts of a first report are all there is.
fn or_zero(counts: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    counts.chain(std::iter::repeat(0))
}

/// Told each time, changed or not: many receivers take what they do not hear of for zero.
fn gauges(out: &mut Datagrams, now: &Snapshot) {
    let workers = &now.workers;
    let workers = workers.booting + workers.ready + workers.draining;
    let now = &now.now;
    for (name, value) in [
        ("gunicorn.workers", workers),
        ("rgunicorn.threads.busy", now.threads_busy),
        ("rgunicorn.threads.idle", now.threads_idle()),
        ("rgunicorn.requests.in_app", now.in_app),
        ("rgunicorn.requests.waiting", now.waiting),
    ] {
        out.line(name, value, "g");
    }
}

/// Lines, packed into as few datagrams as they fit into.
struct Datagrams {
    prefix: String,
    tags: String,
    full: Vec<Vec<u8>>,
    filling: String,
}

impl Datagrams {
    fn new(prefix: &str, tags: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            tags: tags.to_owned(),
            full: Vec::new(),
            filling: String::new(),
        }
    }

    /// A counter that did not count says nothing.
    fn count(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.line(name, count, "c");
        }
    }

    fn line(&mut self, name: &str, value: impl Display, kind: &str) {
        let before = self.filling.len();
        if before > 0 {
            self.filling.push('\n');
        }
        let Self { prefix, tags, .. } = self;
        // Writing to a String does not fail.
        let _ = write!(self.filling, "{prefix}{name}:{value}|{kind}{tags}");
        if self.filling.len() > DATAGRAM_BYTES_MAX && before > 0 {
            let rest = self.filling.split_off(before + 1);
            self.filling.truncate(before);
            let full = std::mem::replace(&mut self.filling, rest);
            self.full.push(full.into_bytes());
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.filling.is_empty() {
            self.full.push(self.filling.into_bytes());
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ReloadOutcome, WorkerEnd, WorkerState};

    fn lines(datagrams: &[Vec<u8>]) -> Vec<String> {
        let texts = datagrams.iter().map(|datagram| {
            assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
            String::from_utf8(datagram.clone()).unwrap()
        });
        texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn a_report_tells_what_happened_since_the_last_one() {
        let board = Scoreboard::create().unwrap();
        board.assign(0, 1, 1);
        let slot = &board.slots()[0];
        slot.set_state(WorkerState::Ready);
        slot.counters.count_request(b"GET", 200);
        let tags = ["env:test".to_owned(), "a:b".to_owned()];
        let mut reporter = Reporter::new("site", &tags, &board);
        slot.counters.count_request(b"GET", 200);
        slot.counters.count_request(b"POST", 404);
        slot.samples.take(1_500_000);
        board.server().count_line(LogCount::Error);
        board.server().count_line(LogCount::Error);
        board.server().count_line(LogCount::Exception);
        board.server().count_end(WorkerEnd::Stuck);
        board.server().count_reload(ReloadOutcome::Done, 1);
        let told = lines(&reporter.report(&board, Some(3)));
        insta::assert_snapshot!(told.join("\n"), @r"
        site.gunicorn.requests:2|c|#env:test,a:b
        site.gunicorn.request.status.200:1|c|#env:test,a:b
        site.gunicorn.request.status.404:1|c|#env:test,a:b
        site.gunicorn.log.error:1|c|#env:test,a:b
        site.gunicorn.log.exception:1|c|#env:test,a:b
        site.rgunicorn.worker_exits.stuck:1|c|#env:test,a:b
        site.rgunicorn.reloads.done:1|c|#env:test,a:b
        site.gunicorn.request.duration:1.5|ms|#env:test,a:b
        site.gunicorn.workers:1|g|#env:test,a:b
        site.rgunicorn.threads.busy:0|g|#env:test,a:b
        site.rgunicorn.threads.idle:0|g|#env:test,a:b
        site.rgunicorn.requests.in_app:0|g|#env:test,a:b
        site.rgunicorn.requests.waiting:0|g|#env:test,a:b
        site.gunicorn.backlog:3|h|#env:test,a:b
        ");
        let told = lines(&reporter.report(&board, None));
        assert!(told.iter().all(|line| line.contains("|g|#")), "{told:?}");
        assert!(told.contains(&"site.gunicorn.workers:1|g|#env:test,a:b".to_owned()));
    }

    #[test]
    fn what_a_worker_that_left_had_counted_is_told_once() {
        let board = Scoreboard::create().unwrap();
        let mut reporter = Reporter::new("", &[], &board);
        board.assign(0, 1, 1);
        let slot = &board.slots()[0];
        slot.set_state(WorkerState::Ready);
        slot.counters.count_request(b"GET", 200);
        board.release(0);
        let told = lines(&reporter.report(&board, None));
        assert_eq!(told[0], "gunicorn.requests:1|c");
        assert_eq!(told[1], "gunicorn.request.status.200:1|c");
        assert!(!lines(&reporter.report(&board, None)).contains(&told[0]));
    }

    #[test]
    fn of_many_durations_the_latest_are_told_with_their_share() {
        let board = Scoreboard::create().unwrap();
        board.assign(0, 1, 1);
        let slot = &board.slots()[0];
        slot.set_state(WorkerState::Ready);
        let mut reporter = Reporter::new("", &[], &board);
        for _ in 0..4 * SAMPLES {
            slot.samples.take(2_000_000);
        }
        let told = lines(&reporter.report(&board, None));
        let durations: Vec<_> = told
            .iter()
            .filter(|line| line.contains(".duration"))
            .collect();
        assert_eq!(durations.len(), SAMPLES);
        assert_eq!(durations[0], "gunicorn.request.duration:2|ms|@0.250000");
    }
}
