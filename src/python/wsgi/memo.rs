//! The last `str` made of some bytes, used again when the bytes are the same.

use pyo3::{prelude::*, types::PyString};

use crate::python::ffi;

/// Longer values are not kept.
const KEPT_BYTES_MAX: usize = 512;

#[derive(Default)]
pub(super) struct Memo {
    bytes: Vec<u8>,
    object: Option<Py<PyString>>,
}

impl Memo {
    #[inline]
    pub(super) fn text<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
        if let Some(object) = &self.object
            && self.bytes == bytes
        {
            return object.bind(py).clone();
        }
        let object = ffi::latin1(py, bytes);
        if bytes.len() <= KEPT_BYTES_MAX {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            self.object = Some(object.clone().unbind());
        }
        object
    }
}
