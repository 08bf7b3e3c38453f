//! The metrics as JSON, for programs that show them live: they compute rates and percentiles from the differences of two
//! answers. `docs/metrics.md` explains each name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::wire::{BUCKETS_NS, Count, Distribution, Histogram};

/// By label: a status, a state, a reason.
type Counts = BTreeMap<String, u64>;

/// All metrics at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// When this was read, seconds since the server was started.
    pub uptime_seconds: f64,
    pub generation: u64,
    pub config_hash: u32,

    // These grow until the server ends.
    pub requests: u64,
    pub requests_by_method: Counts,
    /// By class: `2xx`.
    pub requests_by_status: Counts,
    /// By status: `404`.
    pub requests_by_code: Counts,
    pub requests_refused: Counts,
    pub request_duration: HistogramFigures,
    pub request_wait: HistogramFigures,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub connections_accepted: u64,
    pub websockets_opened: u64,
    pub websocket_messages_received: u64,
    pub websocket_messages_sent: u64,
    pub worker_exits: Counts,
    pub reloads: Counts,
    pub log_lines: Counts,

    // These are what is now.
    pub connections: Counts,
    pub threads: Counts,
    pub workers: Counts,
    pub workers_wanted: u64,
    pub accept_backlogs: Vec<BacklogFigures>,
    pub memory_bytes: Counts,
    pub worker_memory_bytes: Vec<WorkerMemory>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramFigures {
    /// Upper bounds of the buckets. The last bucket has none and takes what is longer.
    pub bounds_seconds: Vec<f64>,
    /// How many fell into each, one more than there are bounds; not added up.
    pub counts: Vec<u64>,
    pub sum_seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogFigures {
    pub listener: String,
    pub waiting: u64,
    pub limit: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerMemory {
    pub slot: usize,
    pub bytes: u64,
}

impl Figures {
    pub fn of(snapshot: &Snapshot, uptime_seconds: f64) -> Self {
        let totals = &snapshot.totals;
        let mut by_method = Counts::new();
        let mut by_status = Counts::new();
        for (method, class, count) in totals.requests() {
            *by_method.entry(method.to_owned()).or_default() += count;
            *by_status.entry(class.to_owned()).or_default() += count;
        }
        let [warnings, errors, critical] = snapshot.log_lines;
        let ends = snapshot.worker_ends.iter();
        let reloads = snapshot.reloads.iter();
        let threads = &snapshot.now;
        let workers = &snapshot.workers;
        let memory = &snapshot.memory;
        Self {
            uptime_seconds,
            generation: snapshot.generation,
            config_hash: snapshot.config_hash,
            requests: totals.requests_total(),
            requests_by_method: by_method,
            requests_by_status: by_status,
            requests_by_code: by_code(totals.responses()),
            requests_refused: by_code(totals.refusals()),
            request_duration: HistogramFigures::of(totals.histogram(Histogram::Duration)),
            request_wait: HistogramFigures::of(totals.histogram(Histogram::Wait)),
            received_bytes: totals.count(Count::Received),
            sent_bytes: totals.count(Count::Sent),
            connections_accepted: totals.count(Count::Accepted),
            websockets_opened: totals.count(Count::WebSockets),
            websocket_messages_received: totals.count(Count::MessagesReceived),
            websocket_messages_sent: totals.count(Count::MessagesSent),
            worker_exits: counts(ends.map(|(end, count)| (end.word(), *count))),
            reloads: counts(reloads.map(|(outcome, count)| (outcome.word(), *count))),
            log_lines: counts([
                ("warning", warnings),
                ("error", errors),
                ("critical", critical),
            ]),
            connections: counts(snapshot.now.connections()),
            threads: counts([
                ("busy", threads.threads_busy),
                ("idle", threads.threads_idle()),
            ]),
            workers: counts(workers.by_state()),
            workers_wanted: workers.wanted,
            accept_backlogs: snapshot.backlogs.iter().map(BacklogFigures::from).collect(),
            memory_bytes: counts([
                ("arbiter", memory.arbiter),
                ("generation", memory.generations),
                (
                    "workers",
                    memory.workers.iter().map(|(_, bytes)| bytes).sum(),
                ),
            ]),
            worker_memory_bytes: memory
                .workers
                .iter()
                .map(|(slot, bytes)| WorkerMemory {
                    slot: *slot,
                    bytes: *bytes,
                })
                .collect(),
        }
    }
}

impl HistogramFigures {
    fn of(distribution: Distribution<'_>) -> Self {
        Self {
            bounds_seconds: BUCKETS_NS.map(|ns| ns as f64 / 1e9).into(),
            counts: distribution.buckets.to_vec(),
            sum_seconds: distribution.sum_ns as f64 / 1e9,
        }
    }
}

impl From<&super::Backlog> for BacklogFigures {
    fn from(backlog: &super::Backlog) -> Self {
        Self {
            listener: backlog.address.clone(),
            waiting: backlog.waiting,
            limit: backlog.limit,
        }
    }
}

fn counts<'a>(named: impl IntoIterator<Item = (&'a str, u64)>) -> Counts {
    let named = named.into_iter();
    named
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

fn by_code(statuses: impl Iterator<Item = (u16, u64)>) -> Counts {
    statuses
        .map(|(status, count)| (super::code(status), count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manuals_example_has_the_names_that_there_are() {
        let manual = include_str!("../../../docs/metrics.md");
        let (_, example) = manual.split_once("```json\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let shown: BTreeMap<String, serde_json::Value> = serde_json::from_str(example).unwrap();
        let read: Figures = serde_json::from_str(example).unwrap();
        let told = serde_json::to_value(&read).unwrap();
        let names: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(shown.keys().collect::<Vec<_>>(), names);
        let figures = Figures::of(&Snapshot::default(), 1.5);
        assert_eq!(figures.uptime_seconds, 1.5);
        assert_eq!(figures.connections.len(), read.connections.len());
    }
}
