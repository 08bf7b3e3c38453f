//! gevent and eventlet: what they patch, and their hubs as one kind of event loop.
//!
//! The standard library is patched in the generation, before any code of the app is imported, with `preload` or without.
//! A hub that code made there is made anew in each worker: an epoll instance must not be shared over a fork.

use std::{os::fd::RawFd, time::Duration};

use pyo3::{intern, prelude::*, types::PyCFunction};

use crate::config::WorkerClass;

/// Where the greenlets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Gevent,
    Eventlet,
}

impl Library {
    pub(super) fn of(class: WorkerClass) -> Option<Self> {
        match class {
            WorkerClass::Gevent => Some(Self::Gevent),
            WorkerClass::Eventlet => Some(Self::Eventlet),
            WorkerClass::Auto | WorkerClass::Sync | WorkerClass::Gthread | WorkerClass::Asgi => {
                None
            }
        }
    }

    /// Makes what waits in the standard library let others run. Before the app is imported.
    pub(super) fn patch(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Gevent => py.import("gevent.monkey")?.call_method0("patch_all")?,
            Self::Eventlet => py.import("eventlet")?.call_method0("monkey_patch")?,
        };
        Ok(())
    }

    /// Parts from the hub of the process that forked this one, if there was one, and listens for the ends of children.
    pub(super) fn after_fork(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Gevent => {
                let gevent = py.import("gevent")?;
                gevent.call_method0("reinit")?;
                let event_loop = gevent.call_method0("get_hub")?.getattr("loop")?;
                // Who forked may have listened for ended children already, for a subprocess at an import: then gevent takes it that this
                // process does, whose signals are at their default.
                event_loop.call_method0("reset_sigchld")?;
                // Else it listens from the first fork's end on, and a child that ended sooner is waited for without end.
                event_loop.call_method0("install_sigchld")?
            }
            Self::Eventlet => py.import("eventlet.hubs")?.call_method0("use_hub")?,
        };
        Ok(())
    }
}

/// The library for which the app itself has patched threads, which are greenlets then.
pub(super) fn patched_threads(py: Python<'_>) -> PyResult<Option<&'static str>> {
    let modules = py.import("sys")?.getattr("modules")?;
    for (library, module, asks, part) in [
        ("gevent", "gevent.monkey", "is_module_patched", "threading"),
        (
            "eventlet",
            "eventlet.patcher",
            "is_monkey_patched",
            "thread",
        ),
    ] {
        let module = modules.call_method1("get", (module,))?;
        if !module.is_none() && module.call_method1(asks, (part,))?.is_truthy()? {
            return Ok(Some(library));
        }
    }
    Ok(None)
}

/// The library's event loop, which runs in a greenlet of its own: the hub.
pub(super) struct Loop {
    library: Library,
    hub: Py<PyAny>,
    /// The greenlet that the worker began in.
    main: Py<PyAny>,
    /// `gevent.sleep`, `eventlet.sleep`: seconds.
    pub(super) sleep: Py<PyAny>,
}

impl Loop {
    pub(super) fn of(py: Python<'_>, library: Library) -> PyResult<Self> {
        let (module, hub) = match library {
            Library::Gevent => {
                let gevent = py.import("gevent")?;
                let hub = gevent.call_method0("get_hub")?;
                (gevent, hub)
            }
            Library::Eventlet => {
                let hub = py.import("eventlet.hubs")?.call_method0("get_hub")?;
                (py.import("eventlet")?, hub)
            }
        };
        Ok(Self {
            library,
            hub: hub.unbind(),
            main: py.import("greenlet")?.call_method0("getcurrent")?.unbind(),
            sleep: module.getattr("sleep")?.unbind(),
        })
    }

    /// Calls back in the hub whenever the descriptor is readable, until the worker ends.
    pub(super) fn watch(
        &self,
        py: Python<'_>,
        descriptor: RawFd,
        callback: &Bound<'_, PyCFunction>,
    ) -> PyResult<Py<PyAny>> {
        let hub = self.hub.bind(py);
        let watcher = match self.library {
            Library::Gevent => {
                let read = 1;
                let watcher = hub
                    .getattr("loop")?
                    .call_method1("io", (descriptor, read))?;
                watcher.call_method1("start", (callback,))?;
                watcher
            }
            Library::Eventlet => {
                // It compares by identity. The two callbacks behind: the descriptor failed, or somebody else closed it.
                let read = hub.getattr("READ")?;
                hub.call_method1("add", (read, descriptor, callback, callback, callback))?
            }
        };
        Ok(watcher.unbind())
    }

    pub(super) fn unwatch(&self, py: Python<'_>, watcher: &Py<PyAny>) -> PyResult<()> {
        match self.library {
            Library::Gevent => watcher.call_method0(py, "close")?,
            Library::Eventlet => self.hub.call_method1(py, "remove", (watcher,))?,
        };
        Ok(())
    }

    /// Calls back in the hub, once.
    pub(super) fn call_after(
        &self,
        py: Python<'_>,
        delay: Duration,
        callback: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let hub = self.hub.bind(py);
        let seconds = delay.as_secs_f64();
        let timer = match self.library {
            Library::Gevent => {
                let timer = hub.getattr("loop")?.call_method1("timer", (seconds,))?;
                timer.call_method1("start", (callback,))?;
                timer
            }
            Library::Eventlet => hub.call_method1("schedule_call_global", (seconds, callback))?,
        };
        Ok(timer.unbind())
    }

    /// Takes a call back; one that was made already is not.
    pub(super) fn cancel(&self, py: Python<'_>, timer: &Py<PyAny>) -> PyResult<()> {
        let name = match self.library {
            Library::Gevent => "close",
            Library::Eventlet => "cancel",
        };
        timer.call_method0(py, name).map(drop)
    }

    /// A greenlet that begins to run at the first switch to it.
    pub(super) fn greenlet(
        &self,
        py: Python<'_>,
        run: &Bound<'_, PyCFunction>,
    ) -> PyResult<Py<PyAny>> {
        let greenlet = match self.library {
            // Not a plain one: apps call what only gevent's own have, such as `link`.
            Library::Gevent => py.import("gevent")?.call_method1("Greenlet", (run,))?,
            Library::Eventlet => {
                let hub = self.hub.bind(py).getattr("greenlet")?;
                py.import("greenlet")?
                    .call_method1("greenlet", (run, hub))?
            }
        };
        Ok(greenlet.unbind())
    }

    /// Runs the loop, or lets it go on, until somebody switches back to this greenlet.
    pub(super) fn switch(&self, py: Python<'_>) -> PyResult<()> {
        self.hub.call_method0(py, intern!(py, "switch")).map(drop)
    }

    /// Has the main greenlet go on, soon.
    pub(super) fn wake_main(&self, py: Python<'_>) -> PyResult<()> {
        let switch = self.main.bind(py).getattr("switch")?;
        self.call_after(py, Duration::ZERO, &switch).map(drop)
    }
}
