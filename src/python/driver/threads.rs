//! Threads that run the app: each seat of the crew asks what to do next, does it with the interpreter, and waits without.
//!
//! `sync` is a crew of one seat on the main thread, `gthread` one of `threads` seats.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

use pyo3::{
    prelude::*,
    types::{PyCFunction, PyDict},
};

use crate::{
    config::{Config, LogLevel},
    python::{
        RequestTimeout,
        driver::app_exit,
        exception,
        ffi::{self, GilCell},
        hooks::RequestHooks,
        stacks::{self, Thread},
        wsgi::{Desk, Gateway},
    },
    sys,
    wire::ListenerAddress,
    worker::{Crew, Interpreter, Next},
};

/// Seconds that a thread which is out of the app gets to end.
const JOIN_SECONDS: f64 = 1.0;

/// Reaches into the threads of the seats.
pub(in crate::python) struct Threads {
    /// By which CPython knows the thread of each seat; 0 before it runs.
    idents: Box<[AtomicU64]>,
    crew: OnceLock<std::sync::Weak<Crew>>,
}

impl Threads {
    pub(in crate::python) fn new(seats: usize) -> Arc<Self> {
        let idents = (0..seats).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            idents,
            crew: OnceLock::new(),
        })
    }
}

/// The crew's view of [`Threads`].
pub(in crate::python) struct Interrupter(pub(in crate::python) Arc<Threads>);

impl Interpreter for Interrupter {
    fn interrupt(&self, seat: usize, call: u64) {
        let threads = Arc::clone(&self.0);
        // The interpreter may be held for long by the very call to interrupt; the monitor must not wait for it.
        let spawned = std::thread::Builder::new()
            .name("rg-interrupt".to_owned())
            .spawn(move || {
                Python::attach(|py| {
                    let Some(crew) = threads.crew.get().and_then(std::sync::Weak::upgrade) else {
                        return;
                    };
                    // The seat's thread ends its call with the interpreter held, so the call cannot end in between.
                    if crew.seats[seat].is_in_call(call) {
                        let exception = py.get_type::<RequestTimeout>().into_any();
                        ffi::raise_in_thread(
                            py,
                            threads.idents[seat].load(SeqCst),
                            Some(&exception),
                        );
                    }
                });
            });
        if let Err(error) = spawned {
            crate::error!("cannot interrupt a request: {error}");
        }
    }

    fn show(&self, seat: usize, call: u64, headline: String) {
        let Some(crew) = self.0.crew.get().and_then(std::sync::Weak::upgrade) else {
            return;
        };
        let thread = Thread {
            ident: self.0.idents[seat].load(SeqCst),
            id: crew.seats[seat].thread_id(),
        };
        stacks::tell(thread, headline, move || crew.seats[seat].is_in_call(call));
    }
}

/// What every seat needs.
pub(in crate::python) struct Seating {
    pub(in crate::python) app: Py<PyAny>,
    pub(in crate::python) hooks: Option<Arc<RequestHooks>>,
    pub(in crate::python) crew: Arc<Crew>,
    pub(in crate::python) threads: Arc<Threads>,
    pub(in crate::python) config: Arc<Config>,
    pub(in crate::python) listeners: Vec<ListenerAddress>,
}

/// Runs all seats until the worker ends; the calling thread takes seat 0.
pub(in crate::python) fn run(py: Python<'_>, seating: Seating) -> PyResult<()> {
    let _ = seating.threads.crew.set(Arc::downgrade(&seating.crew));
    let seating = Arc::new(seating);
    let mut followers = Vec::new();
    for seat in 1..seating.crew.seats.len() {
        followers.push(start_thread(py, Arc::clone(&seating), seat)?);
    }
    let monitor = start_monitor(&seating.crew)?;
    seating.crew.station.announce(&mut seating.crew.reactor());
    take_seat(py, &seating, 0)?;
    for thread in followers {
        thread.bind(py).call_method1("join", (JOIN_SECONDS,))?;
    }
    py.detach(|| {
        let _ = monitor.join();
        seating.crew.station.finish_logs();
    });
    Ok(())
}

/// A Python thread, so that `threading` and whatever instruments it know it.
fn start_thread(py: Python<'_>, seating: Arc<Seating>, seat: usize) -> PyResult<Py<PyAny>> {
    let target = PyCFunction::new_closure(py, None, None, move |arguments, _| {
        let py = arguments.py();
        take_seat(py, &seating, seat)
    })?;
    let options = PyDict::new(py);
    options.set_item("target", target)?;
    options.set_item("name", format!("rgunicorn-{seat}"))?;
    options.set_item("daemon", true)?;
    let thread = py
        .import("threading")?
        .getattr("Thread")?
        .call((), Some(&options))?;
    thread.call_method0("start")?;
    Ok(thread.unbind())
}

fn start_monitor(crew: &Arc<Crew>) -> std::io::Result<JoinHandle<()>> {
    let crew = Arc::clone(crew);
    std::thread::Builder::new()
        .name("rg-monitor".to_owned())
        .spawn(move || crew.monitor())
}

/// The life of one seat. A request finds no variable (`contextvars`) that another has set: the seat works in a copy of its thread's
/// context, and in a new one as soon as a request has left something there. Most leave nothing, and cost nothing.
fn take_seat(py: Python<'_>, seating: &Arc<Seating>, me: usize) -> PyResult<()> {
    let crew = Arc::clone(&seating.crew);
    crew.seats[me].occupy();
    // What `threading.get_ident()` says may be a greenlet's: an app may have patched it.
    seating.threads.idents[me].store(sys::thread_ident(), SeqCst);
    let desk = Desk::Thread {
        crew: Arc::clone(&crew),
        seat: me,
    };
    let gateway = Gateway::new(
        py,
        seating.app.clone_ref(py),
        seating.hooks.clone(),
        desk,
        &seating.config,
        &seating.listeners,
    )?;
    let (work_crew, gateway) = (Arc::clone(&crew), GilCell::new(Some(gateway)));
    let work = PyCFunction::new_closure(py, None, None, move |arguments, _| {
        let context = arguments.get_item(0)?;
        let taken = gateway.borrow(arguments.py()).take();
        let Some(mut taken) = taken else {
            return Ok(false);
        };
        let goes_on = work_in(&context, &work_crew, me, &mut taken)?;
        *gateway.borrow(arguments.py()) = Some(taken);
        PyResult::Ok(goes_on)
    })?;
    let copy_context = py.import("contextvars")?.getattr("copy_context")?;
    loop {
        let context = copy_context.call0()?;
        match context.call_method1("run", (&work, &context)) {
            Ok(goes_on) if goes_on.is_truthy()? => {}
            Ok(_) => return Ok(()),
            Err(error) => return lose_seat(py, &crew, &error),
        }
    }
}

/// Serves requests until one has left something in the context, or the worker ends: then it is false.
fn work_in(
    context: &Bound<'_, PyAny>,
    crew: &Crew,
    me: usize,
    gateway: &mut Gateway,
) -> PyResult<bool> {
    let (py, seat) = (context.py(), &crew.seats[me]);
    loop {
        match crew.next(me) {
            Next::Wait => {
                py.detach(|| crew.wait(me));
                if crew.take_wakeup(me) {
                    run_signal_handlers(py, crew);
                }
            }
            Next::Leave => return Ok(false),
            Next::Job(connection) => {
                let served = gateway.serve(py, connection)?;
                crew.finish(me, served.connection, served.then_close, served.status);
                if seat.is_interrupted() {
                    // It may not have been raised before the call ended.
                    ffi::raise_in_thread(py, sys::thread_ident(), None);
                }
                // Of one that was never empty nobody can tell whether it is as it was.
                if context.len()? > 0 {
                    return Ok(true);
                }
            }
        }
    }
}

/// Those of Python that are due. On the main thread: the interpreter runs them nowhere else.
fn run_signal_handlers(py: Python<'_>, crew: &Crew) {
    let Err(error) = py.check_signals() else {
        return;
    };
    if let Err(error) = app_exit::drain_after(py, &crew.station, || crew.drain(), error) {
        let headline = "a handler that the app set for a signal failed";
        exception::log(py, LogLevel::Error, headline, &error);
    }
}

/// The server's own objects could not be made: out of memory, most likely.
fn lose_seat(py: Python<'_>, crew: &Crew, error: &PyErr) -> PyResult<()> {
    let headline = "a worker's thread failed; the worker ends";
    exception::log(py, LogLevel::Critical, headline, error);
    py.detach(|| crew.abandon());
    Ok(())
}
