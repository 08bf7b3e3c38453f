//! A cell behind the interpreter's lock instead of one of its own.

use std::cell::{RefCell, RefMut};

use pyo3::prelude::*;

/// Only the holder of the interpreter touches what is in it. Engines refuse interpreters without a global lock, so at any
/// time there is one holder.
pub(in crate::python) struct GilCell<T>(RefCell<T>);

// SAFETY: `borrow` asks for the interpreter, which one thread holds at a time, and a `RefMut` cannot outlive the `Python`
// it was borrowed with. The references inside are moved between threads only together with the interpreter.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub(in crate::python) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// The value, unless it is borrowed.
    pub(in crate::python) fn try_borrow<'a>(&'a self, _py: Python<'a>) -> Option<RefMut<'a, T>> {
        self.0.try_borrow_mut().ok()
    }

    /// The value. Not to be kept while Python code runs: it may come back here.
    pub(in crate::python) fn borrow<'a>(&'a self, _py: Python<'a>) -> RefMut<'a, T> {
        self.0.borrow_mut()
    }
}
