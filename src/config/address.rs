//! Parts of addresses that several keys take.

use std::path::{Path, PathBuf};

/// The host itself: an IPv6 address stands in brackets where a port may follow.
pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// What stands behind `unix:`; a relative path starts at `directory`.
pub(super) fn unix_path(written: &str, directory: &Path) -> PathBuf {
    match written.strip_prefix("//") {
        // Gunicorn's `unix:///run/x`; for the kernel leading slashes are one.
        Some(path) => Path::new("/").join(path.trim_start_matches('/')),
        None => directory.join(written),
    }
}
