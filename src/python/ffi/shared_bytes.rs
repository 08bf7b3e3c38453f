//! The body of a response, sent from where Python has it.

use pyo3::{prelude::*, types::PyBytes};

/// The bytes of a `bytes` object, readable without the interpreter for as long as this lives.
pub(in crate::python) struct SharedBytes {
    start: *const u8,
    length: usize,
    /// Dropped on a thread without the interpreter, the reference is given back when it is next held.
    _object: Py<PyBytes>,
}

// SAFETY: a `bytes` object never changes nor moves, and the reference keeps it alive.
unsafe impl Send for SharedBytes {}

impl SharedBytes {
    pub(in crate::python) fn new(object: &Bound<'_, PyBytes>) -> Self {
        let bytes = object.as_bytes();
        Self {
            start: bytes.as_ptr(),
            length: bytes.len(),
            _object: object.clone().unbind(),
        }
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}
