//! From Gunicorn to `rgunicorn.toml`: reads what somebody runs Gunicorn with, the way Gunicorn reads it, and writes a file that
//! says the same, with a comment on each key. Decides nothing about where that file goes.

mod command_line;
mod compose;
mod config_file;
mod draft;
mod environment;
mod gather;
mod given;
mod places;
mod quoting;
mod reload;
mod request_head;
mod specifiers;
mod start;
mod syslog;
mod translate;
mod values;
mod variables;
mod verify;

use std::{io, path::PathBuf};

pub use config_file::ConfigFileError;
pub use draft::{Draft, Entry, Left};
pub use given::{Function, Given, Layer, Provenance, Written};
pub use start::Start;

use gather::gather;

/// The variable in which Gunicorn finds more flags.
pub const CMD_ARGS_VARIABLE: &str = "GUNICORN_CMD_ARGS";

/// What to read. Nothing of it is needed but the directories.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Where Gunicorn is started, unless a unit says another; absolute.
    pub directory: PathBuf,
    /// A configuration file, as `-c` takes it.
    pub config: Option<String>,
    pub procfile: Option<PathBuf>,
    pub unit: Option<PathBuf>,
    /// A command line, with or without `gunicorn` before it.
    pub command: Vec<String>,
    /// `GUNICORN_CMD_ARGS` of the environment.
    pub cmd_args: Option<String>,
    /// Whether the environment has `WEB_CONCURRENCY`.
    pub has_web_concurrency: bool,
    /// The project's Python.
    pub python: Option<PathBuf>,
    /// The directory that the new file is for; absolute.
    pub destination: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct Migration {
    /// Our own loader accepts it, on a machine that has the users and directories that it names; given an app, where
    /// [`has_app`](Self::has_app) is false.
    pub text: String,
    pub has_app: bool,
    /// Keys in it.
    pub translated: usize,
    /// Settings that became no key.
    pub left: usize,
    /// Where Gunicorn was started by a Procfile or a unit: how, for the line that takes its place.
    pub start: Option<Start>,
    /// Where Gunicorn was started, as far as that is known; absolute.
    pub directory: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "there is nothing to migrate: no `gunicorn.conf.py` here, and no command line given; \
         try `rgunicorn migrate -- gunicorn …`, `--procfile Procfile` or `--unit mysite.service`"
    )]
    Nothing,
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("nothing in `{}` starts Gunicorn", path.display())]
    NoGunicorn { path: PathBuf },
    #[error("{origin}: {reason}")]
    CommandLine { origin: String, reason: String },
    #[error("`{location}` cannot be read: {source}")]
    ConfigFile {
        location: String,
        source: ConfigFileError,
    },
    #[error("the new file would not be valid, which is a mistake of this command:\n{0}")]
    Invalid(String),
}

/// Reads everything and makes the text of the new file.
pub fn migrate(sources: &Sources) -> Result<Migration, MigrateError> {
    let gathered = gather(sources)?;
    let head = compose::head(&gathered.origins);
    let start = gathered.start.clone();
    let places = gathered.places.clone();
    let mut draft = compose::draft(gathered);
    let text = verify::until_accepted(&mut draft, &head, &places.file)?;
    Ok(Migration {
        text,
        has_app: draft.has("app"),
        translated: draft.entries.len(),
        left: draft.left.len(),
        start,
        directory: places.project,
    })
}
