//! The directories that the kernel watches for us, and what it told about them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::sys::{Bell, without_signals};

/// Paths that wait to be looked at. More are not kept: what is lost here is found at the next look.
const TOUCHED_MAX: usize = 4096;

pub(super) struct Directories {
    notify: RecommendedWatcher,
    bell: Arc<Bell>,
    touched: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Each with the device and inode it had: one that was made anew has to be watched anew.
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

impl std::fmt::Debug for Directories {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.watched.keys()).finish()
    }
}

impl Directories {
    pub(super) fn new() -> io::Result<Self> {
        let bell = Arc::new(Bell::create()?);
        let touched = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let (ringing, noted) = (Arc::clone(&bell), Arc::clone(&touched));
        let on_event = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.len() < TOUCHED_MAX {
                noted.extend(event.paths);
            }
            drop(noted);
            ringing.ring();
        };
        // A signal that its thread took while this process becomes another program would be lost.
        let notify = without_signals(|| notify::recommended_watcher(on_event))
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            notify,
            bell,
            touched,
            watched: BTreeMap::new(),
        })
    }

    /// Watches these and no others. One that does not exist or cannot be watched is tried again by the next call.
    pub(super) fn set(&mut self, wanted: BTreeSet<PathBuf>) {
        let wanted: BTreeMap<PathBuf, (u64, u64)> = wanted
            .into_iter()
            .filter_map(|path| identity(&path).map(|identity| (path, identity)))
            .collect();
        let gone: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(path, identity)| wanted.get(*path) != Some(identity))
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            let _gone_with_the_directory = self.notify.unwatch(&path);
            self.watched.remove(&path);
        }
        for (path, identity) in wanted {
            if !self.watched.contains_key(&path)
                && self
                    .notify
                    .watch(&path, RecursiveMode::NonRecursive)
                    .is_ok()
            {
                self.watched.insert(path, identity);
            }
        }
    }

    /// The paths that something happened to.
    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        self.bell.drain();
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

impl AsFd for Directories {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
