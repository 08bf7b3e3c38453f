//! The arbiter through an exec of itself: what it hands over to another build of this program, and whether that build
//! can be trusted to take it.
//!
//! The state is one JSON object in a memory file whose number an environment variable tells; descriptors are inherited
//! under their numbers. Nothing is decided here: `shell::upgrade` collects, jumps and resumes.

mod probe;

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read, Seek},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    core::{Core, GenerationId, Moment, ReloadId, WorkerId},
    doors::HandedDoors,
    engine,
    history::History,
    interpreter::Interpreter,
    listeners::{HandedListeners, ListenerId},
    tally::Tally,
};
use crate::{
    admin,
    config::{Config, EffectiveValue},
    sys::{Identity, adopt_descriptor},
    wire::{FORMAT, Scoreboard},
};
pub(super) use probe::ask;

/// `pid:number`. Not `RGUNICORN_…`, which are keys of the configuration.
pub const STATE_VARIABLE: &str = "_RGUNICORN_STATE";
/// Typed by nobody: asks a build whether it would take over the state on its standard input.
pub const CHECK_FLAG: &str = "check-state";

/// What such a build says; another program may well exit with 0.
pub const ANSWER: &str = "takes over";

/// Everything that makes the next program the same arbiter.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    /// Of the program that wrote it.
    pub(super) version: String,
    pub(super) scoreboard_bytes: usize,
    pub(super) core: Core,
    pub(super) generations: BTreeMap<GenerationId, HandedGeneration>,
    pub(super) workers: BTreeMap<WorkerId, HandedWorker>,
    pub(super) readings: BTreeMap<ReloadId, HandedReading>,
    pub(super) reloads: u64,
    pub(super) serving: Option<ReloadId>,
    pub(super) tally: Tally,
    pub(super) last_boot: Option<Duration>,
    /// Of the content of the config file.
    pub(super) seen: Option<u64>,
    pub(super) listeners: HandedListeners,
    pub(super) shared: HandedShared,
    pub(super) doors: HandedDoors,
    pub(super) history: History,
    /// What the log was told last, for the admin interface.
    pub(super) events: Vec<admin::Event>,
    pub(super) started: Moment,
    /// The number of the upgrade that is under way.
    pub(super) upgrade: u64,
    pub(super) pidfile: Option<(PathBuf, i32)>,
    /// That arrived and were not acted upon.
    pub(super) signals: Vec<i32>,
}

/// Pid, pidfd and channel; the parts of the live page.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandedGeneration {
    pub(super) reload: ReloadId,
    pub(super) process: Option<(u32, i32, i32)>,
    pub(super) live: Option<[i32; 3]>,
    pub(super) last_words: Option<i32>,
    pub(super) is_deaf: bool,
}

/// Pid and pidfd.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandedWorker {
    pub(super) generation: GenerationId,
    pub(super) slot: u32,
    pub(super) sheet: Option<i32>,
    pub(super) process: Option<(u32, i32)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandedReading {
    pub(super) config: Config,
    pub(super) effective: Vec<EffectiveValue>,
    pub(super) interpreter: Interpreter,
    pub(super) engine: PathBuf,
    pub(super) listeners: Vec<ListenerId>,
    pub(super) told: String,
    pub(super) began: Moment,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandedShared {
    pub(super) board: i32,
    pub(super) bell: i32,
    pub(super) lifeline: i32,
    pub(super) lifeline_end: i32,
    pub(super) lobby: (i32, i32),
}

/// Why a state is not taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("the state has format {theirs}, and this is rgunicorn {}, which knows format {FORMAT} only", env!("CARGO_PKG_VERSION"))]
    Format { theirs: u32 },
    #[error("the state has another scoreboard than rgunicorn {}", env!("CARGO_PKG_VERSION"))]
    Scoreboard,
    #[error("the state cannot be read: {0}")]
    Text(#[from] serde_json::Error),
    #[error("the state cannot be read: {0}")]
    Os(#[from] io::Error),
}

impl State {
    fn parse(text: &[u8]) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_slice(text)?;
        if format != FORMAT {
            return Err(StateError::Format { theirs: format });
        }
        let mut state: Self = serde_json::from_slice(text)?;
        if state.scoreboard_bytes != Scoreboard::BYTES {
            return Err(StateError::Scoreboard);
        }
        state.core = state.core.resume();
        Ok(state)
    }

    /// The state that this very process left for itself before it became this program.
    pub(super) fn inherited() -> Option<Result<Self, StateError>> {
        let variable = env::var(STATE_VARIABLE).ok()?;
        let (pid, number) = variable.split_once(':')?;
        if pid.parse() != Ok(std::process::id()) {
            return None; // it was meant for one that we descend from
        }
        let read = || -> Result<Self, StateError> {
            let number = number.parse().map_err(io::Error::other)?;
            let mut file = fs::File::from(adopt_descriptor(number)?);
            file.rewind()?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Self::parse(&text)
        };
        Some(read())
    }

    /// As the next program will find it.
    pub(super) fn variable(number: i32) -> OsString {
        format!("{}:{number}", std::process::id()).into()
    }
}

/// Whether this build would take over the state; what it says to `--check-state`.
pub fn check(text: &[u8]) -> Result<(), String> {
    let state = State::parse(text).map_err(|error| error.to_string())?;
    engine::find().map_err(|error| error.to_string())?;
    for reading in state.readings.values() {
        let config = &reading.config;
        Identity::resolve(config.user.as_deref(), config.group.as_deref())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// How this program was called, to be called again.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Invocation {
    /// To be called before the process title is written over the arguments.
    pub(super) fn find() -> io::Result<Self> {
        let arguments: Vec<OsString> = env::args_os().collect();
        let running = env::current_exe()?;
        let typed = arguments.first().and_then(|name| typed_path(name));
        Ok(Self {
            // As it was typed, a path may lead through a link that is moved from release to release.
            program: typed
                .filter(|typed| is_same_file(typed, &running))
                .unwrap_or(running),
            arguments,
        })
    }
}

fn typed_path(name: &OsStr) -> Option<PathBuf> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok();
    }
    let search = env::var_os("PATH")?;
    let mut found = env::split_paths(&search).map(|folder| folder.join(path));
    found.find(|path| path.is_file())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    identity(one).is_some() && identity(one) == identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::core::{Event, Rules};

    #[test]
    fn another_format_is_refused_before_anything_else_of_it_is_read() {
        let error = State::parse(br#"{"format": 99, "core": "something new"}"#).unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("the state has format 99, and this is rgunicorn "),
            "{told}"
        );
    }

    /// What it looks like is known to other builds: a change is another [`FORMAT`].
    #[test]
    fn the_core_is_handed_over_as_the_snapshot_shows() {
        let rules = Rules {
            workers: 1,
            surge: 1,
            boot: Duration::from_secs(30),
            graceful: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            probation: Duration::ZERO,
        };
        let mut core = Core::new(4);
        let mut actions = Vec::new();
        let at = |seconds| Moment::from_origin(Duration::from_secs(seconds));
        core.boot(at(1), rules, &mut actions);
        core.step(at(2), Event::Prepared(GenerationId(1)), &mut actions);
        core.step(at(3), Event::Forked(WorkerId(1)), &mut actions);
        assert!(!core.may_be_handed_over());
        core.step(at(4), Event::Ready(WorkerId(1)), &mut actions);
        assert!(core.may_be_handed_over());
        let text = serde_json::to_string_pretty(&core).unwrap();
        insta::assert_snapshot!(text);
        let resumed: Core = serde_json::from_str(&text).unwrap();
        let resumed = resumed.resume();
        assert_eq!(serde_json::to_string_pretty(&resumed).unwrap(), text);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for text in ["", "{}", &format!(r#"{{"format": {FORMAT}}}"#)] {
            assert!(matches!(
                State::parse(text.as_bytes()),
                Err(StateError::Text(_))
            ));
        }
    }
}
