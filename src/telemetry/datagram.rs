//! Messages to a syslog daemon or to systemd's journal: each a datagram of its own, sent without waiting for more than is
//! allowed, over a socket that is connected again when its daemon was started anew.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::PathBuf,
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, UnixAddr, connect, send},
};

use super::entry::write_rfc3339;
use crate::{
    config::{Facility, LogLevel, LogTarget, SyslogAddress},
    sys,
};

/// Bytes of one syslog message; what daemons take by default (rsyslog's `maxMessageSize`).
const SYSLOG_BYTES_MAX: usize = 8192;
/// Bytes of one journal entry: below what a socket buffer takes, whatever the system's settings.
const JOURNAL_BYTES_MAX: usize = 64 * 1024;

/// How long a name may take to be resolved: the arbiter waits for it, while the workers serve on.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(2);

/// How the daemon at the other end wants to be spoken to.
#[derive(Debug, Clone)]
enum Protocol {
    /// As syslog(3) does it on this machine: RFC 3164 without a host.
    Local(PathBuf),
    /// RFC 5424 in UDP, RFC 5426; the name of this machine.
    Network { host: String },
    /// systemd's native protocol.
    Journal(PathBuf),
}

/// A daemon, and what it is to know us by.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    protocol: Protocol,
    identifier: String,
    facility: Facility,
}

/// One message.
pub(super) struct Message<'a> {
    pub(super) level: LogLevel,
    /// UTF-8 in all but what strangers sent; several lines where the daemon knows them.
    pub(super) text: &'a [u8],
    /// For the journal.
    pub(super) fields: &'a [(&'a str, String)],
}

impl Daemon {
    /// `None` for targets that are no daemons.
    pub(super) fn of(target: &LogTarget, identifier: &str, facility: Facility) -> Option<Self> {
        let protocol = match target {
            LogTarget::Syslog(SyslogAddress::Local(path)) => Protocol::Local(path.clone()),
            LogTarget::Syslog(SyslogAddress::Udp { .. }) => Protocol::Network { host: hostname() },
            LogTarget::Journald(path) => Protocol::Journal(path.clone()),
            LogTarget::Off | LogTarget::Stdout | LogTarget::Stderr | LogTarget::File(_) => {
                return None;
            }
        };
        Some(Self {
            protocol,
            identifier: identifier.to_owned(),
            facility,
        })
    }

    pub(super) fn rename(&mut self, identifier: &str, facility: Facility) {
        identifier.clone_into(&mut self.identifier);
        self.facility = facility;
    }

    /// Whether a message may have several lines.
    pub(super) fn knows_lines(&self) -> bool {
        matches!(self.protocol, Protocol::Journal(_))
    }

    /// Sends, or says why not; never waits.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, message: &Message<'_>) -> io::Result<()> {
        let datagram = self.datagram(message, Timestamp::now(), std::process::id());
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let mut sent = send(socket.as_raw_fd(), &datagram, flags);
        if matches!(
            sent,
            Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EDESTADDRREQ)
        ) {
            self.connect_again(socket)?;
            sent = send(socket.as_raw_fd(), &datagram, flags);
        }
        sent?;
        Ok(())
    }

    /// The daemon was started anew. In UDP the error was about an earlier datagram, and is over by being told.
    fn connect_again(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if let Protocol::Local(path) | Protocol::Journal(path) = &self.protocol {
            connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        }
        Ok(())
    }

    fn datagram(&self, message: &Message<'_>, now: Timestamp, pid: u32) -> Vec<u8> {
        let priority = (self.facility as u8) << 3 | severity(message.level);
        let identifier = &self.identifier;
        match &self.protocol {
            Protocol::Local(_) => {
                let time = traditional(now);
                let head = format!("<{priority}>{time} {identifier}[{pid}]: ");
                syslog(head, message.text)
            }
            Protocol::Network { host } => {
                let mut head = format!("<{priority}>1 ");
                write_rfc3339(now, super::zone(), &mut head);
                head.push_str(&format!(" {host} {identifier} {pid} - - "));
                syslog(head, message.text)
            }
            Protocol::Journal(_) => self.journal(message),
        }
    }

    /// One entry of the journal: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
    fn journal(&self, message: &Message<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.text.len() + 256);
        field(
            "PRIORITY",
            severity(message.level).to_string().as_bytes(),
            &mut out,
        );
        field("SYSLOG_IDENTIFIER", self.identifier.as_bytes(), &mut out);
        let facility = (self.facility as u8).to_string();
        field("SYSLOG_FACILITY", facility.as_bytes(), &mut out);
        for (name, value) in message.fields {
            field(name, value.as_bytes(), &mut out);
        }
        field("MESSAGE", cut(message.text, JOURNAL_BYTES_MAX), &mut out);
        out
    }
}

/// A connected socket for a target that is a daemon.
pub(super) fn open(target: &LogTarget) -> io::Result<Option<OwnedFd>> {
    let local = |path: &PathBuf| -> io::Result<OwnedFd> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(socket.into())
    };
    Ok(Some(match target {
        LogTarget::Syslog(SyslogAddress::Local(path)) | LogTarget::Journald(path) => local(path)?,
        LogTarget::Syslog(SyslogAddress::Udp { host, port }) => udp(host, *port)?.into(),
        LogTarget::Off | LogTarget::Stdout | LogTarget::Stderr | LogTarget::File(_) => {
            return Ok(None);
        }
    }))
}

/// A socket for a target that is a daemon, and is not there now. One of this machine is looked for when something is sent; what
/// is meant for another machine is lost.
pub(super) fn unconnected(target: &LogTarget) -> io::Result<Option<OwnedFd>> {
    Ok(Some(match target {
        LogTarget::Syslog(SyslogAddress::Local(_)) | LogTarget::Journald(_) => {
            UnixDatagram::unbound()?.into()
        }
        LogTarget::Syslog(SyslogAddress::Udp { .. }) => UdpSocket::bind("127.0.0.1:0")?.into(),
        LogTarget::Off | LogTarget::Stdout | LogTarget::Stderr | LogTarget::File(_) => {
            return Ok(None);
        }
    }))
}

fn udp(host: &str, port: u16) -> io::Result<UdpSocket> {
    let addresses = sys::resolve_host(host, port, RESOLVE_TIME_MAX)?;
    let none = || io::Error::other(format!("`{host}` has no address"));
    let address = *addresses.first().ok_or_else(none)?;
    let any = match address {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

/// RFC 5424 section 6.2.1.
pub(super) fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Debug => 7,
        LogLevel::Info => 6,
        LogLevel::Warning => 4,
        LogLevel::Error => 3,
        LogLevel::Critical => 2,
    }
}

/// `Nov 21 02:42:56` in local time, RFC 3164 section 4.1.2.
fn traditional(now: Timestamp) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let time = super::zone().to_offset(now).to_datetime(now);
    format!(
        "{} {:2} {:02}:{:02}:{:02}",
        MONTHS[usize::from(time.month().unsigned_abs()) - 1],
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn syslog(head: String, text: &[u8]) -> Vec<u8> {
    let mut datagram = head.into_bytes();
    let room = SYSLOG_BYTES_MAX.saturating_sub(datagram.len());
    datagram.extend_from_slice(cut(text, room));
    datagram
}

/// A field whose value has no line end stands on a line; another is told with its length.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// As much as fits, between two characters.
fn cut(text: &[u8], bytes_max: usize) -> &[u8] {
    if text.len() <= bytes_max {
        return text;
    }
    let is_begin = |at: &usize| text[*at] & 0xC0 != 0x80;
    let end = (0..=bytes_max).rev().find(is_begin).unwrap_or(0);
    &text[..end]
}

/// What RFC 5424 lets a host be; `-` says nothing.
fn hostname() -> String {
    let name = nix::sys::utsname::uname().ok();
    let name = name.and_then(|name| name.nodename().to_str().map(str::to_owned));
    name.filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(protocol: Protocol) -> Daemon {
        Daemon {
            protocol,
            identifier: "mysite".to_owned(),
            facility: Facility::Local0,
        }
    }

    fn datagram(protocol: Protocol, text: &[u8]) -> String {
        let message = Message {
            level: LogLevel::Error,
            text,
            fields: &[("RGUNICORN_WORKER", "2".to_owned())],
        };
        let now = "2026-11-02T02:42:56.007Z".parse().unwrap();
        let bytes = daemon(protocol).datagram(&message, now, 812);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn each_daemon_is_spoken_to_in_its_language() {
        let local = datagram(Protocol::Local("/dev/log".into()), b"ready");
        assert!(local.starts_with("<131>Nov  "), "{local}");
        assert!(local.ends_with(" mysite[812]: ready"), "{local}");
        let host = "box".to_owned();
        let network = datagram(Protocol::Network { host }, b"ready");
        assert!(network.starts_with("<131>1 2026-11-0"), "{network}");
        assert!(network.ends_with(" box mysite 812 - - ready"), "{network}");
        let journal = datagram(Protocol::Journal("/socket".into()), b"a=b");
        assert_eq!(
            journal,
            "PRIORITY=3\nSYSLOG_IDENTIFIER=mysite\nSYSLOG_FACILITY=16\nRGUNICORN_WORKER=2\nMESSAGE=a=b\n"
        );
    }

    #[test]
    fn several_lines_are_told_to_the_journal_with_their_length() {
        let journal = datagram(Protocol::Journal("/socket".into()), b"a\nPRIORITY=0");
        assert!(
            journal.ends_with("MESSAGE\n\u{c}\0\0\0\0\0\0\0a\nPRIORITY=0\n"),
            "{journal:?}"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(cut("aéé".as_bytes(), 4), "aé".as_bytes());
        assert_eq!(cut(b"abc", 3), b"abc");
        let long = datagram(Protocol::Local("/dev/log".into()), &[b'x'; 100_000]);
        assert_eq!(long.len(), SYSLOG_BYTES_MAX);
    }

    #[test]
    fn a_name_is_resolved_and_one_that_has_no_address_is_told() {
        assert!(udp("localhost", 514).is_ok());
        assert!(udp("::1", 514).is_ok() || udp("127.0.0.1", 514).is_ok());
        assert!(udp("no-such-host.invalid", 514).is_err());
    }

    #[test]
    fn a_daemon_that_was_started_anew_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let target = LogTarget::Syslog(SyslogAddress::Local(path.clone()));
        assert!(open(&target).is_err(), "nobody listens");
        let first = UnixDatagram::bind(&path).unwrap();
        let socket = open(&target).unwrap().unwrap();
        let daemon = Daemon::of(&target, "mysite", Facility::User).unwrap();
        let send = || {
            let message = Message {
                level: LogLevel::Info,
                text: b"hello",
                fields: &[],
            };
            daemon.send(std::os::fd::AsFd::as_fd(&socket), &message)
        };
        send().unwrap();
        drop(first);
        send().unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        send().unwrap();
        let mut buffer = [0; 100];
        let length = second.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b": hello"));
        second.set_nonblocking(true).unwrap();
        assert!(second.recv(&mut buffer).is_err(), "sent once");
    }
}
