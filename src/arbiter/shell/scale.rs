//! Orders for another number of workers, and why one of them is not carried out.

use super::Shell;
use crate::{
    admin::{Answer, ScaleFailure},
    arbiter::{
        core::{Event, Failure, Report},
        report::{failure_words, seconds},
    },
    info,
};

/// So many starts in a row fail before somebody who waits is told: the first failure may be chance.
const FAILURES_TOLD: u32 = 2;

impl Shell {
    pub(super) fn scale_as_ordered(&mut self, workers: u16) -> Answer {
        info!("admin: scale to {workers} workers");
        self.orders.scales += 1;
        // What is complained about from now on is about this order.
        if let Some(serving) = self.core.serving()
            && let Some(handle) = self.processes.generations.get(&serving)
            && let Some(words) = &handle.last_words
        {
            words.forget();
        }
        self.events.push_back(Event::Scale(workers));
        Answer::Scale(self.orders.scales)
    }

    /// What a report says about the last order, for whoever waits for it.
    pub(super) fn note_scale(&mut self, report: &Report) {
        let (generation, failure, then): (_, &Failure, _) = match report {
            Report::ScaleUndone {
                generation,
                workers,
                failure,
            } => (generation, failure, format!("back to {workers} workers")),
            Report::BackingOff {
                generation,
                failures,
                failure,
                delay,
                ..
            } if *failures >= FAILURES_TOLD => {
                let then = format!("the server tries again in {}", seconds(*delay));
                (generation, failure, then)
            }
            _ => return,
        };
        let reason = format!("{}; {then}", failure_words(failure));
        self.trouble = Some(reason.clone());
        let handle = self.processes.generations.get(generation);
        self.orders.scale_failure = Some(ScaleFailure {
            scale: self.orders.scales,
            reason,
            problems: handle.and_then(|handle| handle.last_words.as_ref()?.text()),
        });
    }
}
