//! A configuration with small and plain values, for tests that set what they are about.

use std::path::Path;

use rgunicorn::config::{Config, Elsewhere, Sources, load};

const REST: &str = "
workers = 1
worker_class = 'sync'
proxy.forwarded_allow_ips = '*'
reload.watch = false
log.access = 'off'
log.error = 'error.log'
admin.socket = 'off'

[timeouts]
boot = 1
worker = 1
request = 1
graceful = 1
keepalive = 1
header = 1
body = 1
write = 1
";

/// `module:attribute` or `module:attribute(arguments)`, served from `folder`.
pub(crate) fn config(app: &str, folder: &Path) -> Config {
    let text = format!("app = {app:?}\nproc_name = {app:?}{REST}");
    let sources = Sources {
        file: Some((folder.join("rgunicorn.toml"), text)),
        ..Sources::default()
    };
    let machine = Elsewhere {
        processors: 1,
        directory: folder.to_owned(),
    };
    let loaded = load(&sources, &machine);
    loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
}
