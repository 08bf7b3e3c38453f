//! The file that `reload.touch` names: to touch it, or to make it, asks for new workers.

use std::path::{Path, PathBuf};

use super::{
    Moment,
    place::{Hops, Signature, signature},
};

#[derive(Debug)]
pub(super) struct Touch {
    path: PathBuf,
    hops: Hops,
    seen: Option<Signature>,
    quiet_at: Option<Moment>,
}

impl Touch {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            hops: Hops::of(path),
            seen: signature(path),
            quiet_at: None,
        }
    }

    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.path == path
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.hops.directories()
    }

    pub(super) fn on_touched(&mut self, path: &Path, quiet_at: Moment) {
        if self.hops.contains(path) {
            self.quiet_at = Some(quiet_at);
        }
    }

    /// A look without having been told.
    pub(super) fn look(&mut self, quiet_at: Moment) {
        if self.quiet_at.is_none() && signature(&self.path) != self.seen {
            self.quiet_at = Some(quiet_at);
        }
    }

    pub(super) fn quiet_at(&self) -> Option<Moment> {
        self.quiet_at
    }

    /// To remove it asks for nothing.
    pub(super) fn take_changed(&mut self, now: Moment) -> bool {
        if self.quiet_at.is_none_or(|quiet_at| now < quiet_at) {
            return false;
        }
        self.quiet_at = None;
        self.hops = Hops::of(&self.path);
        let before = std::mem::replace(&mut self.seen, signature(&self.path));
        self.seen.is_some() && self.seen != before
    }
}
