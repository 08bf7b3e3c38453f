//! How the descriptors that lines go to are opened, and what can be told by looking at one.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::{OpenOptionsExt, fchown},
    },
    path::Path,
};

use nix::fcntl::OFlag;

use super::Owner;
use crate::sys;

/// Permission bits of a log file that is created; the umask narrows them.
const FILE_MODE: u32 = 0o644;

/// For appending; made where there is none, and then `owner`'s.
pub(super) fn open_file(path: &Path, owner: Option<Owner>) -> io::Result<File> {
    let Some((user, group)) = owner else {
        // O_NONBLOCK so that a FIFO nobody reads is an error (ENXIO) instead of a hang; regular files ignore it.
        return OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .custom_flags(OFlag::O_NONBLOCK.bits() | OFlag::O_NOCTTY.bits())
            .open(path);
    };
    let distrusted = Some(user).filter(|user| *user != nix::unistd::geteuid().as_raw());
    let opened = sys::open_log_file(path, FILE_MODE, distrusted)?;
    if opened.is_new {
        // Without it a worker is still given the descriptor.
        let _ = fchown(&opened.file, Some(user), Some(group));
    }
    Ok(opened.file)
}

/// A descriptor of our own for one of the standard streams. A terminal takes what fits and says that it took less only where it was
/// opened that way; poll(2) tells that there is room, and not for how much.
pub(super) fn stream(stream: &(impl AsFd + IsTerminal)) -> io::Result<OwnedFd> {
    if stream.is_terminal()
        && let Ok(terminal) = open_anew(stream.as_fd())
    {
        return Ok(terminal);
    }
    stream.as_fd().try_clone_to_owned()
}

/// With an open file description that nobody else has.
fn open_anew(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits() | OFlag::O_NOCTTY.bits())
        .open(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))?;
    Ok(file.into())
}

pub(super) fn is_regular(descriptor: BorrowedFd<'_>) -> bool {
    nix::sys::stat::fstat(descriptor)
        .is_ok_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// Whether it is the stream that systemd says it connected to the journal (systemd.exec(5)).
pub(super) fn is_journal(descriptor: BorrowedFd<'_>) -> bool {
    let told = std::env::var("JOURNAL_STREAM").ok();
    let status = nix::sys::stat::fstat(descriptor).ok();
    told.zip(status)
        .is_some_and(|(told, status)| told == format!("{}:{}", status.st_dev, status.st_ino))
}
