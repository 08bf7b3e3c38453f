//! UNIX sockets that listen.
//!
//! A socket with a name in the file system is bound beside its place, given its mode and owner, and then renamed into
//! place: clients never meet one that refuses them, and a stale one is replaced without a gap.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind as bind_to, connect, getsockname, listen,
    socket,
};

use super::{Asked, ListenError, Listener};
use crate::{
    config::{Bind, Config},
    sys::Identity,
    wire::ListenerAddress,
};

/// Entries of a directory that a sweep looks at.
const SWEPT_MAX: usize = 10_000;

/// The name of an open socket. Dropping it removes the name, if it is still the socket's.
#[derive(Debug)]
pub(in crate::arbiter) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    pub(in crate::arbiter) fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }

    pub(super) fn set_mode(&self, mode: u32) {
        let name = Name::open(&self.path);
        let ours = name.ok().filter(|name| name.identity() == self.identity());
        let _gone_already = ours.map(|name| name.set_mode(mode));
    }

    /// Lets the name be.
    pub(in crate::arbiter) fn leave(self) {
        std::mem::forget(self);
    }

    /// Path, device and inode, to go on with after an exec.
    pub(in crate::arbiter) fn parts(&self) -> (PathBuf, u64, u64) {
        (self.path.clone(), self.device, self.inode)
    }

    pub(in crate::arbiter) fn resume((path, device, inode): (PathBuf, u64, u64)) -> Self {
        Self {
            path,
            device,
            inode,
        }
    }

    /// Device and inode of the name.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// The name, if it is still this one.
    pub(super) fn found(path: &Path, identity: (u64, u64)) -> Option<Self> {
        Self::of(path)
            .ok()
            .filter(|file| file.identity() == identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

/// The socket that a name in the file system stood for when it was opened. Whoever owns the folder may have the name stand for
/// anything else by now, and the mode and owner of that are not to be changed with the rights of this process.
struct Name {
    handle: File,
    metadata: fs::Metadata,
}

impl Name {
    fn open(path: &Path) -> io::Result<Self> {
        let handle = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(path)?;
        let metadata = handle.metadata()?;
        match metadata.file_type().is_socket() {
            true => Ok(Self { handle, metadata }),
            false => Err(io::Error::other("somebody replaced the socket")),
        }
    }

    fn identity(&self) -> (u64, u64) {
        (self.metadata.dev(), self.metadata.ino())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.way(), fs::Permissions::from_mode(mode))
    }

    fn set_owner(&self, identity: &Identity) -> io::Result<()> {
        chown(self.way(), identity.user_id(), Some(identity.group_id()))
    }

    /// No system call changes what was opened with `O_PATH` but by this link (open(2)).
    fn way(&self) -> String {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd())
    }
}

pub(super) fn open(
    bind: &Bind,
    path: &Path,
    config: &Config,
    identity: Option<&Identity>,
) -> Result<Listener, ListenError> {
    let failed = |source: io::Error| ListenError::of(bind, source);
    let text = path.to_string_lossy().into_owned();
    let (socket, file) = match text.strip_prefix('@') {
        Some(name) => (open_abstract(name, config).map_err(failed)?, None),
        None => {
            refuse_what_is_used(bind, path)?;
            let (socket, file) =
                open_named(path, config.socket_mode, config.backlog, identity).map_err(failed)?;
            (socket, Some(file))
        }
    };
    Ok(Listener {
        asked: Asked::Unix(path.to_owned()),
        address: ListenerAddress::Unix(text),
        socket: Arc::new(socket),
        file,
    })
}

/// A socket for the user of this process, and root, alone.
pub(in crate::arbiter) fn open_private(
    path: &Path,
    backlog: u32,
) -> Result<(OwnedFd, SocketFile), ListenError> {
    let bind = Bind::Unix(path.to_owned());
    refuse_what_is_used(&bind, path)?;
    open_named(path, 0o600, backlog, None).map_err(|source| ListenError::of(&bind, source))
}

/// Only a socket that nobody listens on may be replaced.
fn refuse_what_is_used(bind: &Bind, path: &Path) -> Result<(), ListenError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket { bind: bind.clone() });
    }
    match is_abandoned(path) {
        true => Ok(()),
        false => Err(ListenError::InUse { bind: bind.clone() }),
    }
}

/// Whether nobody listens at a socket. False also where that cannot be told: no permission, another type, a queue that is
/// full, which nobody waits for.
fn is_abandoned(path: &Path) -> bool {
    let asked = new_socket().and_then(|socket| {
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(())
    });
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Removes the sockets of a directory whose names `is_ours` knows and at which nobody listens any more. Since a socket gets its
/// name when it listens, none of a server that lives is among them. What cannot be looked at, or removed, stays.
pub(in crate::arbiter) fn sweep(directory: &Path, is_ours: impl Fn(&str) -> bool) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.take(SWEPT_MAX) {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if !is_socket || !entry.file_name().to_str().is_some_and(&is_ours) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = SocketFile::of(&path) else {
            continue;
        };
        match is_abandoned(&path) {
            // Dropped, it removes the name, unless that is another's by now.
            true => drop(file),
            false => file.leave(),
        }
    }
}

fn open_abstract(name: &str, config: &Config) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    bind_to(
        socket.as_raw_fd(),
        &UnixAddr::new_abstract(name.as_bytes())?,
    )?;
    listen(&socket, super::backlog(config.backlog))?;
    Ok(socket)
}

fn open_named(
    path: &Path,
    mode: u32,
    backlog: u32,
    identity: Option<&Identity>,
) -> io::Result<(OwnedFd, SocketFile)> {
    // A short name: together with the folder it has to fit into 107 bytes (unix(7)).
    let beside = path.with_file_name(format!(".rg{}", std::process::id()));
    remove_socket(&beside);
    let socket = new_socket()?;
    bind_to(socket.as_raw_fd(), &UnixAddr::new(&beside)?)?;
    let placed = place(&socket, &beside, path, mode, backlog, identity);
    if placed.is_err() {
        remove_socket(&beside);
    }
    placed.map(|file| (socket, file))
}

/// Removes what this process, or one of its number that crashed, has left; never a file that is something else.
fn remove_socket(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        let _gone_already = fs::remove_file(path);
    }
}

fn place(
    socket: &OwnedFd,
    beside: &Path,
    path: &Path,
    mode: u32,
    backlog: u32,
    identity: Option<&Identity>,
) -> io::Result<SocketFile> {
    let name = Name::open(beside)?;
    name.set_mode(mode)?;
    if let Some(identity) = identity {
        name.set_owner(identity)?;
    }
    listen(socket, super::backlog(backlog))?;
    fs::rename(beside, path)?;
    SocketFile::of(path)
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

/// The name that an inherited socket was bound to.
pub(super) fn name_of(socket: &OwnedFd) -> Option<String> {
    let address: UnixAddr = getsockname(socket.as_raw_fd()).ok()?;
    if let Some(name) = address.as_abstract() {
        return Some(format!("@{}", String::from_utf8_lossy(name)));
    }
    address.path().map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn nothing_but_a_socket_is_given_a_mode() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let listener = UnixListener::bind(place("socket")).unwrap();
        Name::open(&place("socket"))
            .unwrap()
            .set_mode(0o602)
            .unwrap();
        assert_eq!(mode(&place("socket")), 0o602);
        // As the owner of the folder could have it.
        fs::write(place("secret"), "").unwrap();
        for target in ["secret", "socket"] {
            let link = place(&format!("{target}.link"));
            symlink(place(target), &link).unwrap();
            assert!(Name::open(&link).is_err());
        }
        assert!(Name::open(&place("secret")).is_err());
        // The name is another's now.
        let file = SocketFile::of(&place("socket")).unwrap();
        fs::remove_file(place("socket")).unwrap();
        let _another = UnixListener::bind(place("socket")).unwrap();
        let before = mode(&place("socket"));
        file.set_mode(0o607);
        assert_eq!(mode(&place("socket")), before);
        drop(listener);
    }
}
