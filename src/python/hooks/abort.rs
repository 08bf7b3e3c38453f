//! `worker_abort`: what is done between SIGABRT and the death of it.
//!
//! faulthandler comes first, as always: it writes the stacks whatever the process is stuck in, and hands the signal on to
//! the bell. The hook runs on a thread of its own, which gets the interpreter where what is stuck does not hold it: in a
//! sleep, a query, a lock, a loop in Python. Gunicorn's runs on the main thread, and only there.

use std::{sync::mpsc, time::Duration};

use pyo3::prelude::*;

use super::Function;
use crate::{
    python::stacks,
    sys::{self, AbortBell},
};

/// What the hook may take; less than the arbiter gives an aborted worker before it kills it.
const LIMIT: Duration = Duration::from_millis(1500);

pub(super) fn watch(
    py: Python<'_>,
    function: &Function,
    worker: &Py<PyAny>,
    who: &str,
) -> PyResult<()> {
    let bell = stacks::hand_abort_on(py, AbortBell::install)?;
    let (hook, worker, who) = (
        Function {
            hook: function.hook,
            callable: function.callable.clone_ref(py),
            takes: function.takes,
        },
        worker.clone_ref(py),
        who.to_owned(),
    );
    let wait = move || {
        bell.wait();
        let (done, is_done) = mpsc::channel::<()>();
        let name = who.clone();
        let called = std::thread::Builder::new().spawn(move || {
            Python::attach(|py| {
                if let Err(error) = hook.callable.call1(py, (&worker,)) {
                    hook.report(py, &name, &error);
                }
            });
            drop(done);
        });
        let is_late = is_done.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        match called {
            Ok(_) if is_late => {
                crate::warning!("{who} hooks.worker_abort was not done after {LIMIT:?}");
            }
            Ok(_) => {}
            Err(error) => crate::warning!("{who} hooks.worker_abort cannot be called: {error}"),
        }
        bell.die()
    };
    let thread = std::thread::Builder::new().name("rg-abort".to_owned());
    sys::without_signals(|| thread.spawn(wait))?;
    Ok(())
}
