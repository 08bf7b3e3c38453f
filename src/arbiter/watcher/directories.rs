//! The directories that the kernel watches for us, and what it told about them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::errno::Errno;
use notify::{
    ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};

use crate::{
    sys::{Bell, naming_task_limit, without_signals},
    warning,
};

/// Paths that wait to be looked at. When there are more, all are looked at.
const TOUCHED_MAX: usize = 4096;

/// What the kernel told.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// Something happened to the file of this name.
    File(PathBuf),
    /// Something happened to the directory of this name, which may hold others now.
    Directory(PathBuf),
    /// Anything may have happened: a watched directory went or was moved, or events were dropped.
    Lost,
}

pub(super) struct Directories {
    /// `None` until something is to be watched, and while the kernel lets nothing be: the instances of inotify are counted
    /// for each user, over all containers of a host.
    notify: Option<RecommendedWatcher>,
    bell: Arc<Bell>,
    noted: Arc<Mutex<Noted>>,
    /// By their paths without links.
    watched: BTreeMap<PathBuf, Directory>,
    /// Said once: what fails is tried again at every look.
    has_complained: bool,
}

/// One that is watched.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    /// Device and inode: one that was made anew has to be watched anew.
    identity: (u64, u64),
    /// The paths that lead to it, of which notify would know one.
    names: BTreeSet<PathBuf>,
}

/// What was told and not taken yet.
#[derive(Default)]
struct Noted {
    touched: BTreeSet<PathBuf>,
    has_lost: bool,
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
            noted: Arc::default(),
            watched: BTreeMap::new(),
            has_complained: false,
        })
    }

    /// Watches these and no others. One that does not exist or cannot be watched is tried again by the next call. Whether
    /// one is watched now that was not: nobody told what happened in it before.
    pub(super) fn set(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        let wanted = found(wanted);
        let before = std::mem::take(&mut self.watched);
        let known = |path: &PathBuf, directory: &Directory| before.get(path) == Some(directory);
        if let Err((what, problem)) = self.rewatch(&before, wanted)
            && !self.has_complained
        {
            self.has_complained = true;
            warning!(
                "{what} cannot be watched: {}; the configuration is looked at every two seconds all the same, but changed \
                 code is not noticed",
                told(&problem)
            );
        }
        let mut watched = self.watched.iter();
        watched.any(|(path, directory)| !known(path, directory))
    }

    /// Watches as many as can be; else what cannot, and why.
    fn rewatch(
        &mut self,
        before: &BTreeMap<PathBuf, Directory>,
        wanted: BTreeMap<PathBuf, Directory>,
    ) -> Result<(), (String, notify::Error)> {
        if wanted.is_empty() && self.notify.is_none() {
            return Ok(());
        }
        let notify = match &mut self.notify {
            Some(notify) => notify,
            none => none.insert(
                listen(&self.bell, &self.noted).map_err(|problem| ("files".to_owned(), problem))?,
            ),
        };
        let is_same = |path: &PathBuf, among: &BTreeMap<PathBuf, Directory>, one: &Directory| {
            among.get(path).map(|other| other.identity) == Some(one.identity)
        };
        for (path, directory) in before {
            if !is_same(path, &wanted, directory) {
                let _gone_with_the_directory = notify.unwatch(path);
            }
        }
        let mut result = Ok(());
        for (path, directory) in wanted {
            if is_same(&path, before, &directory) {
                self.watched.insert(path, directory);
                continue;
            }
            match notify.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(path, directory)),
                // It was removed just now.
                Err(_) if !path.exists() => {}
                Err(problem) => result = Err((format!("`{}`", path.display()), problem)),
            }
        }
        result
    }

    /// What the kernel told since the last time, each once.
    pub(super) fn take(&mut self) -> BTreeSet<Told> {
        self.bell.drain();
        let Noted { touched, has_lost } = std::mem::take(&mut *lock(&self.noted));
        let mut told: BTreeSet<Told> = has_lost.then_some(Told::Lost).into_iter().collect();
        for path in touched {
            if self.watched.contains_key(&path) {
                self.forget(&path);
                told.insert(Told::Lost);
                continue;
            }
            let kind = if path.is_dir() {
                Told::Directory
            } else {
                Told::File
            };
            let parent = path.parent().and_then(|parent| self.watched.get(parent));
            let names = parent.into_iter().flat_map(|parent| &parent.names);
            told.extend(names.map(|name| kind(name.join(path.file_name().unwrap_or_default()))));
        }
        told
    }

    /// The watch of a directory that went, or went elsewhere, and came back may be over, as are those below it, though device and
    /// inode may be the same. So they are watched anew.
    fn forget(&mut self, path: &Path) {
        self.watched.retain(|watched, _| !watched.starts_with(path));
    }
}

/// Those that there are, each once.
fn found(wanted: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Directory> {
    let mut found = BTreeMap::new();
    for name in wanted {
        let Ok(path) = fs::canonicalize(&name) else {
            continue;
        };
        let Some(identity) = identity(&path) else {
            continue;
        };
        let directory = found.entry(path).or_insert_with(|| Directory {
            identity,
            names: BTreeSet::new(),
        });
        directory.names.insert(name);
    }
    found
}

fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what the kernel tells, and rings.
fn listen(bell: &Arc<Bell>, noted: &Arc<Mutex<Noted>>) -> notify::Result<RecommendedWatcher> {
    let (bell, noted) = (Arc::clone(bell), Arc::clone(noted));
    let on_event = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if !may_change_a_file(event.kind) {
            return;
        }
        let mut noted = lock(&noted);
        if event.need_rescan() || noted.touched.len() >= TOUCHED_MAX {
            noted.has_lost = true;
        } else {
            noted.touched.extend(event.paths);
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

/// That files are opened and read makes none another one: we read them ourselves, and an app reads its templates all the time.
/// Nor does a part of a write: a save ends with the file closed, and a log that the app keeps open never is.
fn may_change_a_file(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(what) => !matches!(what, ModifyKind::Data(_)),
        _ => true,
    }
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
