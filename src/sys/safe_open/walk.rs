//! The way to a file, name by name, with each link looked at before it is followed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat},
    sys::{
        stat::{Mode, fstat, fstatat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

use super::{
    Place,
    trust::{check_stranger, check_target},
};

/// Links in one path, as many as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// On the way to a file.
pub(super) struct Walk {
    folder: OwnedFd,
    /// Names to come, the next one last.
    ahead: Vec<OsString>,
    /// Followed so far.
    links: usize,
    distrusted: Option<u32>,
    /// For each link of the distrusted user on which we are: how many names are ahead where it ends.
    ends: Vec<usize>,
}

impl Walk {
    pub(super) fn from_here(distrusted: Option<u32>) -> io::Result<Self> {
        Ok(Self {
            folder: reach(AT_FDCWD, OsStr::new("."))?,
            ahead: Vec::new(),
            links: 0,
            distrusted,
            ends: Vec::new(),
        })
    }

    /// Goes to the last name of the path, which nothing has to have yet.
    pub(super) fn go_to(mut self, path: &Path) -> io::Result<Place> {
        self.head_for(path)?;
        while let Some(name) = self.ahead.pop() {
            if self.ahead.is_empty() {
                let is_link = is_link(&self.folder, &name)?;
                let is_kernel_link = is_link && is_of_the_kernel(&self.folder)?;
                if !is_link || is_kernel_link {
                    return Ok(Place {
                        folder: self.folder,
                        name,
                        is_kernel_link,
                        is_behind_link: !self.ends.is_empty(),
                        distrusted: self.distrusted,
                    });
                }
            }
            self.enter(&name)?;
        }
        Err(Errno::EISDIR.into())
    }

    fn head_for(&mut self, path: &Path) -> io::Result<()> {
        if path.is_absolute() {
            self.folder = reach(AT_FDCWD, OsStr::new("/"))?;
        }
        let names = path.components().rev().filter_map(|part| match part {
            Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.ahead.extend(names);
        Ok(())
    }

    /// Goes into the folder with this name, or onto the link.
    fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        let found = reach(&self.folder, name)?;
        let status = fstat(&found)?;
        if status.st_mode & libc::S_IFMT != libc::S_IFLNK {
            self.folder = found;
        } else if is_of_the_kernel(&self.folder)? {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            self.folder = openat(&self.folder, name, flags, Mode::empty())?;
        } else {
            check_stranger(&self.folder, &status, self.distrusted)?;
            self.links += 1;
            if self.links > LINKS_MAX {
                return Err(Errno::ELOOP.into());
            }
            if Some(status.st_uid) == self.distrusted {
                self.ends.push(self.ahead.len());
            }
            self.head_for(Path::new(&readlinkat(&found, "")?))?;
        }
        while self.ends.last() == Some(&self.ahead.len()) && !self.ahead.is_empty() {
            check_target(&fstat(&self.folder)?, self.distrusted)?;
            self.ends.pop();
        }
        Ok(())
    }
}

fn is_link(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(status.st_mode & libc::S_IFMT == libc::S_IFLNK),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A folder to go on from, or a link to look at. Nothing is opened by it (O_PATH), and no link followed.
fn reach(from: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(from, name, flags, Mode::empty())?)
}

/// Whether it is in /proc, where `self/fd/1` looks like a link, and nobody can put one.
fn is_of_the_kernel(folder: &OwnedFd) -> io::Result<bool> {
    Ok(fstatfs(folder)?.filesystem_type() == PROC_SUPER_MAGIC)
}
