//! What the tests of the shell share.

use crate::config::{Config, test_config};

/// A configuration that a test changes to its needs.
pub(super) fn config() -> Config {
    test_config(
        "
bind = '127.0.0.1:0'
workers = 2
chdir = '/'
log.access = 'off'
reload.debounce = '50ms'
admin.socket = 'off'
",
    )
}
