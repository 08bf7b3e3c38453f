//! The Python stacks of this process, for whoever wants to know what it is at: on [`STACKS_SIGNAL`], when it crashes, and
//! when a request has become slow.
//!
//! At the signal faulthandler writes the stacks of all threads on the worker's sheet. It takes no lock and needs no
//! interpreter, so it works in a worker that is stuck. Tasks and greenlets are Python objects, and are added by the loop in
//! its next turn, if there is one.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, OnceLock},
};

use pyo3::{
    ffi::c_str,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyModule},
};

use crate::{
    sys::{STACKS_SIGNAL, ring_after},
    wire::StackSheet,
};

/// Of this worker.
static SHEET: OnceLock<Arc<StackSheet>> = OnceLock::new();

/// From now on SIGABRT, SIGSEGV and their like write the stacks of all threads to the error log before the process dies.
/// For a generation; a worker has its [sheet](write_on).
///
/// faulthandler writes to the number of the descriptor, which stays the same when the log is reopened, and takes no lock.
pub(super) fn dump_on_crash(py: Python<'_>) -> PyResult<()> {
    match crate::telemetry::descriptor() {
        Some(descriptor) => enable(py, descriptor),
        None => Ok(()),
    }
}

fn enable(py: Python<'_>, descriptor: i32) -> PyResult<()> {
    let options = PyDict::new(py);
    options.set_item("file", descriptor)?;
    options.set_item("all_threads", true)?;
    py.import("faulthandler")?
        .call_method("enable", (), Some(&options))?;
    Ok(())
}

/// In a worker, before any code of the app runs in it: from now on its stacks are written on this sheet, when it crashes and
/// whenever [`STACKS_SIGNAL`] arrives.
pub(super) fn write_on(py: Python<'_>, sheet: StackSheet) -> PyResult<()> {
    let sheet = SHEET.get_or_init(|| Arc::new(sheet));
    let descriptor = sheet.descriptor().as_raw_fd();
    enable(py, descriptor)?;
    let options = PyDict::new(py);
    options.set_item("file", descriptor)?;
    options.set_item("all_threads", true)?;
    py.import("faulthandler")?
        .call_method("register", (STACKS_SIGNAL,), Some(&options))?;
    ring_after(STACKS_SIGNAL, || {
        if let Some(sheet) = SHEET.get() {
            sheet.count_threads();
        }
    })?;
    sheet.set_ready();
    Ok(())
}

/// Tasks or greenlets will be added.
pub(super) fn announce_loop() {
    if let Some(sheet) = SHEET.get() {
        sheet.set_has_loop();
    }
}

/// In every turn of a loop: writes its tasks on the sheet if somebody waits for them.
pub(super) fn add_tasks(py: Python<'_>, event_loop: &Bound<'_, PyAny>) {
    add(|| glue(py)?.call_method1("all_tasks", (event_loop,)));
}

/// The same for greenlets.
pub(super) fn add_greenlets(py: Python<'_>) {
    add(|| glue(py)?.call_method0("all_greenlets"));
}

fn add<'py>(take: impl FnOnce() -> PyResult<Bound<'py, PyAny>>) {
    let Some((sheet, number)) = SHEET
        .get()
        .and_then(|sheet| Some((sheet, sheet.tasks_due()?)))
    else {
        return;
    };
    let text = take().and_then(|text| text.extract::<String>());
    let text = text.unwrap_or_else(|error| format!("\nthe loop cannot be looked at: {error}\n"));
    // Who waits sees that it is not there.
    let _ = sheet.append(&text);
    sheet.set_tasks_done(number);
}

/// The functions of `stacks.py`.
pub(super) fn glue(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    static GLUE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = GLUE.get_or_try_init(py, || {
        let source = std::ffi::CString::new(include_str!("stacks.py")).expect("has no NUL");
        PyModule::from_code(
            py,
            &source,
            c_str!("rgunicorn/stacks.py"),
            c_str!("_rgunicorn_stacks"),
        )
        .map(Bound::unbind)
    })?;
    Ok(module.bind(py).clone())
}
