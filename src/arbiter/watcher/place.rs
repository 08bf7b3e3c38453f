//! A place in the file system: what its path leads through, and the state of the file there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// Links that a path may lead through, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What tells one state of a file from another without reading it: device, inode, size, change time.
pub(super) type Signature = (u64, u64, u64, i64, i64);

/// `None`: there is no file.
pub(super) fn signature(path: &Path) -> Option<Signature> {
    let metadata = fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}

/// A path and every link that it leads through, each as the kernel names it: with the links before it resolved.
#[derive(Debug)]
pub(super) struct Hops(BTreeSet<PathBuf>);

impl Hops {
    pub(super) fn of(path: &Path) -> Self {
        let mut hops = BTreeSet::new();
        let mut rest = path.to_owned();
        for _ in 0..LINKS_MAX {
            let Some((link, target)) = first_link(&rest) else {
                hops.insert(rest);
                break;
            };
            let after = rest.strip_prefix(&link).unwrap_or(Path::new("")).to_owned();
            let folder = link.parent().unwrap_or(Path::new("/"));
            rest = normal(&folder.join(target).join(after));
            hops.insert(link);
        }
        Self(hops)
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.contains(path)
    }

    /// In which the kernel tells of a change of any of them.
    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let parents = self.0.iter().filter_map(|hop| hop.parent());
        parents.map(Path::to_owned)
    }
}

/// The first component of a path that is a link, and what it says.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut so_far = PathBuf::new();
    for component in path.components() {
        so_far.push(component);
        if let Ok(target) = fs::read_link(&so_far) {
            return Some((so_far, target));
        }
    }
    None
}

/// Without `.` and `..`; right, because all links before them are resolved.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => {
                normal.push(component);
            }
        }
    }
    normal
}
