//! Why an address cannot be had, in words for who wrote it.

use std::io;

use crate::config::Bind;

/// Why an address of `bind` cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("`{bind}` is already in use")]
    InUse { bind: Bind },
    #[error("`{bind}` needs a privilege this process does not have")]
    Denied { bind: Bind },
    #[error("`{bind}`: the name `{host}` cannot be resolved: {source}")]
    Unresolved {
        bind: Bind,
        host: String,
        source: io::Error,
    },
    #[error("`{bind}` exists and is not a socket; it is left alone")]
    NotASocket { bind: Bind },
    #[error("`{bind}` is not a listening socket that this process inherited")]
    NotInherited { bind: Bind },
    #[error("`{bind}`: the service manager passed {}", listed(passed))]
    NotPassed { bind: Bind, passed: Vec<String> },
    #[error("opening `{bind}` failed: {source}")]
    Os { bind: Bind, source: io::Error },
}

impl ListenError {
    /// Of what the kernel says.
    pub(super) fn of(bind: &Bind, source: io::Error) -> Self {
        let bind = bind.clone();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { bind },
            io::ErrorKind::PermissionDenied => Self::Denied { bind },
            _ => Self::Os { bind, source },
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no sockets".to_owned(),
        names => format!("only `{}`", names.join("`, `")),
    }
}
