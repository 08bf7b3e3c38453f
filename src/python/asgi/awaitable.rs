//! What the app awaits: `receive()` until there is a message, `send()` until the client has read enough. Each behaves as
//! a coroutine does, so that it can be made a task of its own.

use pyo3::{
    exceptions::{PyStopIteration, PyTypeError},
    intern,
    prelude::*,
    types::PyType,
};

use super::party::Party;
use crate::python::ffi::GilCell;

/// What `send` returns when there is nothing to wait for: one for all. It holds nothing, so it may be awaited any number
/// of times.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Done;

#[pymethods]
impl Done {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> Option<()> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(kind, value))
    }

    fn close(&self) {}
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Message,
    /// The client has read what was sent.
    Room,
}

/// Asks the party each time it is resumed; waits on a future of the loop in between.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Wait {
    party: Party,
    awaited: Awaited,
    /// The iterator of the future that is waited on.
    future: GilCell<Option<Py<PyAny>>>,
}

impl Wait {
    /// What the app is given to await.
    pub(super) fn for_app(py: Python<'_>, party: Party, awaited: Awaited) -> PyResult<Py<PyAny>> {
        let wait = Self {
            party,
            awaited,
            future: GilCell::new(None),
        };
        Ok(Bound::new(py, wait)?.into_any().unbind())
    }

    /// What to wait on; `StopIteration` with the result when there is one.
    fn step(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        // The future is done; its result says nothing, and an error is its cancellation.
        let waited_on = self.future.borrow(py).take();
        if let Some(iterator) = waited_on {
            let still_waiting = iterator.bind(py).call_method0(intern!(py, "__next__"));
            match still_waiting {
                Ok(future) => {
                    *self.future.borrow(py) = Some(iterator);
                    return Ok(future.unbind());
                }
                Err(error) if error.is_instance_of::<PyStopIteration>(py) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(result) = self.party.poll(py, self.awaited)? {
            return Err(PyStopIteration::new_err((result,)));
        }
        let future = self.party.new_waiter(py, self.awaited)?;
        let iterator = future.call_method0(intern!(py, "__await__"))?;
        let yielded = iterator.call_method0(intern!(py, "__next__"))?;
        *self.future.borrow(py) = Some(iterator.unbind());
        Ok(yielded.unbind())
    }
}

#[pymethods]
impl Wait {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.step(py)
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.step(py)
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        *self.future.borrow(py) = None;
        Err(thrown(kind, value))
    }

    fn close(&self, py: Python<'_>) {
        *self.future.borrow(py) = None;
    }
}

/// The exception of a `throw`: an instance, or a class and its argument.
pub(super) fn thrown(kind: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
    if let Ok(class) = kind.cast::<PyType>() {
        return match value {
            Some(value) if value.is_instance(class).unwrap_or(false) => {
                PyErr::from_value(value.clone())
            }
            Some(value) if !value.is_none() => {
                PyErr::from_type(class.clone(), (value.clone().unbind(),))
            }
            _ => PyErr::from_type(class.clone(), ()),
        };
    }
    match kind.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        true => PyErr::from_value(kind.clone()),
        false => PyTypeError::new_err("throw() takes an exception"),
    }
}
