//! Whose files and links are good enough to be followed or opened.

use std::{io, os::fd::OwnedFd};

use nix::{
    sys::stat::{FileStat, fstat},
    unistd::geteuid,
};

/// What a link of the distrusted user leads to has to be that user's own.
pub(super) fn check_target(reached: &FileStat, distrusted: Option<u32>) -> io::Result<()> {
    if Some(reached.st_uid) != distrusted {
        return Err(denied(
            "a link of the user that workers run as leads to what is not that user's own",
        ));
    }
    Ok(())
}

/// In a folder like /tmp, nothing is followed or opened that a stranger put there, as the kernel has it for who makes files
/// (`protected_symlinks` and `protected_regular`, proc_sys_fs(5)).
pub(super) fn check_stranger(
    folder: &OwnedFd,
    found: &FileStat,
    distrusted: Option<u32>,
) -> io::Result<()> {
    let status = fstat(folder)?;
    let anybodys = libc::S_ISVTX | libc::S_IWOTH;
    let owner = found.st_uid;
    let is_known =
        owner == status.st_uid || owner == geteuid().as_raw() || Some(owner) == distrusted;
    if status.st_mode & anybodys == anybodys && !is_known {
        return Err(denied(
            "another user put it into a folder where everybody may",
        ));
    }
    Ok(())
}

fn denied(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
