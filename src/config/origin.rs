//! Where each value of a configuration was set, so that a message can name the place to mend, and what else is to be said
//! of one that is right.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{Config, LogLevel};

/// A configuration and the origin of each of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub origins: Origins,
    pub notes: Vec<Note>,
}

/// Something that was understood, but perhaps not as it was meant: for the log and for `rgunicorn check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Such as `worker_class`.
    pub key: &'static str,
    /// That of its log line.
    pub level: LogLevel,
    /// With its place; lowercase, no full stop.
    pub text: String,
}

/// Key (`timeouts.keepalive`) to origin. A key that is absent has its default.
pub type Origins = BTreeMap<String, Origin>;

/// From weakest to strongest; a default has no origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The line counts from 1.
    File { path: PathBuf, line: usize },
    /// The variable's name.
    Environment(String),
    /// The flag as a user types it, such as `--workers`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "{name} on the command line"),
        }
    }
}
