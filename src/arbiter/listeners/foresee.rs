//! Whether addresses could be opened, seen without opening them: for `rgunicorn plan`, which another process runs.

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::{fs::FileTypeExt, net::UnixStream},
    },
    path::Path,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind as bind_to, socket};

use super::{ListenError, tcp};
use crate::config::{Bind, Config};

/// What is in the way of the addresses that `wanted` has and `running` has not. Where only the server itself can tell
/// (privileges, inherited sockets, addresses that overlap with its own), nothing.
pub fn obstacles(running: &Config, wanted: &Config) -> Vec<ListenError> {
    let new = wanted
        .bind
        .iter()
        .filter(|bind| !running.bind.contains(bind));
    new.filter_map(|bind| obstacle(bind, running, wanted).err())
        .collect()
}

fn obstacle(bind: &Bind, running: &Config, wanted: &Config) -> Result<(), ListenError> {
    match bind {
        Bind::Tcp(asked) => {
            let is_ours =
                |other: &Bind| matches!(other, Bind::Tcp(ours) if ours.port == asked.port);
            if asked.port == 0 || running.bind.iter().any(is_ours) {
                return Ok(());
            }
            let addresses = tcp::resolve(bind, asked)?;
            let several = addresses.len() > 1;
            addresses.into_iter().try_for_each(|address| {
                let v6_only = tcp::leaves_v4_to_another(wanted, address);
                match tcp::bound(address, v6_only).map(drop) {
                    Err(error) if several && tcp::is_unavailable(&error) => Ok(()),
                    other => unless_denied(bind, other),
                }
            })
        }
        Bind::Unix(path) => match path.to_string_lossy().strip_prefix('@') {
            Some(name) => unless_denied(bind, try_abstract(name)),
            None => try_named(bind, path),
        },
        Bind::Fd(_) | Bind::Systemd(_) => Ok(()),
    }
}

/// The server may have a privilege that whoever asks has not.
fn unless_denied(bind: &Bind, tried: io::Result<()>) -> Result<(), ListenError> {
    match tried {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        tried => tried.map_err(|error| ListenError::of(bind, error)),
    }
}

fn try_abstract(name: &str) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let tried = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    Ok(bind_to(tried.as_raw_fd(), &address)?)
}

fn try_named(bind: &Bind, path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(ListenError::NotASocket { bind: bind.clone() })
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(ListenError::InUse { bind: bind.clone() })
        }
        Err(_) if path.parent().is_some_and(|folder| !folder.exists()) => {
            Err(ListenError::of(bind, io::ErrorKind::NotFound.into()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpListener},
        os::unix::net::UnixListener,
    };

    use super::*;
    use crate::config::TcpBind;

    fn told(running: &[&Bind], wanted: &[&Bind]) -> Vec<String> {
        let config = |bind: &[&Bind]| Config {
            bind: bind.iter().copied().cloned().collect(),
            ..crate::arbiter::tests::config()
        };
        obstacles(&config(running), &config(wanted))
            .iter()
            .map(ListenError::to_string)
            .collect()
    }

    fn tcp(address: SocketAddr) -> Bind {
        Bind::Tcp(TcpBind {
            host: address.ip().to_string(),
            port: address.port(),
        })
    }

    #[test]
    fn a_port_that_another_process_has_is_in_use_and_stays_its_own() {
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = theirs.local_addr().unwrap();
        let bind = tcp(address);
        let in_use = vec![format!("`{address}` is already in use")];
        assert_eq!(told(&[], &[&bind]), in_use);
        assert_eq!(told(&[&bind], &[&bind]), [""; 0], "ours");
        let everywhere = tcp(([0, 0, 0, 0], address.port()).into());
        assert_eq!(told(&[&everywhere], &[&bind]), [""; 0], "overlaps ours");
        std::net::TcpStream::connect(address).unwrap();
        drop(theirs);
        assert_eq!(told(&[], &[&bind]), [""; 0]);
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn a_name_of_a_socket_is_free_unless_somebody_listens_or_it_is_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let (file, live) = (folder.path().join("file"), folder.path().join("live"));
        fs::write(&file, "").unwrap();
        let unix = |path: &Path| Bind::Unix(path.to_owned());
        let listener = UnixListener::bind(&live).unwrap();
        let told = |path: &Path| told(&[], &[&unix(path)]).concat();
        assert!(told(&file).contains("is not a socket"));
        assert!(told(&live).contains("is already in use"));
        drop(listener);
        assert_eq!(told(&live), "");
        assert_eq!(told(&folder.path().join("new")), "");
        assert!(!folder.path().join("new").exists());
        assert!(told(&folder.path().join("none/new")).contains("failed"));
    }
}
