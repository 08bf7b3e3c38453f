//! Which class of worker suits the app, where the configuration leaves that open; whether the app is one that the class can
//! call, and whether the interpreter has what the configured one needs.

use pyo3::{prelude::*, types::PyModule};

use super::bundled;
use crate::config::{AppRef, Config, EventLoop, WorkerClass};

/// The class to run, and why it was chosen if it was.
pub(super) struct Choice {
    pub(super) class: WorkerClass,
    pub(super) reason: Option<String>,
}

impl Choice {
    /// Logs what was chosen and why; `who` begins the line.
    pub(super) fn tell(&self, who: &str) {
        if let Some(reason) = &self.reason {
            let class = self.class.word();
            crate::info!("{who} worker_class={class} chosen: {reason}");
        }
    }
}

pub(super) fn choose(py: Python<'_>, config: &Config, app: &Py<PyAny>) -> PyResult<Choice> {
    if config.worker_class != WorkerClass::Auto {
        return Ok(Choice {
            class: config.worker_class,
            reason: None,
        });
    }
    let why_asgi: Option<String> = glue(py)?.call_method1("why_asgi", (app,))?.extract()?;
    let (class, reason) = match (why_asgi, config.threads) {
        (Some(reason), 1) => (WorkerClass::Asgi, reason),
        (Some(reason), _) => (
            WorkerClass::Asgi,
            format!("{reason}; `threads` does not matter to it"),
        ),
        (None, 1) => (WorkerClass::Sync, "`threads` is 1".to_owned()),
        (None, threads) => (WorkerClass::Gthread, format!("`threads` is {threads}")),
    };
    Ok(Choice {
        class,
        reason: Some(reason),
    })
}

/// Why workers of the configured class cannot call the app, if that is so: every request would be answered with 500.
pub(super) fn misfit(
    py: Python<'_>,
    config: &Config,
    app: &Bound<'_, PyAny>,
) -> PyResult<Option<String>> {
    let AppRef {
        module, attribute, ..
    } = &config.app;
    let name = (config.app.factory_arguments.is_none()).then(|| format!("{module}:{attribute}"));
    glue(py)?
        .call_method1("misfit", (app, config.worker_class.word(), name))?
        .extract()
}

/// What the interpreter lacks of what the configuration asks for, with the command that mends it.
pub(super) fn missing_package(py: Python<'_>, config: &Config) -> PyResult<Option<String>> {
    let wants_uvloop = config.event_loop == EventLoop::Uvloop
        && matches!(config.worker_class, WorkerClass::Asgi | WorkerClass::Auto);
    if !wants_uvloop
        || !glue(py)?
            .call_method1("is_missing", ("uvloop",))?
            .extract()?
    {
        return Ok(None);
    }
    let python: String = py.import("sys")?.getattr("executable")?.extract()?;
    Ok(Some(format!(
        "`loop = \"uvloop\"` needs the package uvloop: run `{python} -m pip install uvloop`"
    )))
}

fn glue(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    bundled::module(py, "kind", include_str!("kind.py"))
}
