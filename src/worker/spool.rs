//! Files for bodies that are too large to be kept in memory.

use std::{
    fs::File,
    io::{self, ErrorKind},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::sys::memory_file;

static WARNED: AtomicBool = AtomicBool::new(false);

/// A new file without a name, in `$TMPDIR` or `/tmp`. In a container there may be no place to write to: then it is in
/// memory after all, which `limits.body` and `limits.connections` bound.
pub(super) fn file() -> io::Result<File> {
    match tempfile::tempfile() {
        Err(error) if is_for_good(&error) => {
            if !WARNED.swap(true, Relaxed) {
                crate::warning!(
                    "no temporary file can be made in {}: {error}; large bodies are kept in memory (mount a writable directory, or set TMPDIR)",
                    std::env::temp_dir().display()
                );
            }
            Ok(memory_file("rgunicorn-body", b"")?.into())
        }
        other => other,
    }
}

/// Whether it would be the same with the next one.
fn is_for_good(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
    )
}
