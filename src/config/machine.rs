//! What the configuration has to know of the machine it is for. Asked through this, so that loading touches nothing.

use std::path::{Path, PathBuf};

pub trait Machine {
    /// Processors this process may use, quotas regarded.
    fn processors(&self) -> u16;

    /// The current directory; absolute.
    fn directory(&self) -> &Path;

    fn is_directory(&self, path: &Path) -> bool;

    fn is_file(&self, path: &Path) -> bool;

    /// Why what has this path cannot be had although it is there, such as a link that leads nowhere; `None` where there is
    /// nothing. Fits after "cannot be reached: ".
    fn obstacle(&self, path: &Path) -> Option<String>;

    /// Whether there is a user of this name, or why that cannot be said.
    fn has_user(&self, name: &str) -> Result<bool, String>;

    /// Whether there is a group of this name, or why that cannot be said.
    fn has_group(&self, name: &str) -> Result<bool, String>;
}

/// A machine that is not this one: as far as can be known here, every path and every name exists on it.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    pub processors: u16,
    /// The current directory; absolute.
    pub directory: PathBuf,
}

impl Machine for Elsewhere {
    fn processors(&self) -> u16 {
        self.processors
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn is_directory(&self, _: &Path) -> bool {
        true
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn obstacle(&self, _: &Path) -> Option<String> {
        None
    }

    fn has_user(&self, _: &str) -> Result<bool, String> {
        Ok(true)
    }

    fn has_group(&self, _: &str) -> Result<bool, String> {
        Ok(true)
    }
}

/// The machine of tests.
#[cfg(test)]
pub(super) fn test_machine(processors: u16) -> Elsewhere {
    Elsewhere {
        processors,
        directory: PathBuf::from("/home/me"),
    }
}
