//! What the configuration has to know of the machine it is for. Asked through this, so that loading touches nothing.

use std::path::Path;

pub trait Machine {
    /// Processors this process may use, quotas regarded.
    fn processors(&self) -> u16;

    /// The current directory; absolute.
    fn directory(&self) -> &Path;

    fn is_directory(&self, path: &Path) -> bool;

    fn is_file(&self, path: &Path) -> bool;

    /// Whether there is a user of this name.
    fn has_user(&self, name: &str) -> bool;

    /// Whether there is a group of this name.
    fn has_group(&self, name: &str) -> bool;
}

/// A machine of tests, where every path and every name exists.
#[cfg(test)]
pub(super) struct Anywhere {
    pub(super) processors: u16,
}

#[cfg(test)]
impl Machine for Anywhere {
    fn processors(&self) -> u16 {
        self.processors
    }

    fn directory(&self) -> &Path {
        Path::new("/home/me")
    }

    fn is_directory(&self, _: &Path) -> bool {
        true
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn has_user(&self, _: &str) -> bool {
        true
    }

    fn has_group(&self, _: &str) -> bool {
        true
    }
}
