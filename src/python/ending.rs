//! The end of a worker or a generation, which Python puts off for as long as the app's threads and processes run: the log tells so.

use pyo3::prelude::*;

use super::{bundled, say};

/// From now on this process waits for nothing but what the app has left behind: tells what that is, if it lasts. `who` is the beginning of
/// the line.
pub(super) fn watch(py: Python<'_>, who: &str) {
    if let Err(error) = try_to_watch(py, who) {
        py.detach(|| crate::warning!("{who} cannot tell what its end waits for: {error}"));
    }
}

fn try_to_watch(py: Python<'_>, who: &str) -> PyResult<()> {
    let glue = bundled::module(py, "ending", include_str!("ending.py"))?;
    glue.call_method1("watch", (say::function(py, who)?,))
        .map(drop)
}
