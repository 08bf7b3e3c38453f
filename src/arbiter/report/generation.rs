//! Generations whose process ends without having been told to, or does not end.

use std::time::Duration;

use super::words::{exit_words, seconds};
use crate::{
    arbiter::core::{Exit, GenerationId},
    error, info, warning,
};

pub(super) fn tell_serving_died(generation: GenerationId, exit: Exit) {
    error!(
        "generation={} died of {}: its workers go on, a new generation follows",
        generation.0,
        exit_words(exit)
    );
}

pub(super) fn tell_reviving(generation: GenerationId) {
    info!("generation={} started in its place", generation.0);
}

/// The first time it may be chance; from then on somebody has to look.
pub(super) fn tell_revival_delayed(failures: u32, delay: Duration) {
    match failures {
        1 => warning!("a generation did not live long: the next starts at once"),
        _ => error!(
            "{failures} generations in a row did not live long: the next start in {}",
            seconds(delay)
        ),
    }
}

pub(super) fn tell_overdue(generation: GenerationId) {
    warning!("generation={} did not leave: killed", generation.0);
}
