//! The part of a configuration that processes which run take up: what its keys ask for with [`super::Apply::Live`].

use serde::{Deserialize, Serialize};

use super::{Config, Limits, Log, Reload, Timeouts};

/// What may change in a generation and its workers while they live. All else of [`Config`] is theirs for life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConfig {
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub log: Log,
    pub reload: Reload,
}

impl LiveConfig {
    pub fn of(config: &Config) -> Self {
        Self {
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
            log: config.log.clone(),
            reload: config.reload.clone(),
        }
    }

    /// Puts it in the place of what the configuration had.
    pub fn put_into(self, config: &mut Config) {
        config.timeouts = self.timeouts;
        config.limits = self.limits;
        config.log = self.log;
        config.reload = self.reload;
    }
}

#[cfg(test)]
impl LiveConfig {
    pub(crate) fn of_defaults() -> Self {
        Self::of(&super::test_config(""))
    }
}
