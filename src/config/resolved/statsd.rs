//! `[statsd]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Metrics for a statsd server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statsd {
    /// `None`: nothing is sent.
    pub host: Option<StatsdHost>,
    /// Without the dot behind it.
    pub prefix: String,
    pub tags: Vec<String>,
}

/// Where the statsd server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatsdHost {
    Udp {
        /// A name or an address without brackets.
        host: String,
        port: u16,
    },
    /// Absolute.
    Unix(PathBuf),
}
