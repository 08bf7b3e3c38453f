//! The socket on which a service manager listens for what a service says of itself (sd_notify(3)).

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use super::send_with_descriptors;

/// Where `$NOTIFY_SOCKET` points to.
#[derive(Debug, Clone)]
pub struct NotifySocket(SocketAddr);

impl NotifySocket {
    /// A path, or with a leading `@` an abstract name. VSOCK, by which a virtual machine speaks to its host, is refused.
    pub fn parse(variable: &OsStr) -> io::Result<Self> {
        let address = match variable.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(variable)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self(address))
    }

    /// Sends one message of `NAME=value` lines, with descriptors. Never blocks: `WouldBlock` when the manager is behind.
    pub fn send(&self, message: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        // Anew for each: the manager may have made its socket anew.
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&self.0)?;
        send_with_descriptors(socket.as_fd(), message.as_bytes(), descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_a_path_and_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("rgunicorn-test-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&name).unwrap();
        for (variable, manager) in [
            (path.display().to_string(), UnixDatagram::bind(&path)),
            (format!("@{name}"), UnixDatagram::bind_addr(&named)),
        ] {
            let manager = manager.unwrap();
            let socket = NotifySocket::parse(variable.as_ref()).unwrap();
            socket.send("READY=1", &[]).unwrap();
            let mut buffer = [0; 64];
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }

    #[test]
    fn another_kind_of_address_is_refused() {
        assert!(NotifySocket::parse("vsock:2:1234".as_ref()).is_err());
        assert!(NotifySocket::parse("".as_ref()).is_err());
    }
}
