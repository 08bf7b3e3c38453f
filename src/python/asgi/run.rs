//! The coroutine that a request's task drives: it calls the app, hands every step through, and sees how the app ends. A
//! callback on the task would cost a trip through the loop for each request.

use pyo3::{
    exceptions::PyStopIteration,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyTuple, PyType},
};

use super::{awaitable::thrown, party::Party};
use crate::python::{
    copy,
    ffi::{self, GilCell, Resumed},
};

/// By this attribute a future tells the task that it was yielded by its `await`.
const IS_AWAITED: &str = "_asyncio_future_blocking";

enum Stage {
    /// The app is called in the first step, so that it runs in its context.
    Fresh {
        app: Py<PyAny>,
        arguments: [Py<PyAny>; 3],
    },
    Running {
        /// What the app's coroutine iterates.
        coroutine: Py<PyAny>,
        /// The first step was made without a task: what the task is still to be told that it yielded.
        yielded: Option<Yielded>,
    },
    Over,
}

/// What a step yielded.
struct Yielded {
    object: Py<PyAny>,
    /// It was yielded by a future's `await`.
    is_future: bool,
}

#[pyclass(frozen, weakref, module = "rgunicorn", name = "request")]
pub(super) struct Run {
    party: Party,
    stage: GilCell<Stage>,
}

impl Run {
    pub(super) fn new(party: Party) -> Self {
        Self {
            party,
            stage: GilCell::new(Stage::Over),
        }
    }

    pub(super) fn party(&self) -> &Party {
        &self.party
    }

    /// Has the app called in the next step, with the scope, `receive` and `send`.
    pub(super) fn prepare(&self, py: Python<'_>, app: Py<PyAny>, arguments: [Py<PyAny>; 3]) {
        *self.stage.borrow(py) = Stage::Fresh { app, arguments };
    }

    pub(super) fn is_over(&self, py: Python<'_>) -> bool {
        matches!(&*self.stage.borrow(py), Stage::Over)
    }

    /// The first step was made without a task and yielded this: the task's first step yields it again.
    pub(super) fn hand_over(&self, yielded: Bound<'_, PyAny>) {
        let py = yielded.py();
        let handed_over = Yielded::new(yielded);
        if let Stage::Running { yielded, .. } = &mut *self.stage.borrow(py) {
            *yielded = Some(handed_over);
        }
    }

    /// What was handed over, once.
    fn take_over(&self, py: Python<'_>) -> Option<Yielded> {
        match &mut *self.stage.borrow(py) {
            Stage::Running { yielded, .. } => yielded.take(),
            Stage::Fresh { .. } | Stage::Over => None,
        }
    }

    fn step(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(yielded) = self.take_over(py) {
            return yielded.again(py).map(Some);
        }
        let result = match self.coroutine(py) {
            Ok(Some(coroutine)) => ffi::resume(coroutine.bind(py), value),
            Ok(None) => return Ok(None),
            Err(error) => Err(error),
        };
        self.after(py, result)
    }

    /// What to resume; calls the app the first time.
    fn coroutine(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let stage = std::mem::replace(&mut *self.stage.borrow(py), Stage::Over);
        let coroutine = match stage {
            Stage::Over => return Ok(None),
            Stage::Running { coroutine, .. } => coroutine,
            Stage::Fresh { app, arguments } => {
                let arguments = arguments.each_ref().map(|argument| argument.bind(py));
                let awaitable = ffi::call(app.bind(py), arguments)?;
                match is_coroutine(py, &awaitable)? {
                    true => awaitable.unbind(),
                    false => awaitable.call_method0(intern!(py, "__await__"))?.unbind(),
                }
            }
        };
        *self.stage.borrow(py) = Stage::Running {
            coroutine: coroutine.clone_ref(py),
            yielded: None,
        };
        Ok(Some(coroutine))
    }

    /// Passes on what the app yielded; takes note of its end. Its own exceptions are answered and logged here; only a
    /// cancellation goes on to the task, which is then a cancelled one.
    fn after(&self, py: Python<'_>, result: PyResult<Resumed<'_>>) -> PyResult<Option<Py<PyAny>>> {
        copy::end_if_copy(py, result.as_ref().err());
        let ended = match result {
            Ok(Resumed::Yielded(object)) => return Ok(Some(object.unbind())),
            Ok(Resumed::Returned) => Ok(()),
            Err(error) => Err(error),
        };
        *self.stage.borrow(py) = Stage::Over;
        self.party.app_ended(py, &ended);
        match ended {
            Err(error) if is_cancellation(py, &error) => Err(error),
            _ => Ok(None),
        }
    }

    /// An attribute of the app's coroutine, for those who look at tasks.
    fn of_coroutine(&self, py: Python<'_>, name: &str) -> Py<PyAny> {
        match &*self.stage.borrow(py) {
            Stage::Running { coroutine, .. } => {
                coroutine.getattr(py, name).unwrap_or_else(|_| py.None())
            }
            Stage::Fresh { .. } | Stage::Over => py.None(),
        }
    }
}

impl Yielded {
    /// As a task does, takes back the flag by which a future says that it is being awaited: else nobody else could.
    fn new(object: Bound<'_, PyAny>) -> Self {
        let name = intern!(object.py(), IS_AWAITED);
        let is_awaited = object.getattr(name).and_then(|flag| flag.is_truthy());
        Self {
            is_future: is_awaited.unwrap_or(false) && object.setattr(name, false).is_ok(),
            object: object.unbind(),
        }
    }

    /// The object as its `await` yields it.
    fn again(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.is_future {
            self.object.setattr(py, intern!(py, IS_AWAITED), true)?;
        }
        Ok(self.object)
    }

    /// Has what is waited for cancelled, as the task does that waits for it. False: it is done, or cannot be cancelled.
    fn cancel(&self, py: Python<'_>, error: &PyErr) -> PyResult<bool> {
        if !self.is_future {
            return Ok(false);
        }
        let message = error.value(py).getattr(intern!(py, "args"))?;
        let cancel = self.object.bind(py).getattr(intern!(py, "cancel"))?;
        cancel.call1(message.cast_into::<PyTuple>()?)?.is_truthy()
    }
}

/// Coroutines of Python code are resumed as they are; other awaitables through the iterator that they give.
fn is_coroutine(py: Python<'_>, awaitable: &Bound<'_, PyAny>) -> PyResult<bool> {
    static COROUTINE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let kind = COROUTINE.import(py, "types", "CoroutineType")?;
    Ok(awaitable.get_type().is(kind))
}

fn throw_into<'py>(coroutine: &Bound<'py, PyAny>, error: &PyErr) -> PyResult<Resumed<'py>> {
    let py = coroutine.py();
    match coroutine.call_method1(intern!(py, "throw"), (error.value(py),)) {
        Ok(yielded) => Ok(Resumed::Yielded(yielded)),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(Resumed::Returned),
        Err(error) => Err(error),
    }
}

fn is_cancellation(py: Python<'_>, error: &PyErr) -> bool {
    py.import(intern!(py, "asyncio"))
        .and_then(|asyncio| asyncio.getattr(intern!(py, "CancelledError")))
        .is_ok_and(|kind| error.matches(py, kind).unwrap_or(false))
}

#[pymethods]
impl Run {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.step(py, py.None().bind(py))
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.step(py, value)?
            .ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let error = thrown(kind, value);
        if let Some(yielded) = self.take_over(py)
            && is_cancellation(py, &error)
            && yielded.cancel(py, &error)?
        {
            return yielded.again(py);
        }
        let running = match &*self.stage.borrow(py) {
            Stage::Running { coroutine, .. } => Some(coroutine.clone_ref(py)),
            Stage::Fresh { .. } => None,
            Stage::Over => return Err(error),
        };
        let result = match running {
            Some(coroutine) => throw_into(coroutine.bind(py), &error),
            None => Err(error),
        };
        self.after(py, result)?
            .ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let stage = std::mem::replace(&mut *self.stage.borrow(py), Stage::Over);
        match stage {
            Stage::Running { coroutine, .. } => {
                coroutine.call_method0(py, intern!(py, "close")).map(drop)
            }
            Stage::Fresh { .. } | Stage::Over => Ok(()),
        }
    }

    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_coroutine(py, "__qualname__")
    }

    #[getter]
    fn cr_frame(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_coroutine(py, "cr_frame")
    }

    #[getter]
    fn cr_code(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_coroutine(py, "cr_code")
    }

    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_coroutine(py, "cr_await")
    }

    #[getter]
    fn cr_running(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_coroutine(py, "cr_running")
    }
}
