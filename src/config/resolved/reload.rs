//! `[reload]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::HealthCheck;

/// What is a reason to reload, and how it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Watch the config file.
    pub watch: bool,
    /// Globs relative to `chdir`; empty means that code is not watched.
    pub code: Vec<String>,
    /// Globs relative to `chdir` that are not code after all.
    pub ignore: Vec<String>,
    /// Absolute.
    pub touch: Option<PathBuf>,
    pub debounce: Duration,
    /// How many workers beyond `workers` a roll may start at once; at least 1. Resolved from a number or per cent.
    pub surge: u16,
    pub health_check: Option<HealthCheck>,
    /// Zero: off.
    pub probation: Duration,
}
