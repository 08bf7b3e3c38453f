//! `reload.health_check`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a new worker has to answer before it takes connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Begins with a slash.
    pub path: String,
    /// The `Host` header.
    pub host: String,
    /// `None`: any of 200 to 399.
    pub status: Option<u16>,
    /// At least 1.
    pub tries: u16,
    /// For each try.
    pub timeout: Duration,
}
