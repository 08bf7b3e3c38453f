//! The life of an `asgi` worker: a loop, the app's start-up, requests until the worker is drained, the app's shutdown.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use pyo3::{
    prelude::*,
    types::{PyDict, PyModule},
};

use super::{
    first_step::FirstSteps,
    gateway::{Gateway, Parts},
    pathsend,
    scope::ScopeBuilder,
};
use crate::{
    config::{self, Config, EventLoop, Lifespan},
    python::{bundled, driver::app_exit, hooks::RequestHooks, say, stacks},
    sys,
    websocket::{self, DeflateSettings},
    wire::ListenerAddress,
    worker::{Hub, Leaving},
};

/// The event loop of a worker, made before the app is imported where that is known to be ASGI: apps that ask for "the"
/// loop when they are imported get this one.
pub(in crate::python) struct Loop {
    glue: Py<PyModule>,
    asyncio_loop: Py<PyAny>,
}

impl Loop {
    pub(in crate::python) fn new(py: Python<'_>, kind: EventLoop) -> PyResult<Self> {
        let glue = bundled::module(py, "loop", include_str!("loop.py"))?;
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
        &self,
        py: Python<'py>,
        hub: Arc<Hub>,
        listeners: Vec<ListenerAddress>,
        hooks: Option<Arc<RequestHooks>>,
    ) -> PyResult<()> {
        let scopes = ScopeBuilder::new(
            py,
            self.state.clone().unbind(),
            &self.config.root_path,
            listeners,
            &self.config.proxy,
            pathsend::is_offered(py, &self.app)?,
        )?;
        let asyncio_loop = &self.asyncio_loop;
        let service = self.glue.call_method1("Service", (asyncio_loop,))?;
        let parts = Parts {
            hub: Arc::clone(&hub),
            stop: service.getattr("stop")?.unbind(),
            app: self.app.clone_ref(py),
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
        asyncio_loop.call_method1("add_reader", (hub.descriptor().as_raw_fd(), &turn))?;
        asyncio_loop.call_method1("call_soon", (&turn,))?;
        stacks::announce_loop();
        hub.station.announce(&mut hub.reactor());
        let served = serve(&service, &hub);
        let ended = self.end(&gateway);
        py.detach(|| hub.station.finish_logs());
        served.and(ended)
    }

    /// Ends what the app still does, and the loop. The worker is not watched any more: this has a bound of its own.
    fn end(&self, gateway: &Gateway) -> PyResult<()> {
        let (py, hub) = (self.glue.py(), &gateway.hub);
        gateway.stop(py)?;
        hub.station.slot().stalled_since.store(0, SeqCst);
        let asyncio_loop = &self.asyncio_loop;
        asyncio_loop.call_method1("remove_reader", (hub.descriptor().as_raw_fd(),))?;
        let requests = gateway.tasks(py);
        let arguments = (asyncio_loop, requests, &self.lifespan, seconds_left(hub));
        self.glue.call_method1("end", arguments).map(drop)
    }
}

/// Runs the loop until the gateway stops it.
fn serve(service: &Bound<'_, PyAny>, hub: &Hub) -> PyResult<()> {
    while let Err(error) = service.call_method0("run") {
        app_exit::drain_after(service.py(), &hub.station, || hub.drain(), error)?;
    }
    Ok(())
}

/// What is left of `timeouts.graceful`, by which the arbiter goes too.
fn seconds_left(hub: &Hub) -> f64 {
    if hub.leaving() == Leaving::Now {
        return 0.0;
    }
    let draining_ns = hub.draining_for_ns(sys::monotonic_ns()).unwrap_or(0);
    let draining = Duration::from_nanos(draining_ns);
    let graceful = hub.station.live.graceful();
    graceful.saturating_sub(draining).as_secs_f64()
}

fn socket_settings(config: &config::WebSocket) -> websocket::Settings {
    websocket::Settings {
        message_bytes_max: usize::try_from(config.message_size).unwrap_or(usize::MAX),
        ping_interval: (!config.ping_interval.is_zero()).then_some(config.ping_interval),
        ping_timeout: config.ping_timeout,
        ..websocket::Settings::default()
    }
}
