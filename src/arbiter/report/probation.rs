//! Generations on probation, and those that come back.

use std::time::Duration;

use super::{
    Scene,
    words::{exit_words, failure_words, misconduct_words, seconds},
};
use crate::{
    arbiter::core::{Exit, Failure, GenerationId, Misconduct, ReloadId},
    config::{changes, summary},
    error, info, warning,
};

pub(super) fn tell_proven(generation: GenerationId, dismissed: GenerationId) {
    info!(
        "generation={} passed its probation, generation={} leaves",
        generation.0, dismissed.0
    );
}

impl Scene<'_> {
    pub(super) fn tell_rolling_back(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        misconduct: &Misconduct,
        back_to: GenerationId,
        back_to_reload: ReloadId,
    ) {
        let config = |id| self.readings.get(&id).map(|reading| &reading.config);
        let lost = match (config(back_to_reload), config(reload)) {
            (Some(back), Some(bad)) => summary(&changes(back, bad)),
            _ => String::new(),
        };
        let lost = match lost.as_str() {
            "" => "the file is in force, with the code before".to_owned(),
            lost => format!("not in force: {lost}"),
        };
        error!(
            "reload={} rolled back: {}; generation={} comes back for generation={}; {lost}",
            reload.0,
            misconduct_words(misconduct),
            back_to.0,
            generation.0
        );
    }
}

pub(super) fn tell_rolled_back(
    generation: GenerationId,
    replaced: GenerationId,
    workers: u16,
    took: Duration,
) {
    info!(
        "rolled back in {}: generation={} workers={workers} serving again, generation={} drains",
        seconds(took),
        generation.0,
        replaced.0
    );
}

/// The generation that was to come back did not.
pub(super) fn tell_not_returned(
    generation: GenerationId,
    failure: &Failure,
    serving: GenerationId,
) {
    error!(
        "generation={} could not come back: {}; generation={} goes on",
        generation.0,
        failure_words(failure),
        serving.0
    );
}

pub(super) fn tell_parked_died(generation: GenerationId, exit: Exit) {
    warning!(
        "generation={} died of {} while it was kept: there is nothing to roll back to",
        generation.0,
        exit_words(exit)
    );
}
