//! The address of a statsd server, from its text.

use std::{fmt, path::Path};

use super::{
    StatsdHost,
    address::{unix_path, without_brackets},
};

/// statsd's own.
const PORT: u16 = 8125;

impl StatsdHost {
    /// A relative UNIX path starts at `directory`. The error fits after "the address".
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(unix_path(path, directory)));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port.map(|port| (port, port.parse::<u16>())) {
            None => PORT,
            Some((_, Ok(port))) if port > 0 => port,
            Some((text, _)) => {
                return Err(format!("has a port that is not from 1 to 65535: `{text}`"));
            }
        };
        match without_brackets(host) {
            "" => Err("has no host".to_owned()),
            host => Ok(Self::Udp {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for StatsdHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Udp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_understood_and_shown_again() {
        let shown = |text| {
            let host = StatsdHost::parse(text, Path::new("/srv")).unwrap();
            host.to_string()
        };
        assert_eq!(shown("localhost"), "localhost:8125");
        assert_eq!(shown("10.0.0.1:9125"), "10.0.0.1:9125");
        assert_eq!(shown("[::1]:9125"), "[::1]:9125");
        assert_eq!(shown("[::1]"), "[::1]:8125");
        assert_eq!(shown("unix:dsd.sock"), "unix:/srv/dsd.sock");
        assert_eq!(shown("unix:///run/dsd.sock"), "unix:/run/dsd.sock");
    }

    #[test]
    fn what_nobody_can_be_sent_to_is_refused() {
        let reason = |text| StatsdHost::parse(text, Path::new("/")).unwrap_err();
        assert_eq!(
            reason("localhost:0"),
            "has a port that is not from 1 to 65535: `0`"
        );
        assert_eq!(reason(":8125"), "has no host");
    }
}
