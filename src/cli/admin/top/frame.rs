//! One frame: lines of text for a window of a given size. Pure, and free of anything that could steer a terminal.

use super::rates::{Look, PERCENTS, Rates};
use crate::{
    admin::{Event, GenerationState, WorkerState, WorkerStatus},
    cli::admin::text::{mebibytes, safe, span, table, word},
    config::LogLevel,
};

/// Characters of a worker's bar.
const BAR_WIDTH: usize = 20;
const SLOWEST_MAX: usize = 5;
const EVENTS_MAX: usize = 8;

/// How a line looks; on paper all are plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    /// Of a table.
    Head,
    Alarm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// By what workers are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SortBy {
    Start,
    Busy,
    Requests,
    Memory,
}

impl SortBy {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Start => Self::Busy,
            Self::Busy => Self::Requests,
            Self::Requests => Self::Memory,
            Self::Memory => Self::Start,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Busy => "busy",
            Self::Requests => "requests",
            Self::Memory => "memory",
        }
    }
}

/// What is shown.
pub(super) struct Frame<'a> {
    pub(super) look: &'a Look,
    pub(super) rates: &'a Rates,
    /// Seconds that the rates are of.
    pub(super) window: f64,
    /// The oldest first.
    pub(super) events: &'a [Event],
    pub(super) sort_by: SortBy,
}

impl Frame<'_> {
    /// As many lines as there are, `height` at most, none wider than `width`. Workers give way first, then what
    /// stands last.
    pub(super) fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let mut below = self.slowest();
        below.extend(self.last_events());
        let mut lines = self.summary();
        let room = height.saturating_sub(lines.len() + below.len()).max(4);
        lines.extend(self.workers(room));
        lines.extend(below);
        lines.truncate(height);
        for line in &mut lines {
            line.text = safe(&line.text).chars().take(width).collect();
        }
        lines
    }

    fn summary(&self) -> Vec<Line> {
        let (status, figures) = (&self.look.status, &self.look.figures);
        let state = word(status.state);
        let classes = self.rates.classes.iter().filter(|(_, rate)| *rate > 0.0);
        let classes: String = classes
            .map(|(class, rate)| format!("  {class} {rate:.1}"))
            .collect();
        let latency = self.rates.percentiles.map(|values| {
            let named = PERCENTS.iter().zip(values);
            let named = named.map(|(percent, value)| format!("p{percent} {}", short(value)));
            named.collect::<Vec<_>>().join("  ")
        });
        let count = |name: &str| figures.connections.get(name).copied().unwrap_or(0);
        let serving = status.generations.iter();
        let serving = serving.filter(|one| one.state == GenerationState::Serving);
        let serving = serving.map(|one| one.generation).next();
        vec![
            titled(format!(
                "{}: {state}, up {}, pid {}, rgunicorn {}",
                status.name,
                span(status.uptime_seconds),
                status.pid,
                status.version
            )),
            plain(format!("requests  {:.1}/s{classes}", self.rates.requests)),
            plain(format!(
                "latency   {}  (last {:.0} s)",
                latency.as_deref().unwrap_or("no request ended"),
                self.window
            )),
            plain(format!(
                "now       {} with the app, {} waiting, {} connections idle, {} in all processes",
                count("app"),
                count("waiting"),
                count("idle"),
                mebibytes(Some(figures.memory_bytes.values().sum()))
            )),
            plain(format!(
                "workers   {} of {} ready, generation {} serves, sorted by {}",
                status.workers_ready,
                status.workers_wanted,
                serving.map_or("-".to_owned(), |serving| serving.to_string()),
                self.sort_by.name()
            )),
        ]
    }

    fn workers(&self, room: usize) -> Vec<Line> {
        let mut workers: Vec<&WorkerStatus> = self.look.status.workers.iter().collect();
        let falling = |value: fn(&Self, &WorkerStatus) -> f64| {
            move |one: &&WorkerStatus, other: &&WorkerStatus| {
                value(self, other).total_cmp(&value(self, one))
            }
        };
        match self.sort_by {
            SortBy::Start => {}
            SortBy::Busy => workers.sort_by(falling(Self::busy)),
            SortBy::Requests => workers.sort_by(falling(Self::rate)),
            SortBy::Memory => {
                workers.sort_by(falling(|_, one| one.memory_bytes.unwrap_or(0) as f64));
            }
        }
        // An empty line and the head stand above, and perhaps a line below.
        let shown = match workers.len() {
            all if all + 2 <= room => all,
            _ => room.saturating_sub(3),
        };
        let rows: Vec<Vec<String>> = workers[..shown].iter().map(|one| self.row(one)).collect();
        let head = [
            "PID",
            "GENERATION",
            "STATE",
            "BUSY",
            "",
            "REQUESTS/S",
            "5XX",
            "CONNECTIONS",
            "MEMORY",
            "AGE",
        ];
        let text = table(&head, &[0, 1, 4, 5, 6, 7, 8, 9], &rows);
        let mut lines = vec![plain(String::new())];
        lines.extend(text.lines().map(|line| plain(line.to_owned())));
        lines[1].tone = Tone::Head;
        if shown < workers.len() {
            lines.push(plain(format!("and {} more workers", workers.len() - shown)));
        }
        lines
    }

    fn row(&self, worker: &WorkerStatus) -> Vec<String> {
        let busy = self.busy(worker);
        vec![
            worker.pid.to_string(),
            worker.generation.to_string(),
            word(worker.state),
            bar(busy),
            format!("{:.0}%", busy * 100.0),
            format!("{:.1}", self.rate(worker)),
            worker.errors.to_string(),
            worker.connections.to_string(),
            mebibytes(worker.memory_bytes),
            span(worker.age_seconds),
        ]
    }

    /// The share of its threads that run the app. An event loop has none: then its share of the requests in flight.
    fn busy(&self, worker: &WorkerStatus) -> f64 {
        let in_flight = worker.in_flight.len() as f64;
        let threads: u64 = self.look.figures.threads.values().sum();
        let workers = self.look.status.workers.iter();
        let of_all = match threads {
            0 => workers.map(|one| one.in_flight.len() as f64).sum(),
            threads => {
                let serving = workers.filter(|one| one.state != WorkerState::Booting);
                threads as f64 / serving.count().max(1) as f64
            }
        };
        (in_flight / f64::max(of_all, 1.0)).min(1.0)
    }

    fn rate(&self, worker: &WorkerStatus) -> f64 {
        self.rates
            .workers
            .get(&worker.worker)
            .copied()
            .unwrap_or(0.0)
    }

    fn slowest(&self) -> Vec<Line> {
        let workers = self.look.status.workers.iter();
        let mut all: Vec<(f64, u32, &str)> = workers
            .flat_map(|worker| {
                let requests = worker.in_flight.iter();
                requests.map(|one| (one.seconds, worker.pid, one.request.as_str()))
            })
            .collect();
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mut lines = vec![plain(String::new()), headed("SLOWEST REQUESTS IN FLIGHT")];
        if all.is_empty() {
            lines.push(plain("none".to_owned()));
        }
        let slowest = all.iter().take(SLOWEST_MAX);
        lines.extend(slowest.map(|(seconds, pid, request)| {
            plain(format!("{:>7}  pid {pid:<7}  {request}", span(*seconds)))
        }));
        lines
    }

    fn last_events(&self) -> Vec<Line> {
        let mut lines = vec![plain(String::new()), headed("LAST EVENTS")];
        let first = self.events.len().saturating_sub(EVENTS_MAX);
        lines.extend(self.events[first..].iter().rev().map(|event| {
            let time = event.at.get(11..19).unwrap_or_default();
            let level = event.level.word();
            Line {
                tone: match event.level {
                    LogLevel::Error | LogLevel::Critical => Tone::Alarm,
                    _ => Tone::Plain,
                },
                text: format!("{time} {level:<8} {}", event.text),
            }
        }));
        lines
    }
}

/// In the place of the title: what is shown below is old.
pub(super) fn alarm(text: &str, width: usize) -> Line {
    Line {
        tone: Tone::Alarm,
        text: safe(text).chars().take(width).collect(),
    }
}

fn plain(text: String) -> Line {
    let tone = Tone::Plain;
    Line { tone, text }
}

fn titled(text: String) -> Line {
    let tone = Tone::Title;
    Line { tone, text }
}

fn headed(text: &str) -> Line {
    let (tone, text) = (Tone::Head, text.to_owned());
    Line { tone, text }
}

fn bar(share: f64) -> String {
    let full = (share * BAR_WIDTH as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(BAR_WIDTH.saturating_sub(full))
}

/// `850us`, `3.7ms`, `1.25s`
fn short(seconds: f64) -> String {
    match seconds {
        0.0..0.001 => format!("{:.0}us", seconds * 1e6),
        0.001..0.1 => format!("{:.1}ms", seconds * 1e3),
        0.1..1.0 => format!("{:.0}ms", seconds * 1e3),
        _ => format!("{seconds:.2}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_times_are_short() {
        assert_eq!(bar(0.5), "█".repeat(10) + &"░".repeat(10));
        assert_eq!(bar(1.0), "█".repeat(20));
        assert_eq!(
            [0.000_85, 0.0037, 0.25, 1.25].map(short),
            ["850us", "3.7ms", "250ms", "1.25s"]
        );
    }
}
