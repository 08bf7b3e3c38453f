//! The life of an `asgi` worker: a loop, the app's start-up, requests until the worker is drained, the app's shutdown.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use pyo3::{
    ffi::c_str,
    prelude::*,
    types::{PyDict, PyModule},
};

use super::{
    first_step::FirstSteps,
    gateway::{Gateway, Parts},
    scope::ScopeBuilder,
};
use crate::{
    config::{self, Config, EventLoop, Lifespan},
    python::{driver::app_exit, hooks::RequestHooks, say, stacks},
    websocket::{self, DeflateSettings},
    wire::ListenerAddress,
    worker::{Hub, Leaving},
};

/// Seconds that cancelled tasks get to end.
const CANCEL_SECONDS: f64 = 1.0;
/// And where the worker is told to stop at once.
const QUIT_SECONDS: f64 = 0.2;

/// The event loop of a worker, made before the app is imported where that is known to be ASGI: apps that ask for "the"
/// loop when they are imported get this one.
pub(in crate::python) struct Loop {
    glue: Py<PyModule>,
    asyncio_loop: Py<PyAny>,
}

impl Loop {
    pub(in crate::python) fn new(py: Python<'_>, kind: EventLoop) -> PyResult<Self> {
        let source = std::ffi::CString::new(include_str!("loop.py")).expect("has no NUL");
        let glue = PyModule::from_code(
            py,
            &source,
            c_str!("rgunicorn/loop.py"),
            c_str!("_rgunicorn_loop"),
        )?;
        let is_uvloop = match kind {
            EventLoop::Asyncio => false,
            EventLoop::Uvloop => true,
            EventLoop::Auto => glue.call_method0("has_uvloop")?.extract()?,
        };
        let name = if is_uvloop { "uvloop" } else { "asyncio" };
        let asyncio_loop = glue.call_method1("new_loop", (name,))?;
        Ok(Self {
            glue: glue.unbind(),
            asyncio_loop: asyncio_loop.unbind(),
        })
    }
}

/// An app that has started up.
pub(in crate::python) struct Stage<'a, 'py> {
    glue: Bound<'py, PyModule>,
    asyncio_loop: Bound<'py, PyAny>,
    lifespan: Bound<'py, PyAny>,
    app: Py<PyAny>,
    /// Filled by the app's lifespan.
    state: Bound<'py, PyDict>,
    config: &'a Config,
}

impl<'a, 'py> Stage<'a, 'py> {
    /// Has the app start up. `None`: it failed to; why is in the log. `who` is the beginning of log lines.
    pub(in crate::python) fn start(
        py: Python<'py>,
        own: &Loop,
        app: Py<PyAny>,
        config: &'a Config,
        who: &str,
    ) -> PyResult<Option<Self>> {
        let glue = own.glue.bind(py).clone();
        let asyncio_loop = own.asyncio_loop.bind(py).clone();
        let state = PyDict::new(py);
        let mode = match config.lifespan {
            Lifespan::Auto => "auto",
            Lifespan::On => "on",
            Lifespan::Off => "off",
        };
        let say = say::function(py, who)?;
        let lifespan = glue.call_method1("Lifespan", (&asyncio_loop, &app, mode, &state, say))?;
        if let Err(error) = lifespan.call_method0("start") {
            if error.is_instance(py, &glue.getattr("StartupFailed")?) {
                return Ok(None);
            }
            return Err(error);
        }
        Ok(Some(Self {
            glue,
            asyncio_loop,
            lifespan,
            app,
            state,
            config,
        }))
    }

    /// Serves until the worker is drained or told to stop; then the app shuts down.
    pub(in crate::python) fn run(
        self,
        py: Python<'py>,
        hub: Arc<Hub>,
        listeners: Vec<ListenerAddress>,
        hooks: Option<Arc<RequestHooks>>,
    ) -> PyResult<()> {
        let scopes = ScopeBuilder::new(
            py,
            self.state.unbind(),
            &self.config.root_path,
            listeners,
            &self.config.proxy,
        )?;
        let asyncio_loop = &self.asyncio_loop;
        let service = self.glue.call_method1("Service", (asyncio_loop,))?;
        let parts = Parts {
            hub: Arc::clone(&hub),
            stop: service.getattr("stop")?.unbind(),
            app: self.app,
            hooks,
            scopes,
            first_steps: FirstSteps::new(&self.glue, asyncio_loop)?,
            socket_settings: socket_settings(&self.config.websocket),
            socket_compression: self
                .config
                .websocket
                .compression
                .then(DeflateSettings::default),
        };
        let gateway = Gateway::new(py, asyncio_loop, parts)?;
        let turn = gateway.turn_callable(py)?;
        let descriptor = hub.descriptor().as_raw_fd();
        asyncio_loop.call_method1("add_reader", (descriptor, &turn))?;
        asyncio_loop.call_method1("call_soon", (&turn,))?;
        stacks::announce_loop();
        hub.station.announce(&mut hub.reactor());
        while let Err(error) = service.call_method0("run") {
            app_exit::drain_after(py, &hub, error)?;
        }
        asyncio_loop.call_method1("remove_reader", (descriptor,))?;
        // The end of the app has a bound of its own.
        hub.station.slot().stalled_since.store(0, SeqCst);
        let seconds = match hub.leaving() {
            Leaving::Now => QUIT_SECONDS,
            Leaving::WhenDone | Leaving::No => {
                let graceful = hub.station.live.graceful().as_secs_f64();
                self.lifespan.call_method1("stop", (graceful,))?;
                CANCEL_SECONDS
            }
        };
        self.glue.call_method1("close", (asyncio_loop, seconds))?;
        py.detach(|| hub.station.finish_logs());
        Ok(())
    }
}

fn socket_settings(config: &config::WebSocket) -> websocket::Settings {
    websocket::Settings {
        message_bytes_max: usize::try_from(config.message_size).unwrap_or(usize::MAX),
        ping_interval: (!config.ping_interval.is_zero()).then_some(config.ping_interval),
        ping_timeout: config.ping_timeout,
        ..websocket::Settings::default()
    }
}
