//! The directories that the kernel watches for us, and what it told about them; inotify(7).

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};

use crate::warning;

/// What may have made a file another one. That files are opened and read is none of it: we read them ourselves, and an app
/// reads its templates all the time. Nor is a part of a write: a save ends with the file closed, and a log that the
/// app keeps open never is.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_ATTRIB
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// After which what is known of a directory, or of all, is out of date.
const LOSSES: AddWatchFlags = AddWatchFlags::IN_Q_OVERFLOW
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_UNMOUNT);
/// Each gives some hundred events; what is left wakes us again.
const READS_MAX: usize = 64;

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

#[derive(Default)]
pub(super) struct Directories {
    /// `None` until something is to be watched, and while the kernel lets nothing be: the instances of inotify are counted
    /// for each user, over all containers of a host.
    inotify: Option<Inotify>,
    /// Each with the paths that lead to it.
    watched: BTreeMap<WatchDescriptor, BTreeSet<PathBuf>>,
    /// Said once: what fails is tried again at every look.
    has_complained: bool,
}

impl std::fmt::Debug for Directories {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_set()
            .entries(self.watched.values())
            .finish()
    }
}

impl Directories {
    /// Watches these and no others. One that does not exist or cannot be watched is tried again by the next call. Whether
    /// one is watched now that was not: nobody told what happened in it before.
    pub(super) fn set(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        if self.inotify.is_none() && !wanted.is_empty() {
            match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(errno) => self.complain("files", errno),
            }
        }
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let before = std::mem::take(&mut self.watched);
        let (mut has_new, mut problem) = (false, None);
        for path in wanted {
            // One that is watched already is known by its inode, so one that was made anew is watched anew.
            match inotify.add_watch(&path, EVENTS) {
                Ok(watch) => {
                    let paths = before.get(&watch);
                    has_new |= paths.is_none_or(|paths| !paths.contains(&path));
                    self.watched.entry(watch).or_default().insert(path);
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => problem = Some((path, errno)),
            }
        }
        for watch in before.keys() {
            if !self.watched.contains_key(watch) {
                // It went with its directory, or goes now.
                let _ = inotify.rm_watch(*watch);
            }
        }
        if let Some((path, errno)) = problem {
            self.complain(&format!("`{}`", path.display()), errno);
        }
        has_new
    }

    fn complain(&mut self, what: &str, errno: Errno) {
        if !std::mem::replace(&mut self.has_complained, true) {
            warning!(
                "{what} cannot be watched: {}; the configuration is looked at every two seconds all the same, but changed \
                 code is not noticed",
                told(errno)
            );
        }
    }

    /// What the kernel told since the last time, each once.
    pub(super) fn take(&self) -> BTreeSet<Told> {
        let mut told = BTreeSet::new();
        let reads = self.inotify.iter().cycle().take(READS_MAX);
        for events in reads.map_while(|inotify| inotify.read_events().ok()) {
            for event in &events {
                self.note(event, &mut told);
            }
        }
        told
    }

    fn note(&self, event: &InotifyEvent, told: &mut BTreeSet<Told>) {
        if event.mask.intersects(LOSSES) {
            told.insert(Told::Lost);
            return;
        }
        let name = Path::new(event.name.as_deref().unwrap_or_default());
        let is_directory = event.name.is_none() || event.mask.contains(AddWatchFlags::IN_ISDIR);
        // A directory that we do not watch any more may have something to say still.
        for path in self.watched.get(&event.wd).into_iter().flatten() {
            told.insert(match is_directory {
                true => Told::Directory(path.join(name)),
                false => Told::File(path.join(name)),
            });
        }
    }

    /// Readable when there is something to take; `None` while nothing is watched.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }
}

/// With the limit that stands behind it. That of open files has the same error.
fn told(errno: Errno) -> String {
    let limit = match errno {
        Errno::EMFILE => "fs.inotify.max_user_instances",
        Errno::ENOSPC => "fs.inotify.max_user_watches",
        _ => return errno.desc().to_owned(),
    };
    format!("{} (raise `{limit}` of the host)", errno.desc())
}
