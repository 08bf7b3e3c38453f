//! Which metrics there are, in the order in which a collector gets them. `docs/metrics.md` lists them, and a test holds it
//! to this.

use super::{
    Snapshot,
    exposition::{Exposition, Format, Kind},
};
use crate::wire::{BUCKETS_NS, Count, Distribution, Histogram};

/// The whole answer to a scrape.
pub fn render(snapshot: &Snapshot, format: Format) -> String {
    let mut out = Exposition::new(format);
    requests(&mut out, snapshot);
    traffic(&mut out, snapshot);
    connections(&mut out, snapshot);
    workers(&mut out, snapshot);
    reloads(&mut out, snapshot);
    server(&mut out, snapshot);
    out.finish()
}

fn requests(out: &mut Exposition, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    out.family(
        "requests",
        Kind::Counter,
        "Requests that were answered, refused ones included, by method and class of status.",
    );
    for (method, class, count) in totals.requests() {
        out.sample(&[("method", method), ("status", class)], count);
    }
    out.family(
        "responses",
        Kind::Counter,
        "The same requests by status code.",
    );
    for (status, count) in totals.responses() {
        out.sample(&[("code", &code(status))], count);
    }
    out.family(
        "requests_refused",
        Kind::Counter,
        "Requests that never reached the app, by status code.",
    );
    for (status, count) in totals.refusals() {
        out.sample(&[("code", &code(status))], count);
    }
    out.family(
        "request_duration_seconds",
        Kind::Histogram,
        "From the complete request to the end of the app's response. WebSockets and refused requests are not in it.",
    );
    distribution(out, totals.histogram(Histogram::Duration));
    out.family(
        "request_wait_seconds",
        Kind::Histogram,
        "From the complete request to the call of the app: the time spent waiting for a worker or thread.",
    );
    distribution(out, totals.histogram(Histogram::Wait));
}

/// Status 0 stands for all that are not told apart.
pub(super) fn code(status: u16) -> String {
    match status {
        0 => "other".to_owned(),
        status => status.to_string(),
    }
}

fn distribution(out: &mut Exposition, distribution: Distribution<'_>) {
    let bounds = BUCKETS_NS.iter().map(|ns| seconds(*ns));
    let bounds = bounds.chain(std::iter::once("+Inf".to_owned()));
    let counts = distribution.buckets.iter().copied();
    out.histogram(bounds.zip(counts), distribution.sum_ns as f64 / 1e9);
}

/// With a point, as OpenMetrics wants bounds: `0.005`, `1.0`.
fn seconds(ns: u64) -> String {
    format!("{:?}", ns as f64 / 1e9)
}

fn traffic(out: &mut Exposition, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    for (name, count, help) in [
        (
            "received_bytes",
            Count::Received,
            "Bytes received from clients, heads included.",
        ),
        (
            "sent_bytes",
            Count::Sent,
            "Bytes sent to clients, heads included.",
        ),
        (
            "connections_accepted",
            Count::Accepted,
            "Connections that were accepted.",
        ),
        (
            "websockets_opened",
            Count::WebSockets,
            "WebSockets that the app accepted.",
        ),
    ] {
        out.family(name, Kind::Counter, help);
        out.sample(&[], totals.count(count));
    }
    out.family(
        "websocket_messages",
        Kind::Counter,
        "Messages of WebSockets, by direction.",
    );
    for (direction, count) in [
        ("received", Count::MessagesReceived),
        ("sent", Count::MessagesSent),
    ] {
        out.sample(&[("direction", direction)], totals.count(count));
    }
}

fn connections(out: &mut Exposition, snapshot: &Snapshot) {
    out.family(
        "connections",
        Kind::Gauge,
        "Open connections by what they are doing.",
    );
    for (state, count) in snapshot.now.connections() {
        out.sample(&[("state", state)], count);
    }
    out.family(
        "accept_backlog",
        Kind::Gauge,
        "Connections that wait to be accepted, by listener.",
    );
    for backlog in &snapshot.backlogs {
        out.sample(&[("listener", &backlog.address)], backlog.waiting);
    }
    out.family(
        "accept_backlog_limit",
        Kind::Gauge,
        "How many connections may wait to be accepted; beyond that, clients are turned away.",
    );
    for backlog in &snapshot.backlogs {
        out.sample(&[("listener", &backlog.address)], backlog.limit);
    }
}

fn workers(out: &mut Exposition, snapshot: &Snapshot) {
    let (now, workers) = (&snapshot.now, &snapshot.workers);
    out.family(
        "threads",
        Kind::Gauge,
        "Threads that run the app, by whether they do now. An event loop has none.",
    );
    out.sample(&[("state", "busy")], now.threads_busy);
    out.sample(&[("state", "idle")], now.threads_idle());
    out.family(
        "workers",
        Kind::Gauge,
        "Worker processes by state, those of all generations.",
    );
    for (state, count) in workers.by_state() {
        out.sample(&[("state", state)], count);
    }
    out.family(
        "workers_wanted",
        Kind::Gauge,
        "How many workers there should be.",
    );
    out.sample(&[], workers.wanted);
    out.family(
        "worker_exits",
        Kind::Counter,
        "Workers that ended, by reason.",
    );
    for (end, count) in &snapshot.worker_ends {
        out.sample(&[("reason", end.word())], count);
    }
    let memory = &snapshot.memory;
    out.family(
        "resident_memory_bytes",
        Kind::Gauge,
        "Resident memory of the server's own processes.",
    );
    out.sample(&[("process", "arbiter")], memory.arbiter);
    out.sample(&[("process", "generation")], memory.generations);
    out.family(
        "worker_resident_memory_bytes",
        Kind::Gauge,
        "Resident memory of each worker, pages shared with others included. A slot is a worker's place, taken by its successor.",
    );
    for (slot, bytes) in &memory.workers {
        out.sample(&[("slot", &slot.to_string())], bytes);
    }
}

fn reloads(out: &mut Exposition, snapshot: &Snapshot) {
    out.family(
        "reloads",
        Kind::Counter,
        "Reloads of the configuration, by outcome.",
    );
    for (outcome, count) in &snapshot.reloads {
        out.sample(&[("outcome", outcome.word())], count);
    }
    out.family(
        "config_last_reload_successful",
        Kind::Gauge,
        "1 when what the file says is what runs.",
    );
    out.sample(&[], u8::from(!snapshot.last_reload_failed));
    out.family(
        "config_last_reload_success_timestamp_seconds",
        Kind::Gauge,
        "When what is in force was read or confirmed.",
    );
    out.sample(&[], microseconds(snapshot.reloaded_us));
    out.family(
        "config_hash",
        Kind::Gauge,
        "Of the configuration in force: servers with the same settings show the same number.",
    );
    out.sample(&[], snapshot.config_hash);
}

fn server(out: &mut Exposition, snapshot: &Snapshot) {
    out.family(
        "generation",
        Kind::Gauge,
        "The generation that serves; it grows with each roll.",
    );
    out.sample(&[], snapshot.generation);
    out.family(
        "log_lines",
        Kind::Counter,
        "Lines of the error log that tell of something wrong, by level, also those that `log.level` hides.",
    );
    for (level, count) in ["warning", "error", "critical"]
        .iter()
        .zip(snapshot.log_lines)
    {
        out.sample(&[("level", level)], count);
    }
    out.family(
        "start_time_seconds",
        Kind::Gauge,
        "When the server was started, as seconds since the UNIX epoch; an upgrade of the program is no start.",
    );
    out.sample(&[], microseconds(snapshot.started_us));
    out.family("build", Kind::Info, "The program that runs.");
    out.sample(&[("version", snapshot.version)], 1);
}

/// As seconds.
fn microseconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        telemetry::metrics::{Backlog, Memory},
        wire::Scoreboard,
    };

    fn snapshot() -> Snapshot {
        let board = Scoreboard::create().unwrap();
        board.server().start(1_763_735_000_250_000);
        board.assign(0, 1, 1);
        let slot = &board.slots()[0];
        slot.set_state(crate::wire::WorkerState::Ready);
        slot.counters.count_request(b"GET", 200);
        slot.counters.observe(Histogram::Duration, 3_000_000);
        Snapshot {
            backlogs: vec![Backlog {
                address: "http://127.0.0.1:8000".to_owned(),
                waiting: 3,
                limit: 2048,
            }],
            memory: Memory {
                arbiter: 4_000_000,
                generations: 9_000_000,
                workers: vec![(0, 20_000_000)],
            },
            ..Snapshot::of(&board)
        }
    }

    #[test]
    fn a_request_shows_in_all_that_is_told_of_requests() {
        let text = render(&snapshot(), Format::OpenMetrics);
        for line in [
            "rgunicorn_requests_total{method=\"GET\",status=\"2xx\"} 1",
            "rgunicorn_requests_total{method=\"POST\",status=\"5xx\"} 0",
            "rgunicorn_responses_total{code=\"200\"} 1",
            "rgunicorn_request_duration_seconds_bucket{le=\"0.0025\"} 0",
            "rgunicorn_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "rgunicorn_request_duration_seconds_bucket{le=\"1.0\"} 1",
            "rgunicorn_request_duration_seconds_bucket{le=\"+Inf\"} 1",
            "rgunicorn_request_duration_seconds_sum 0.003",
            "rgunicorn_start_time_seconds 1763735000.250000",
        ] {
            assert!(
                text.lines().any(|told| told == line),
                "no {line} in:\n{text}"
            );
        }
    }

    /// `name`, kind, labels and help of each row of the manual's table.
    fn documented() -> BTreeSet<[String; 4]> {
        let manual = include_str!("../../../docs/metrics.md");
        let (table, _) = manual.split_once("## As JSON").unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| {
            let cells: Vec<String> = row.split('|').map(|cell| cell.replace('`', "")).collect();
            [1, 2, 3, 4].map(|index| cells[index].trim().to_owned())
        })
        .collect()
    }

    #[test]
    fn the_manual_lists_what_there_is() {
        let text = render(&snapshot(), Format::Text);
        let mut found = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (family, kind) = line.split_once(' ').unwrap();
            let after = |beginning: &str| {
                let mut lines = text.lines();
                let rest = lines.find_map(|line| line.strip_prefix(beginning));
                rest.unwrap_or_default().replace('`', "")
            };
            let labels = after(&format!("{family}{{"));
            let labels: Vec<&str> = labels
                .split_inclusive("=\"")
                .filter_map(|part| part.strip_suffix("=\""))
                .map(|part| part.rsplit(',').next().unwrap())
                .collect();
            let name = family.strip_prefix("rgunicorn_").unwrap();
            let kind = if name == "build_info" { "info" } else { kind };
            found.insert([
                name.to_owned(),
                kind.to_owned(),
                labels.join(", "),
                after(&format!("# HELP {family} ")),
            ]);
        }
        assert_eq!(documented(), found);
    }
}
