//! Listening sockets that a service manager keeps while we are gone (`FileDescriptorStoreMax=`), so that what waits in
//! their backlog is not lost when the arbiter is killed. The name it keeps one under says what the socket is.

use std::{fmt::Write, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use super::{Asked, Listener, SocketFile, open::address_of};
use crate::wire::ListenerAddress;

/// Tells our sockets from those of socket units.
const PREFIX: &str = "rgunicorn.";
/// systemd's limit of a name (`FDNAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// What a kept socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    asked: Asked,
    /// Device and inode of the name of a UNIX socket: another socket may have that name by now.
    file: Option<(u64, u64)>,
}

impl Kept {
    /// `None` for one that nobody could ask for again: it has any port, or is inherited itself.
    pub(super) fn of(listener: &Listener) -> Option<Self> {
        match &listener.asked {
            Asked::Tcp { address, .. } if address.port() == 0 => None,
            Asked::Inherited(_) => None,
            Asked::Tcp { .. } | Asked::Unix(_) => Some(Self {
                asked: listener.asked.clone(),
                file: listener.file.as_ref().map(SocketFile::identity),
            }),
        }
    }

    pub(super) fn is(&self, asked: &Asked) -> bool {
        self.asked == *asked
    }

    /// `None` for one that is too long.
    pub(super) fn name(&self) -> Option<String> {
        let text = match &self.asked {
            Asked::Tcp { address, v6_only } => {
                let kind = if *v6_only { "tcp6only" } else { "tcp" };
                format!("{kind}.{address}")
            }
            Asked::Unix(path) => {
                let (device, inode) = self.file.unwrap_or_default();
                format!("unix.{device}.{inode}.{}", path.to_str()?)
            }
            Asked::Inherited(_) => return None,
        };
        let name = format!("{PREFIX}{}", escaped(&text));
        (name.len() <= NAME_BYTES_MAX).then_some(name)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let text = unescaped(name.strip_prefix(PREFIX)?)?;
        let (kind, rest) = text.split_once('.')?;
        let tcp = |v6_only| {
            let address = rest.parse().ok()?;
            Some(Asked::Tcp { address, v6_only })
        };
        let (asked, file) = match kind {
            "tcp" => (tcp(false)?, None),
            "tcp6only" => (tcp(true)?, None),
            "unix" => {
                let mut parts = rest.splitn(3, '.');
                let mut number = || parts.next()?.parse::<u64>().ok();
                let file = (number()?, number()?);
                let path = PathBuf::from(parts.next()?);
                (Asked::Unix(path), Some(file).filter(|file| *file != (0, 0)))
            }
            _ => return None,
        };
        Some(Self { asked, file })
    }

    /// `None` for a UNIX socket whose name is gone or another one's: no client finds it.
    pub(super) fn listener(self, socket: OwnedFd) -> Option<Listener> {
        let (address, file) = match &self.asked {
            Asked::Unix(path) => {
                let file = match self.file {
                    Some(identity) => Some(SocketFile::found(path, identity)?),
                    None => None,
                };
                let text = path.to_string_lossy().into_owned();
                (ListenerAddress::Unix(text), file)
            }
            Asked::Tcp { .. } | Asked::Inherited(_) => (address_of(&socket), None),
        };
        Some(Listener {
            asked: self.asked,
            address,
            socket: Arc::new(socket),
            file,
        })
    }
}

/// A name may not have colons or control characters (sd_notify(3)): all but letters, digits and some signs is written in
/// hexadecimal, as in URLs.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"./-_@[]".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _cannot_fail = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str, v6_only: bool) -> Kept {
        let address = address.parse().unwrap();
        Kept {
            asked: Asked::Tcp { address, v6_only },
            file: None,
        }
    }

    fn unix(path: &str, file: Option<(u64, u64)>) -> Kept {
        let asked = Asked::Unix(path.into());
        Kept { asked, file }
    }

    #[test]
    fn a_name_says_what_the_socket_is_and_has_no_colon() {
        for (kept, name) in [
            (tcp("127.0.0.1:80", false), "rgunicorn.tcp.127.0.0.1%3A80"),
            (tcp("[::]:80", true), "rgunicorn.tcp6only.[%3A%3A]%3A80"),
            (
                unix("/run/my app.sock", Some((7, 9))),
                "rgunicorn.unix.7.9./run/my%20app.sock",
            ),
            (unix("@app", None), "rgunicorn.unix.0.0.@app"),
        ] {
            assert_eq!(kept.name().unwrap(), name);
            assert_eq!(Kept::parse(name).unwrap(), kept);
        }
    }

    #[test]
    fn the_name_of_a_socket_unit_is_none_of_ours() {
        for name in ["web.socket", "rgunicorn.socket", "rgunicorn.tcp.%zz", ""] {
            assert_eq!(Kept::parse(name), None);
        }
    }
}
