//! What became of an edit, and of an order for more or fewer workers.

use std::time::Duration;

use super::{
    Scene,
    words::{failure_words, seconds},
};
use crate::{
    arbiter::core::{Change, Exit, Failure, GenerationId, ReloadId},
    error, info,
    wire::EXIT_SICK,
};

impl Scene<'_> {
    pub(super) fn tell_adopted(&self, reload: ReloadId, change: Change) {
        let doing = match change {
            Change::Scale => self
                .readings
                .get(&reload)
                .map(|reading| format!("scaling to {} workers", reading.config.workers))
                .unwrap_or_default(),
            Change::Live | Change::Nothing | Change::Roll => {
                "no worker has to be replaced".to_owned()
            }
        };
        info!("{}; {doing}", self.reload_label(reload));
    }

    pub(super) fn tell_rolling(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        superseded: Option<GenerationId>,
    ) {
        let instead = superseded
            .map(|old| format!(" instead of generation={}", old.0))
            .unwrap_or_default();
        info!(
            "{}; rolling generation={}{instead}",
            self.reload_label(reload),
            generation.0
        );
    }

    pub(super) fn tell_taken_back(&self, reload: ReloadId, superseded: GenerationId) {
        info!(
            "{}; back to what serves, generation={} cancelled",
            self.reload_label(reload),
            superseded.0
        );
    }

    pub(super) fn tell_serving(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        replaced: Option<GenerationId>,
        workers: u16,
        took: Duration,
        probation: Option<Duration>,
    ) {
        let generation = generation.0;
        let probation = probation
            .map(|lasts| format!(", on probation for {}", seconds(lasts)))
            .unwrap_or_default();
        match replaced {
            None if reload.0 == 0 => info!("generation={generation} workers={workers} serving"),
            // The generation before had not begun to serve.
            None => info!(
                "reload={} done in {}: generation={generation} workers={workers} serving",
                reload.0,
                seconds(self.since_began(reload).unwrap_or(took))
            ),
            Some(old) if self.serving == Some(reload) => info!(
                "generation={generation} workers={workers} serving in place of generation={}",
                old.0
            ),
            Some(old) => info!(
                "reload={} done in {}: generation={generation} workers={workers} serving{probation}, generation={} drains",
                reload.0,
                seconds(self.since_began(reload).unwrap_or(took)),
                old.0
            ),
        }
    }

    /// A scaled or live change is in force.
    pub(in crate::arbiter) fn tell_done(&self, reload: ReloadId) {
        let took = self.since_began(reload).unwrap_or_default();
        info!("reload={} done in {}", reload.0, seconds(took));
    }

    pub(super) fn tell_undone(
        &self,
        reload: ReloadId,
        generation: GenerationId,
        failure: &Failure,
        serving: Option<GenerationId>,
    ) {
        let (id, reason) = (generation.0, failure_words(failure));
        let reason = reason + &self.advice_words(reload, failure);
        match serving {
            None => error!(
                "generation={id} could not boot: {reason}; nothing serves yet, so the server ends"
            ),
            Some(serving) if self.serving == Some(reload) => error!(
                "generation={id} could not boot: {reason}; the workers of generation={} go on",
                serving.0
            ),
            Some(serving) => error!(
                "reload={} rejected: generation={id} could not boot: {reason}; generation={} goes on",
                reload.0, serving.0
            ),
        }
    }

    pub(super) fn tell_scale_undone(
        &self,
        generation: GenerationId,
        workers: u16,
        failure: &Failure,
    ) {
        let handle = self.processes.generations.get(&generation);
        let advice = handle.map(|handle| self.advice_words(handle.reload, failure));
        error!(
            "generation={} more workers could not boot: {}{}; workers={workers} wanted again",
            generation.0,
            failure_words(failure),
            advice.unwrap_or_default()
        );
    }

    /// What helps where a process died or hung; nothing where the reason says so itself.
    fn advice_words(&self, reload: ReloadId, failure: &Failure) -> String {
        let Some(reading) = self.readings.get(&reload) else {
            return String::new();
        };
        let (app, preload) = (&reading.config.app.text, reading.config.preload);
        match failure {
            Failure::WorkerDied {
                exit: Exit::Code(EXIT_SICK),
                ..
            }
            | Failure::Said { .. }
            | Failure::NotForked { .. } => String::new(),
            Failure::Died { .. } | Failure::NotPrepared { .. } if !preload => String::new(),
            Failure::Died { .. } | Failure::WorkerDied { .. } => {
                format!("; `rgunicorn check` tries `{app}` alone")
            }
            Failure::NotPrepared { .. } | Failure::WorkerNotReady { .. } => format!(
                " while it loaded `{app}`; mend what it waits for, or give it a longer `[timeouts] boot`"
            ),
        }
    }
}
