//! Becoming another program while keeping pid, children and chosen descriptors.

use std::{
    ffi::{CString, OsString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStringExt,
    },
    path::Path,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// Descriptors that the next program is to find under the same numbers.
#[derive(Debug, Default)]
pub struct Handed<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Handed<'a> {
    /// Its number, now and then.
    pub fn add(&mut self, descriptor: BorrowedFd<'a>) -> RawFd {
        self.0.push(descriptor);
        descriptor.as_raw_fd()
    }

    fn mark(&self, flags: FdFlag) -> io::Result<()> {
        for descriptor in &self.0 {
            fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
        }
        Ok(())
    }
}

/// Becomes the program. Returns only with the error that prevented it; then all is as it was before.
pub fn execute(
    program: &Path,
    arguments: &[OsString],
    environment: impl Iterator<Item = (OsString, OsString)>,
    handed: &Handed<'_>,
) -> io::Error {
    let environment = environment.map(|(name, value)| {
        let mut entry = name;
        entry.push("=");
        entry.push(value);
        entry
    });
    let become_it = || -> io::Result<()> {
        let program = text(program.as_os_str().to_owned())?;
        let arguments: Vec<CString> = arguments
            .iter()
            .cloned()
            .map(text)
            .collect::<io::Result<_>>()?;
        let environment: Vec<CString> = environment.map(text).collect::<io::Result<_>>()?;
        handed.mark(FdFlag::empty())?;
        nix::unistd::execve(&program, &arguments, &environment)?;
        Ok(())
    };
    let error = become_it()
        .err()
        .unwrap_or_else(|| io::Error::other("execve returned"));
    let _stays_open_in_children = handed.mark(FdFlag::FD_CLOEXEC);
    error
}

fn text(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

/// A file without a name that holds the bytes and is read from its beginning.
pub fn memory_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
