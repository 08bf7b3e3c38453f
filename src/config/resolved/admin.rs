//! `[admin]`.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// Where the server can be asked and told, beside signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    pub socket: AdminSocket,
    /// `None`: no TCP.
    pub address: Option<SocketAddr>,
    pub token: Option<Secret>,
    /// Absolute. Holds the token when `token` does not.
    pub token_file: Option<PathBuf>,
    /// Paths that need no token.
    pub open: Vec<String>,
}

/// Where the UNIX socket of the admin interface is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminSocket {
    /// The server finds a place.
    #[default]
    Auto,
    Off,
    /// Absolute; `{pid}` stands for the process id.
    Path(PathBuf),
}
