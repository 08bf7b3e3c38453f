//! The first step of a request's coroutine. Most apps are done in one step, and CPython 3.12 has eager tasks for that.
//!
//! CPython 3.11 has not, and a task costs about a microsecond there. So the first step is made without one, in the context
//! that the task would have. Whoever asks for the current task meanwhile gets it: asyncio's table of running tasks asks
//! here (`RunningTasks` in `loop.py`), and then it is made. If the app waits, a task waits for it, made now at the latest.
//! Tasks of 3.10 take no context, so there each request has its task from the beginning.

use std::ffi::CStr;

use pyo3::{
    intern,
    prelude::*,
    types::{PyDict, PyModule},
};

use super::run::Run;
use crate::{
    python::ffi::{self, Behaviour, Builtin, GilCell},
    sys,
};

#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct FirstSteps {
    asyncio_loop: Py<PyAny>,
    task_type: Py<PyAny>,
    copy_context: Py<PyAny>,
    /// The built-in function that makes a step of an iterator.
    next: Py<PyAny>,
    /// The thread of the loop.
    thread: u64,
    current: GilCell<Option<Current>>,
}

/// The request whose first step is being made.
struct Current {
    run: Py<Run>,
    context: Py<PyAny>,
    /// `None` until somebody asks for it.
    task: Option<Py<PyAny>>,
}

impl FirstSteps {
    /// For the loop of this thread. `None`: this Python does not need it, or cannot do it.
    pub(super) fn new(
        glue: &Bound<'_, PyModule>,
        asyncio_loop: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Py<Self>>> {
        let py = glue.py();
        let version = py.version_info();
        if (version.major, version.minor) != (3, 11) {
            return Ok(None);
        }
        let steps = Self {
            asyncio_loop: asyncio_loop.clone().unbind(),
            task_type: py.import("asyncio")?.getattr("Task")?.unbind(),
            copy_context: py.import("contextvars")?.getattr("copy_context")?.unbind(),
            next: py.import("builtins")?.getattr("next")?.unbind(),
            thread: sys::thread_ident(),
            current: GilCell::new(None),
        };
        let steps = Bound::new(py, steps)?;
        let current_task = ffi::builtin::<CurrentTask>(&steps)?;
        glue.call_method1("watch_running_tasks", (asyncio_loop, current_task))?;
        Ok(Some(steps.unbind()))
    }

    /// Makes the first step, in this context, or in a copy of the current one. Returns the task in which the app waits, if it does.
    pub(super) fn take<'py>(
        &self,
        run: &Bound<'py, Run>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = run.py();
        let context = match context {
            Some(context) => context.clone(),
            None => self.copy_context.bind(py).call0()?,
        };
        let outer = self.current.borrow(py).replace(Current {
            run: run.clone().unbind(),
            context: context.clone().unbind(),
            task: None,
        });
        let none = py.None().into_bound(py);
        let arguments = [self.next.bind(py), run.as_any(), &none];
        let result = ffi::call_method(&context, intern!(py, "run"), arguments);
        let current = std::mem::replace(&mut *self.current.borrow(py), outer);
        let task = current.and_then(|current| current.task);
        match (result, task) {
            (Ok(yielded), task) if !run.get().is_over(py) => {
                run.get().hand_over(yielded);
                match task {
                    Some(task) => Ok(Some(task)),
                    None => self.new_task(run, &context).map(Some),
                }
            }
            // The app ended cancelled, and so does its task.
            (Err(_), Some(task)) => {
                task.call_method0(py, intern!(py, "cancel"))?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A task that goes on with the coroutine in the loop's next turn.
    fn new_task(&self, run: &Bound<'_, Run>, context: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = run.py();
        let options = PyDict::new(py);
        options.set_item(intern!(py, "loop"), &self.asyncio_loop)?;
        options.set_item(intern!(py, "context"), context)?;
        self.task_type.call(py, (run,), Some(&options))
    }

    /// The task of the request whose first step is being made.
    fn current_task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if sys::thread_ident() != self.thread {
            return Ok(None);
        }
        let (run, context) = match &*self.current.borrow(py) {
            None => return Ok(None),
            Some(Current {
                task: Some(task), ..
            }) => return Ok(Some(task.clone_ref(py))),
            Some(current) => (current.run.clone_ref(py), current.context.clone_ref(py)),
        };
        let task = self.new_task(run.bind(py), context.bind(py))?;
        if let Some(current) = &mut *self.current.borrow(py) {
            current.task = Some(task.clone_ref(py));
        }
        Ok(Some(task))
    }
}

struct CurrentTask;

impl Builtin for CurrentTask {
    type This = FirstSteps;
    const NAME: &'static CStr = c"current_task";
    const DOC: &'static CStr =
        c"current_task()\n\nThe task of the request that takes its first step, or None.";
    const BEHAVIOUR: Behaviour<FirstSteps> = |steps, _| {
        let py = steps.py();
        Ok(steps.get().current_task(py)?.unwrap_or_else(|| py.None()))
    };
}
