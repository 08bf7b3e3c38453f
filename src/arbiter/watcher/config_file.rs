//! The config file: where its path leads, and whether its content is another one than was read.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Moment,
    place::{Hops, Signature, signature},
};
use crate::sys::open_file;

/// What is longer is no configuration, and is not read further.
const HASHED_BYTES_MAX: u64 = 2 << 20;
/// A save begins by emptying the file, and whoever saves may be kept from going on.
const EMPTY_FOR: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    is_watched: bool,
    /// A change of any of them may change the content.
    hops: Hops,
    /// Of the content that was read last; `None` when there was none.
    hash: Option<u64>,
    /// What a look without reading showed last.
    seen: Option<Signature>,
    quiet_at: Option<Moment>,
}

impl ConfigFile {
    pub(super) fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            is_watched: true,
            hops: Hops::of(&path),
            hash: hash_of(&path),
            seen: signature(&path),
            quiet_at: None,
            path,
        }
    }

    /// Of the content that was read last.
    pub(super) fn hash(&self) -> Option<u64> {
        self.hash
    }

    /// Goes on for one that had read that content: another one now is a change.
    pub(super) fn resume(&mut self, hash: Option<u64>, quiet_at: Moment) {
        if self.hash != hash {
            self.hash = hash;
            self.quiet_at = Some(quiet_at);
        }
    }

    pub(super) fn set_watched(&mut self, watched: bool) {
        self.is_watched = watched;
    }

    pub(super) fn is_read(&mut self) {
        self.hash = hash_of(&self.path);
        self.seen = signature(&self.path);
        self.hops = Hops::of(&self.path);
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.hops.directories().filter(|_| self.is_watched)
    }

    pub(super) fn on_touched(&mut self, path: &Path, quiet_at: Moment) {
        if self.is_watched && self.hops.contains(path) {
            self.quiet_at = Some(quiet_at);
        }
    }

    /// A look without having been told.
    pub(super) fn look(&mut self, quiet_at: Moment) {
        let now = signature(&self.path);
        if self.is_watched && now != self.seen && self.quiet_at.is_none() {
            self.quiet_at = Some(quiet_at);
        }
        self.seen = now;
        self.hops = Hops::of(&self.path);
    }

    /// When to ask for a change.
    pub(super) fn quiet_at(&self) -> Option<Moment> {
        self.quiet_at.map(|quiet_at| match is_empty(&self.path) {
            true => quiet_at + EMPTY_FOR,
            false => quiet_at,
        })
    }

    /// A file that is missing or cannot be read is no change: somebody is at work on it. Most often that is true of an
    /// empty one too, so it has to be quiet for longer.
    pub(super) fn take_changed(&mut self, now: Moment) -> bool {
        let Some(quiet_at) = self.quiet_at.filter(|quiet_at| *quiet_at <= now) else {
            return false;
        };
        if is_empty(&self.path) && now < quiet_at + EMPTY_FOR {
            return false;
        }
        self.quiet_at = None;
        self.seen = signature(&self.path);
        self.hops = Hops::of(&self.path);
        let hash = hash_of(&self.path);
        if hash.is_none() || hash == self.hash {
            return false;
        }
        self.hash = hash;
        true
    }

    /// Whether the change that was taken led to this text. Else it is to be waited for again.
    pub(super) fn is_what_changed(&mut self, text: &str, quiet_at: Moment) -> bool {
        let is_same = self.hash == Some(hash(text.as_bytes()));
        if !is_same {
            // Whatever the file holds in the end was not read.
            self.hash = None;
            self.quiet_at = Some(quiet_at);
        }
        is_same
    }
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

fn hash_of(path: &Path) -> Option<u64> {
    let mut content = Vec::new();
    let file = open_file(path).ok()?;
    file.take(HASHED_BYTES_MAX).read_to_end(&mut content).ok()?;
    Some(hash(&content))
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
