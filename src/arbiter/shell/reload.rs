//! From a save or a signal to one event for the core: read, compare, check and open. Whatever fails, nothing that runs
//! was touched.

use std::{path::PathBuf, rc::Rc, time::Duration};

use super::Shell;
use crate::{
    arbiter::{
        clock,
        core::{Change, Event, ReloadId},
        open_files,
        reading::{self, Reading, Resources},
    },
    config::{Config, Loaded, LogLevel, Plan, changes, effective, summary},
    error, warning,
};

/// Why the configuration is read again.
pub(super) enum Cause {
    Saved,
    /// Rolls even where nothing changed: there may be new code.
    Hup,
    /// `rgunicorn reload`; rolls too.
    Admin,
    /// A file that `reload.code` names changed; rolls too.
    Code(PathBuf),
    /// The file that `reload.touch` names was; rolls too.
    Touch,
}

impl Shell {
    pub(super) fn reload(&mut self, cause: &Cause) {
        // What waits is older than this edit, and may be what it is compared with.
        self.take_events();
        if self.core.is_stopping() {
            return;
        }
        if !matches!(cause, Cause::Saved) {
            self.watcher.config_is_read();
        }
        let text = self.loader.text();
        if let (Cause::Saved, Ok(Some(text))) = (cause, &text)
            && !self.watcher.is_what_changed(text, clock::now())
        {
            return; // it is being saved again, and half of a file is no edit
        }
        self.reloads += 1;
        let reload = ReloadId(self.reloads);
        self.history
            .begin(reload, clock::now(), crate::sys::unix_micros());
        self.manager.reloading();
        match text.and_then(|text| self.loader.load(text)) {
            Ok(loaded) => self.compare(reload, cause, loaded),
            Err(problems) => {
                let reason = "the configuration has problems";
                self.tell_reload_failed(reload, reason);
                self.note_rejected(reload, reason, Some(&problems));
                crate::telemetry::block(
                    LogLevel::Error,
                    format_args!(
                        "reload={} rejected: the configuration has problems; {}",
                        reload.0,
                        self.goes_on()
                    ),
                    &problems,
                );
            }
        }
    }

    fn compare(&mut self, reload: ReloadId, cause: &Cause, loaded: Loaded) {
        let candidate = self.candidate_reload();
        let Some(target) = candidate.or(self.serving) else {
            return;
        };
        let from = |id: Option<ReloadId>| id.and_then(|id| self.readings.get(&id));
        let rolls_anyway = !matches!(cause, Cause::Saved);
        let change_from = |id| match from(id) {
            Some(before) if !rolls_anyway => strongest(&before.config, &loaded.config),
            _ => Change::Roll,
        };
        let (from_serving, from_candidate) = (change_from(self.serving), change_from(candidate));
        let changed = from(Some(target))
            .map(|before| changes(&before.config, &loaded.config))
            .unwrap_or_default();
        let told = told(cause, &summary(&changed));
        for note in &loaded.notes {
            if changed.iter().any(|change| change.key == note.key) {
                crate::telemetry::line(note.level, format_args!("{}", note.text));
            }
        }
        let shortage = (changed.iter().any(|change| change.key == open_files::KEY))
            .then(|| open_files::shortage(&loaded))
            .flatten();
        self.history.tell(reload, &told, changed);
        match self.reading(loaded, told, candidate, from_serving, from_candidate) {
            Ok(reading) => {
                if let Some(shortage) = shortage {
                    warning!("{shortage}");
                }
                let mut rules = reading::rules(&reading.config);
                if self.rebinds(&reading.config) {
                    // What is parked would keep addresses open that nobody serves.
                    rules.probation = Duration::ZERO;
                }
                self.readings.insert(reload, reading);
                self.events.push_back(Event::Edited {
                    reload,
                    rules,
                    from_serving,
                    from_candidate,
                });
            }
            Err(reason) => {
                let goes_on = self.goes_on();
                error!("reload={} rejected: {reason}; {goes_on}", reload.0);
                self.tell_reload_failed(reload, &reason);
                self.note_rejected(reload, &reason, None);
            }
        }
    }

    /// With new resources where a generation is to be rolled in, else with those of the generation that goes on.
    fn reading(
        &mut self,
        loaded: Loaded,
        told: String,
        candidate: Option<ReloadId>,
        from_serving: Change,
        from_candidate: Change,
    ) -> Result<Reading, String> {
        let began = clock::now();
        let like = match candidate {
            Some(candidate) if from_candidate != Change::Roll => Some(candidate),
            Some(_) | None if from_serving != Change::Roll => self.serving,
            Some(_) | None => None,
        };
        let resources = match like.and_then(|id| self.readings.get(&id)) {
            Some(before) => {
                let suit = before.resources.suit(&before.config, &loaded.config);
                suit.map(|()| Rc::clone(&before.resources))
            }
            None => Resources::open(&loaded, &mut self.listeners).map(Rc::new),
        };
        let resources = resources.map_err(|unfit| unfit.told(&loaded.origins))?;
        Ok(Reading {
            effective: effective(&loaded.config, &loaded.origins).into(),
            config: Rc::new(loaded.config),
            resources,
            told,
            began,
        })
    }

    fn rebinds(&self, config: &Config) -> bool {
        self.serving_config()
            .is_some_and(|serving| Plan::of(&changes(serving, config)) == Plan::Rebind)
    }

    fn goes_on(&self) -> String {
        match (self.core.serving(), self.core.candidate()) {
            (Some(serving), None) => format!("generation={} goes on", serving.0),
            (Some(serving), Some(candidate)) => format!(
                "generation={} goes on, and so does the roll to generation={}",
                serving.0, candidate.0
            ),
            (None, _) => "the start goes on".to_owned(),
        }
    }
}

fn strongest(before: &Config, after: &Config) -> Change {
    match Plan::of(&changes(before, after)) {
        Plan::Nothing => Change::Nothing,
        Plan::Live => Change::Live,
        Plan::Scale => Change::Scale,
        Plan::Roll | Plan::Rebind => Change::Roll,
    }
}

fn told(cause: &Cause, summary: &str) -> String {
    let changed = match summary {
        "" => "nothing changed".to_owned(),
        summary => format!("changed: {summary}"),
    };
    match cause {
        Cause::Saved => changed,
        Cause::Hup => format!("asked for by SIGHUP, {changed}"),
        Cause::Admin => format!("asked for by the admin interface, {changed}"),
        Cause::Touch => format!("asked for by reload.touch, {changed}"),
        Cause::Code(path) => format!("code changed: {}", path.display()),
    }
}
