//! How the arbiter gets a configuration, at start and again at each reload, without knowing where it comes from.

use std::path::Path;

use super::Loaded;

/// Reads everything anew: the file may have changed, the environment and the command line stay in force.
pub trait ConfigLoader: Send {
    /// The configuration, or all problems as they should be shown, ready to print.
    fn load(&self) -> Result<Loaded, String>;

    /// The file to watch, if there is one.
    fn path(&self) -> Option<&Path>;
}
