//! What two looks at the server tell together: rates and percentiles.

use std::collections::BTreeMap;

use crate::{admin::Status, telemetry::metrics::Figures};

/// The server at one moment.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) status: Status,
    pub(super) figures: Figures,
}

/// What happened between two looks, per second.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rates {
    pub(super) requests: f64,
    /// By class of status, those that occur.
    pub(super) classes: Vec<(String, f64)>,
    /// By worker.
    pub(super) workers: BTreeMap<u64, f64>,
    /// In seconds; `None` when no request ended.
    pub(super) percentiles: Option<[f64; 3]>,
}

/// Those of [`Rates::percentiles`].
pub(super) const PERCENTS: [u32; 3] = [50, 90, 99];

impl Rates {
    /// Zero where the server was started anew in between.
    pub(super) fn between(old: &Look, new: &Look) -> Self {
        let took = new.figures.uptime_seconds - old.figures.uptime_seconds;
        if took <= 0.0 {
            return Self::default();
        }
        let per_second = |new: u64, old: u64| new.saturating_sub(old) as f64 / took;
        let classes = new.figures.requests_by_status.iter();
        let classes = classes.map(|(class, count)| {
            let before = old.figures.requests_by_status.get(class);
            (
                class.clone(),
                per_second(*count, before.copied().unwrap_or(0)),
            )
        });
        let before = |worker: u64| {
            let mut known = old.status.workers.iter();
            known
                .find(|one| one.worker == worker)
                .map_or(0, |one| one.requests)
        };
        let workers = new.status.workers.iter();
        let (old_counts, new_counts) =
            (&old.figures.request_duration, &new.figures.request_duration);
        let counts = new_counts.counts.iter().zip(&old_counts.counts);
        let counts: Vec<u64> = counts.map(|(new, old)| new.saturating_sub(*old)).collect();
        Self {
            requests: per_second(new.figures.requests, old.figures.requests),
            classes: classes.collect(),
            workers: workers
                .map(|one| (one.worker, per_second(one.requests, before(one.worker))))
                .collect(),
            percentiles: percentiles(&new_counts.bounds_seconds, &counts),
        }
    }
}

/// Taken to be spread evenly within a bucket; what is longer than all bounds counts as the last.
fn percentiles(bounds: &[f64], counts: &[u64]) -> Option<[f64; 3]> {
    let total: u64 = counts.iter().sum();
    let longest = *bounds.last()?;
    let value = |percent: u32| {
        let mut left = total as f64 * f64::from(percent) / 100.0;
        let mut low = 0.0;
        for (high, count) in bounds.iter().zip(counts) {
            let count = *count as f64;
            if count > 0.0 && left <= count {
                return low + (high - low) * left / count;
            }
            left -= count;
            low = *high;
        }
        longest
    };
    (total > 0).then(|| PERCENTS.map(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_found_within_their_bucket() {
        let bounds = [0.01, 0.1, 1.0];
        assert_eq!(percentiles(&bounds, &[0, 0, 0, 0]), None);
        let [median, ninety, most] = percentiles(&bounds, &[50, 40, 9, 1]).unwrap();
        assert!((median - 0.01).abs() < 1e-9 && (ninety - 0.1).abs() < 1e-9);
        assert!((most - 1.0).abs() < 1e-9);
        assert_eq!(percentiles(&bounds, &[0, 0, 0, 3]).unwrap(), [1.0; 3]);
    }
}
