//! Addresses to listen on, from their texts.

use std::{fmt, path::Path};

use super::{
    Bind, TcpBind,
    address::{unix_path, without_brackets},
};

/// `sun_path` of `sockaddr_un` has 108 bytes, one of them for the end of the text or the mark of an abstract name.
const SOCKET_PATH_MAX: usize = 107;

impl Bind {
    /// A relative UNIX path starts at `directory`. The error fits after "the address".
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_unix(path, directory);
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return match number.parse::<i32>() {
                Ok(number) if number > 2 => Ok(Self::Fd(number)),
                Ok(_) => Err("names a standard stream; inherited sockets begin at `fd://3`".into()),
                Err(_) => Err(format!("has no descriptor number: `{number}`")),
            };
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return match name {
                "" => Err("has no name; it is `FileDescriptorName=` of the socket unit".into()),
                name => Ok(Self::Systemd(name.to_owned())),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("has no port".into());
        };
        let Ok(port) = port.parse() else {
            return Err(format!("has a port that is not from 0 to 65535: `{port}`"));
        };
        let host = match without_brackets(host) {
            "" => "0.0.0.0".to_owned(),
            host => host.to_owned(),
        };
        Ok(Self::Tcp(TcpBind { host, port }))
    }

    /// The file of a UNIX socket; an abstract name has none.
    pub fn socket_file(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) if path.is_absolute() => Some(path),
            Self::Unix(_) | Self::Tcp(_) | Self::Fd(_) | Self::Systemd(_) => None,
        }
    }
}

fn parse_unix(path: &str, directory: &Path) -> Result<Bind, String> {
    let path = match path.starts_with('@') {
        true => path.into(),
        false => unix_path(path, directory),
    };
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        return Err(format!(
            "is a path of {length} bytes; the kernel takes at most {SOCKET_PATH_MAX}"
        ));
    }
    Ok(Bind::Unix(path))
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) if tcp.host.contains(':') => write!(f, "[{}]:{}", tcp.host, tcp.port),
            Self::Tcp(tcp) => write!(f, "{}:{}", tcp.host, tcp.port),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Fd(number) => write!(f, "fd://{number}"),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_understood_and_shown_again() {
        let shown = |text| {
            Bind::parse(text, Path::new("/srv/app"))
                .unwrap()
                .to_string()
        };
        assert_eq!(shown("127.0.0.1:8000"), "127.0.0.1:8000");
        assert_eq!(shown("localhost:0"), "localhost:0");
        assert_eq!(shown(":80"), "0.0.0.0:80");
        assert_eq!(shown("[::1]:8000"), "[::1]:8000");
        assert_eq!(shown("unix:app.sock"), "unix:/srv/app/app.sock");
        assert_eq!(shown("unix:///run/app.sock"), "unix:/run/app.sock");
        assert_eq!(shown("unix:@app"), "unix:@app");
        assert_eq!(shown("fd://3"), "fd://3");
        assert_eq!(shown("systemd:web.socket"), "systemd:web.socket");
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused() {
        let reason = |text: &str| Bind::parse(text, Path::new("/")).unwrap_err();
        assert_eq!(
            reason("localhost:70000"),
            "has a port that is not from 0 to 65535: `70000`"
        );
        assert!(reason("fd://1").starts_with("names a standard stream"));
        assert!(
            reason(&format!("unix:/{}", "x".repeat(120))).starts_with("is a path of 121 bytes")
        );
    }
}
