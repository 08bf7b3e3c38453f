//! What hooks hear of: programs that the arbiter runs, and messages to generations, which run Python.

use super::Shell;
use crate::{
    arbiter::{
        clock,
        commands::{Facts, HookEvent, Job},
        core::{GenerationId, ReloadId, Report, WorkerReport},
        report::{exit_words, failure_words, is_expected, misconduct_words},
    },
    config::Config,
    wire::ToGeneration,
};

impl Shell {
    /// To be called before the report is acted upon.
    pub(super) fn tell_hooks(&mut self, report: &Report) {
        match report {
            Report::Serving {
                reload, generation, ..
            } => {
                self.tell_ready(*generation);
                // A generation that takes the place of one that died is no reload.
                if reload.0 > 0 && self.serving != Some(*reload) {
                    self.run_hook(HookEvent::ReloadDone, about_reload(*reload));
                }
            }
            Report::RolledBack { generation, .. } => self.tell_ready(*generation),
            Report::TakenBack { reload, .. } => {
                self.run_hook(HookEvent::ReloadDone, about_reload(*reload));
            }
            Report::Undone {
                returned: false,
                reload,
                generation,
                failure,
                serving: Some(_),
            } if self.serving != Some(*reload) => {
                let facts = Facts {
                    generation: Some(generation.0),
                    reason: Some(failure_words(failure)),
                    ..about_reload(*reload)
                };
                self.run_hook(HookEvent::ReloadFailed, facts);
            }
            Report::RollingBack {
                reload,
                generation,
                misconduct,
                ..
            } => {
                let facts = Facts {
                    generation: Some(generation.0),
                    reason: Some(misconduct_words(misconduct)),
                    ..about_reload(*reload)
                };
                self.run_hook(HookEvent::RolledBack, facts);
            }
            Report::Worker {
                generation,
                worker,
                report: WorkerReport::Died { exit, why, .. },
            } => {
                let facts = Facts {
                    generation: Some(generation.0),
                    worker: Some(worker.0),
                    worker_pid: Some(self.processes.pid_of(*worker)),
                    reason: Some(exit_words(*exit)),
                    reload: None,
                };
                if !is_expected(*exit, *why) {
                    self.run_hook(HookEvent::WorkerDied, facts.clone());
                }
                self.run_hook(HookEvent::ChildExit, facts);
            }
            _ => {}
        }
    }

    /// All workers of the generation are ready, and it serves.
    fn tell_ready(&mut self, generation: GenerationId) {
        let has_hook = |config: &Config| config.hooks.when_ready.is_some();
        if self.generation_config(generation).is_some_and(has_hook) {
            self.send(generation, ToGeneration::Serving, &[]);
        }
        let facts = Facts {
            generation: Some(generation.0),
            ..Facts::default()
        };
        self.run_hook(HookEvent::WhenReady, facts);
    }

    /// The serving generation is told that the server stops, before it is told to leave.
    pub(super) fn tell_stopping(&mut self) {
        let has_hook = |config: &Config| config.hooks.on_exit.is_some();
        let generations = self.processes.generations.iter();
        let serving = generations
            .filter(|(_, handle)| Some(handle.reload) == self.serving && handle.process.is_some())
            .map(|(id, _)| *id)
            .next_back();
        if let Some(id) = serving
            && self.generation_config(id).is_some_and(has_hook)
        {
            self.send(id, ToGeneration::Stopping, &[]);
        }
    }

    fn generation_config(&self, id: GenerationId) -> Option<&Config> {
        let handle = self.processes.generations.get(&id)?;
        let reading = self.readings.get(&handle.reload)?;
        Some(&reading.config)
    }

    pub(super) fn tell_reload_done(&mut self, reload: ReloadId) {
        self.run_hook(HookEvent::ReloadDone, about_reload(reload));
    }

    pub(super) fn tell_reload_failed(&mut self, reload: ReloadId, reason: &str) {
        let facts = Facts {
            reason: Some(reason.to_owned()),
            ..about_reload(reload)
        };
        self.run_hook(HookEvent::ReloadFailed, facts);
    }

    /// By the configuration that serves; before there is one, by the first.
    fn run_hook(&mut self, event: HookEvent, facts: Facts) {
        let reading = self.serving.or(self.readings.keys().next().copied());
        let Some(reading) = reading.and_then(|id| self.readings.get(&id)) else {
            return;
        };
        let config = &reading.config;
        if let Some(words) = event.command(&config.hooks.commands) {
            let job = Job {
                event,
                words: words.clone(),
                directory: config.chdir.clone(),
                facts,
            };
            self.commands.run(clock::now(), job);
        }
    }

    /// The last thing a server does.
    pub(super) fn finish_hooks(&mut self) {
        self.run_hook(HookEvent::OnExit, Facts::default());
        self.commands.finish(clock::now());
    }
}

fn about_reload(reload: ReloadId) -> Facts {
    Facts {
        reload: Some(reload.0),
        ..Facts::default()
    }
}
