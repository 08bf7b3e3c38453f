//! The Python stacks of this process, for whoever wants to know what it is at: on [`STACKS_SIGNAL`], when it crashes, and
//! when a request has become slow.
//!
//! At the signal faulthandler writes the stacks of all threads on the worker's sheet. It takes no lock and needs no
//! interpreter, so it works in a worker that is stuck. Tasks and greenlets are Python objects, and are added by the loop in
//! its next turn, if there is one.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, OnceLock, mpsc},
    time::{Duration, Instant},
};

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyModule},
};

use super::bundled;
use crate::{
    config::LogLevel,
    sys::{self, STACKS_SIGNAL, ring_after},
    telemetry::block,
    wire::{LastWords, StackSheet},
};

/// Of this worker.
static SHEET: OnceLock<Arc<StackSheet>> = OnceLock::new();

/// From now on SIGABRT, SIGSEGV and their like write the stacks of all threads among the last words before the process dies,
/// for whoever tells of its death. For a generation; a worker has its [sheet](write_on).
///
/// faulthandler writes to the number of the descriptor, and takes no lock.
pub(super) fn dump_on_crash(py: Python<'_>, last_words: &LastWords) -> PyResult<()> {
    sys::keep_stacks_from_copies(last_words.descriptor());
    enable(py, last_words.descriptor().as_raw_fd())
}

/// In a worker: has SIGABRT go to whoever `install` gives it to, after the stacks were written: the handler that was there
/// before faulthandler's gets the signal when that is done.
pub(super) fn hand_abort_on<T>(
    py: Python<'_>,
    install: impl FnOnce() -> std::io::Result<T>,
) -> PyResult<T> {
    py.import("faulthandler")?.call_method0("disable")?;
    let installed = install()?;
    if let Some(sheet) = SHEET.get() {
        enable(py, sheet.descriptor().as_raw_fd())?;
    }
    Ok(installed)
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
    sys::keep_stacks_from_copies(sheet.descriptor());
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

/// How long the interpreter is waited for before a signal has to do.
const INTERPRETER_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the answer to the signal may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One thread of this process, by Python's name for it and the kernel's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    pub(super) ident: u64,
    pub(super) id: i32,
}

/// Logs what a thread is at, below a line, on a thread of its own. `is_current` is asked with the interpreter held: false,
/// and nothing is logged.
///
/// The interpreter is waited for a while, for then the stack is the whole truth and the thread is not disturbed. Native code
/// that does not let go of it gets a signal.
pub(super) fn tell(
    thread: Thread,
    headline: String,
    is_current: impl Fn() -> bool + Send + Sync + 'static,
) {
    let run = move || {
        let is_current = Arc::new(is_current);
        let (sender, receiver) = mpsc::sync_channel(1);
        let asked = Arc::clone(&is_current);
        let ask = move || {
            let stack = Python::attach(|py| asked().then(|| of_thread(py, thread.ident)));
            // Whoever asked may have lost his patience.
            let _ = sender.send(stack);
        };
        let _runs_until_it_gets_the_interpreter = spawn("rg-stack", ask);
        let level = LogLevel::Warning;
        match receiver.recv_timeout(INTERPRETER_TIME_MAX) {
            Ok(None) => {}
            Ok(Some(stack)) => block(level, format_args!("{headline}"), &stack),
            Err(_) if !is_current() => {}
            Err(_) => match by_signal(thread.id) {
                Ok(stack) => block(
                    level,
                    format_args!("{headline}; native code holds the interpreter"),
                    &stack,
                ),
                Err(reason) => {
                    crate::warning!("{headline}; its Python stack cannot be had: {reason}");
                }
            },
        }
    };
    // Too many threads: then this one is not told of.
    let _ = spawn("rg-slow", run);
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    sys::without_signals(|| builder.spawn(run)).map(drop)
}

fn of_thread(py: Python<'_>, ident: u64) -> String {
    text(glue(py).and_then(|glue| glue.call_method1("of_thread", (ident,))))
}

/// The stack of a task that waits.
pub(super) fn of_task(task: &Bound<'_, PyAny>) -> String {
    text(glue(task.py()).and_then(|glue| glue.call_method1("of_task", (task,))))
}

/// The stack of a greenlet that waits.
pub(super) fn of_greenlet(greenlet: &Bound<'_, PyAny>) -> String {
    text(glue(greenlet.py()).and_then(|glue| glue.call_method1("of_greenlet", (greenlet,))))
}

/// A stack, or why there is none: objects of the app's are looked at, which may raise, and nothing fails for that.
fn text(stack: PyResult<Bound<'_, PyAny>>) -> String {
    let text = stack.and_then(|stack| stack.extract());
    text.unwrap_or_else(|error| format!("the stack cannot be had: {error}"))
}

/// The stack of a thread that holds the interpreter, written by itself in faulthandler's form.
fn by_signal(thread: i32) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let sheet = SHEET.get().ok_or("the worker has no sheet")?;
    let lasts_ns = 2 * ANSWER_TIME_MAX.as_nanos() as u64;
    let lease = sheet.lease(sys::monotonic_ns(), lasts_ns);
    let lease = lease.ok_or("somebody else asks for stacks just now")?;
    sheet.clear().map_err(told)?;
    let before = sheet.threads_done();
    sys::signal_thread(thread, STACKS_SIGNAL).map_err(told)?;
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    while sheet.threads_done() == before {
        if Instant::now() > deadline {
            return Err("the thread does not take signals".to_owned());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let text = sheet.text().map_err(told)?;
    let _ = sheet.clear();
    drop(lease);
    Ok(current_thread_in(&text).to_owned())
}

/// The part of a dump about the thread that wrote it.
fn current_thread_in(dump: &str) -> &str {
    let start = dump.find("Current thread").unwrap_or(0);
    let part = &dump[start..];
    part.split_once("\n\n").map_or(part, |(part, _)| part)
}

/// The functions of `stacks.py`.
pub(super) fn glue(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    static GLUE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = GLUE.get_or_try_init(py, || {
        bundled::module(py, "stacks", include_str!("stacks.py")).map(Bound::unbind)
    })?;
    Ok(module.bind(py).clone())
}
