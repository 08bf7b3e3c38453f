//! What the gateways of all workers have in common, made before the fork: each worker would else make its own, and so write to, and
//! copy, dozens of pages that it shares.

use pyo3::prelude::*;

use super::{call::Call, environ::Keys, errors::Errors, file_wrapper::FileWrapper, input::Input};

/// Makes types and names, which live as long as the interpreter.
pub(in crate::python) fn prepare(py: Python<'_>) {
    Keys::shared(py);
    py.get_type::<Call>();
    py.get_type::<Errors>();
    py.get_type::<FileWrapper>();
    py.get_type::<Input>();
}
