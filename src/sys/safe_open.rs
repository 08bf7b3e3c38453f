//! Opening a file, or making it, for a user who must not get more by that than is the user's own.
//!
//! Logs and the pidfile often lie in a folder of the user that workers run as, who can put a link to any file of the system in
//! their place. Root would open that file, and the workers could write to it. So such a link is followed only to what belongs to
//! the same user. Links of all others are followed: those who administer the machine made them. That is not so in a folder like
//! /tmp, where strangers make links and files. Each step begins at a folder that is open, so nothing can be put in its place meanwhile.

mod trust;
mod walk;

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    sys::stat::{FileStat, Mode, fstat, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};

use trust::{check_stranger, check_target};
use walk::Walk;

/// How often a file may come and go while it is opened.
const TRIES: usize = 10;

/// A file that is open, and where it is.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub place: Place,
    /// It was not there before.
    pub is_new: bool,
}

/// Opens a file for appending, or makes it with these permission bits. A link of the user `distrusted` is followed to what is
/// that user's own, else the error is `PermissionDenied`. Never waits: a FIFO that nobody reads is an error (ENXIO).
pub fn open_log_file(path: &Path, mode: u32, distrusted: Option<u32>) -> io::Result<Opened> {
    open_or_make(path, OFlag::O_WRONLY | OFlag::O_APPEND, mode, distrusted)
}

/// The same for reading and writing.
pub fn open_pidfile(path: &Path, mode: u32, distrusted: Option<u32>) -> io::Result<Opened> {
    open_or_make(path, OFlag::O_RDWR, mode, distrusted)
}

fn open_or_make(
    path: &Path,
    access: OFlag,
    mode: u32,
    distrusted: Option<u32>,
) -> io::Result<Opened> {
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    for _ in 0..TRIES {
        let place = Place::find(path, distrusted)?;
        let (opened, is_new) = match place.open(flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (place.make(flags, Mode::from_bits_truncate(mode)), true)
            }
            opened => (opened, false),
        };
        match opened {
            Ok(file) => {
                return Ok(Opened {
                    file,
                    place,
                    is_new,
                });
            }
            // A file or a link came there meanwhile.
            Err(error)
                if [Some(libc::EEXIST), Some(libc::ELOOP)].contains(&error.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EAGAIN.into())
}

/// Where a path ends: a name in a folder that is open. The name is that of no link.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    name: OsString,
    /// It is one of the kernel's links in /proc: what those lead to has no name.
    is_kernel_link: bool,
    /// A link of the distrusted user led here.
    is_behind_link: bool,
    distrusted: Option<u32>,
}

impl Place {
    /// Goes there. Nothing has to have the name yet.
    pub fn find(path: &Path, distrusted: Option<u32>) -> io::Result<Self> {
        Walk::from_here(distrusted)?.go_to(path)
    }

    /// Whether the file still has this name.
    pub fn holds(&self, file: &File) -> bool {
        let found = fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let (Ok(found), Ok(ours)) = (found, fstat(file)) else {
            return false;
        };
        (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
    }

    /// Removes the file, if it still has this name.
    pub fn remove(&self, file: &File) {
        if self.holds(file) {
            let _gone_already = unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir);
        }
    }

    fn open(&self, flags: OFlag) -> io::Result<File> {
        if self.is_kernel_link {
            return self.open_through_kernel_link(flags);
        }
        // Looked at before, too: to open a device may be to start it.
        let found = fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        self.check(&found)?;
        check_stranger(&self.folder, &found, self.distrusted)?;
        let flags = flags | OFlag::O_NOFOLLOW;
        let file = openat(&self.folder, &*self.name, flags, Mode::empty())?;
        self.check(&fstat(&file)?)?;
        Ok(file.into())
    }

    /// Such a link may lead elsewhere at every moment, so it is followed once.
    fn open_through_kernel_link(&self, flags: OFlag) -> io::Result<File> {
        let look = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let found = openat(&self.folder, &*self.name, look, Mode::empty())?;
        let status = fstat(&found)?;
        if !is_own_output(&status) {
            self.check(&status)?;
        }
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        Ok(open(path.as_str(), flags, Mode::empty())?.into())
    }

    fn make(&self, flags: OFlag, mode: Mode) -> io::Result<File> {
        self.check(&fstat(&self.folder)?)?;
        let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(openat(&self.folder, &*self.name, flags, mode)?.into())
    }

    fn check(&self, reached: &FileStat) -> io::Result<()> {
        match self.is_behind_link {
            true => check_target(reached, self.distrusted),
            false => Ok(()),
        }
    }
}

/// Whether it is where the output of this process goes anyway.
fn is_own_output(reached: &FileStat) -> bool {
    [fstat(io::stdout()), fstat(io::stderr())]
        .iter()
        .flatten()
        .any(|own| (own.st_dev, own.st_ino) == (reached.st_dev, reached.st_ino))
}

#[cfg(test)]
mod tests;
