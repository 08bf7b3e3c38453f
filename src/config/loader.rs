//! How the arbiter gets a configuration, at start and again at each reload, without knowing where it comes from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Loaded, Setting};

/// Reads everything anew: the file may have changed, the environment and the command line stay in force.
pub trait ConfigLoader: Send {
    /// The text of the file, if there is one, or why it cannot be read, ready to print.
    fn text(&self) -> Result<Option<String>, String>;

    /// The configuration with this text as the file's, or all problems as they should be shown, ready to print.
    fn load(&self, text: Option<String>) -> Result<Loaded, String>;

    /// The file to watch, if there is one.
    fn path(&self) -> Option<&Path>;

    /// All but the content of the file.
    fn standing(&self) -> Standing;
}

/// What stays in force whatever the file becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Absolute.
    pub file: Option<PathBuf>,
    /// Where the server was started.
    pub directory: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub flags: Vec<Setting>,
}
