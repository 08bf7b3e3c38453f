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
    thread,
};

use nix::errno::Errno;
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::{
    sys::{Bell, naming_task_limit, without_signals},
    warning,
};

/// Paths that wait to be looked at. More are not kept: what is lost here is found at the next look.
const TOUCHED_MAX: usize = 4096;

pub(super) struct Directories {
    /// `None` until something is to be watched, and while the kernel lets nothing be: the instances of inotify are counted
    /// for each user, over all containers of a host.
    notify: Option<RecommendedWatcher>,
    bell: Arc<Bell>,
    touched: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Each with the device and inode it had: one that was made anew has to be watched anew.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Said once: what fails is tried again at every look.
    has_complained: bool,
}

impl std::fmt::Debug for Directories {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.watched.keys()).finish()
    }
}

impl Directories {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            notify: None,
            bell: Arc::new(Bell::create()?),
            touched: Arc::default(),
            watched: BTreeMap::new(),
            has_complained: false,
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
        if let Err((what, problem)) = self.rewatch(gone, wanted)
            && !self.has_complained
        {
            self.has_complained = true;
            warning!(
                "{what} cannot be watched: {}; the configuration is looked at every two seconds all the same, but changed \
                 code is not noticed",
                told(&problem)
            );
        }
    }

    /// Watches as many as can be; else what cannot, and why.
    fn rewatch(
        &mut self,
        gone: Vec<PathBuf>,
        wanted: BTreeMap<PathBuf, (u64, u64)>,
    ) -> Result<(), (String, notify::Error)> {
        if wanted.is_empty() && self.notify.is_none() {
            return Ok(());
        }
        let notify = match &mut self.notify {
            Some(notify) => notify,
            none => none.insert(
                listen(&self.bell, &self.touched)
                    .map_err(|problem| ("files".to_owned(), problem))?,
            ),
        };
        for path in gone {
            let _gone_with_the_directory = notify.unwatch(&path);
            self.watched.remove(&path);
        }
        let mut result = Ok(());
        for (path, identity) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match notify.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(path, identity)),
                // It was removed just now.
                Err(_) if !path.exists() => {}
                Err(problem) => result = Err((format!("`{}`", path.display()), problem)),
            }
        }
        result
    }

    /// The paths that something happened to.
    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        self.bell.drain();
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes what the kernel tells, and rings.
fn listen(
    bell: &Arc<Bell>,
    touched: &Arc<Mutex<BTreeSet<PathBuf>>>,
) -> notify::Result<RecommendedWatcher> {
    let (bell, touched) = (Arc::clone(bell), Arc::clone(touched));
    let on_event = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let mut noted = touched.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < TOUCHED_MAX {
            noted.extend(event.paths);
        }
        drop(noted);
        bell.ring();
    };
    // A signal that its thread took while this process becomes another program would be lost.
    without_signals(|| {
        // It panics later where its thread cannot be started.
        let can_start = thread::Builder::new().spawn(|| ());
        let _done = can_start
            .map_err(|error| notify::Error::io(naming_task_limit(error)))?
            .join();
        notify::recommended_watcher(on_event)
    })
}

/// With the limit that stands behind it; inotify(7). That of open files has the same error.
fn told(problem: &notify::Error) -> String {
    let limit = match &problem.kind {
        ErrorKind::Io(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
            "fs.inotify.max_user_instances"
        }
        ErrorKind::MaxFilesWatch => "fs.inotify.max_user_watches",
        _ => return problem.to_string(),
    };
    format!("{problem} (raise `{limit}` of the host)")
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
