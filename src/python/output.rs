//! What Python has in the buffers of its standard streams.

use pyo3::prelude::*;

/// Writes it out: a process that ends without Python's own end would lose it, and one that is forked would write it once more.
pub(super) fn flush(py: Python<'_>) {
    let Ok(sys) = py.import("sys") else { return };
    for name in ["stdout", "stderr"] {
        let stream = sys.getattr(name);
        // One that the app closed, or replaced by something else, has nothing to tell.
        drop(stream.and_then(|stream| stream.call_method0("flush")));
    }
}
