//! From the `app` of the configuration to a callable: import the module, descend to the attribute, call the factory.
//!
//! Two kinds of failure, as in Gunicorn: code that raised (exit code 3, with its traceback), and a name or a call that
//! does not fit the code (exit code 4, with a sentence and no traceback, for there is nothing to find in one).

use std::path::Path;

use pyo3::{
    exceptions::{PyAttributeError, PyModuleNotFoundError, PySyntaxError, PyTypeError},
    prelude::*,
    types::{PyDict, PyList, PyTuple},
};

use super::{copy, exception, kind, logging};
use crate::config::{AppRef, Config};

/// The worker or generation could not boot: the app's code failed.
pub(super) const EXIT_BOOT: i32 = 3;
/// The app's module imported, but the app is not in it.
pub(super) const EXIT_APP: i32 = 4;

/// Names by which apps usually go, offered when nothing looks alike.
const USUAL_NAMES: [&str; 6] = [
    "application",
    "app",
    "create_app",
    "make_app",
    "wsgi",
    "wsgi_app",
];
/// How alike a name has to be to be offered, 0 to 1 (Jaro-Winkler).
const LIKENESS_MIN: f64 = 0.75;

#[derive(Debug)]
pub(super) enum AppError {
    /// The code raised: the line of the traceback that names the exception, and the whole of it.
    Raised { reason: String, traceback: String },
    /// The sentence that says what does not fit.
    Unfit(String),
}

impl AppError {
    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Self::Raised { .. } => EXIT_BOOT,
            Self::Unfit(_) => EXIT_APP,
        }
    }

    /// One line.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Raised { reason, .. } => reason,
            Self::Unfit(sentence) => sentence,
        }
    }

    /// Writes it to the error log. `who` is the beginning of the line, `what` could not be loaded.
    pub(super) fn log(&self, who: &str, what: &str) {
        self.log_as(&format!("{who} cannot load {what}"));
    }

    /// Writes it to the error log, after this headline.
    pub(super) fn log_as(&self, headline: &str) {
        let level = crate::config::LogLevel::Error;
        let headline = format!("{headline}: {}", self.reason());
        match self {
            Self::Raised { traceback, .. } => {
                crate::telemetry::block(level, format_args!("{headline}"), traceback);
            }
            Self::Unfit(_) => crate::telemetry::line(level, format_args!("{headline}")),
        }
    }
}

/// Sets up Python's logging if the configuration says how, then imports the app. Runs the app's code.
pub(super) fn load(py: Python<'_>, config: &Config) -> Result<Py<PyAny>, AppError> {
    if let Some(file) = &config.log.python_config {
        logging::configure(py, file).map_err(|error| unfit_logging(py, file, &error))?;
    }
    let app = &config.app;
    let mut found = find(py, &app.module, &app.attribute)?;
    if let Some(arguments) = &app.factory_arguments {
        found = call_factory(py, &found, app, arguments)?;
    }
    copy::end_if_copy(py, None);
    let fault = match found.is_callable() {
        false => Some(format!("is not callable: it is {}", described(&found))),
        // Objects may do as they please when they are looked at.
        true => kind::misfit(py, config, &found)
            .unwrap_or(None)
            .map(|why| format!("cannot be served: {why}")),
    };
    let what = match &app.factory_arguments {
        Some(_) => "what the factory returned",
        None => "the app",
    };
    match fault {
        None => Ok(found.unbind()),
        Some(fault) => Err(AppError::Unfit(format!("{what} {fault}"))),
    }
}

/// What Python says about the file, and what caused that.
fn unfit_logging(py: Python<'_>, file: &Path, error: &PyErr) -> AppError {
    let cause = error.cause(py).map(|cause| format!(": {cause}"));
    let mut failure = raised(py, error);
    if let AppError::Raised { reason, .. } = &mut failure {
        *reason = format!(
            "`log.python_config` {}: {error}{}",
            file.display(),
            cause.unwrap_or_default()
        );
    }
    failure
}

/// Imports the module and descends to the attribute, dots included. Runs the module's code.
pub(super) fn find<'py>(
    py: Python<'py>,
    module: &str,
    attribute: &str,
) -> Result<Bound<'py, PyAny>, AppError> {
    let imported = py
        .import(module)
        .map_err(|error| import_failed(py, &error, module, attribute))?;
    let mut found = imported.into_any();
    let mut place = module.to_owned();
    for name in attribute.split('.') {
        found = descend(py, &found, &place, name)?;
        place = format!("{place}.{name}");
    }
    Ok(found)
}

fn import_failed(py: Python<'_>, error: &PyErr, module: &str, attribute: &str) -> AppError {
    let mut failure = raised(py, error);
    let AppError::Raised { reason, .. } = &mut failure else {
        return failure;
    };
    if let Some(module) = module.strip_suffix(".py") {
        let module = module.replace('/', ".");
        reason.push_str(&format!("; did you mean `{module}:{attribute}`?"));
    } else if is_not_found(py, error, module) {
        reason.push_str("; it is looked for in `chdir`, then in `python_path`");
    }
    failure
}

/// Whether it is this module, or a package around it, that there is not; and none that it imports.
fn is_not_found(py: Python<'_>, error: &PyErr, module: &str) -> bool {
    let missing = error.value(py).getattr("name");
    error.is_instance_of::<PyModuleNotFoundError>(py)
        && missing
            .and_then(|name| name.extract::<String>())
            .is_ok_and(|name| module == name || module.starts_with(&format!("{name}.")))
}

fn descend<'py>(
    py: Python<'py>,
    owner: &Bound<'py, PyAny>,
    place: &str,
    name: &str,
) -> Result<Bound<'py, PyAny>, AppError> {
    owner.getattr(name).map_err(|error| {
        // A module may define __getattr__, which may fail in its own way.
        if !error.is_instance_of::<PyAttributeError>(py) {
            return raised(py, &error);
        }
        let sentence = format!("`{place}` has no attribute `{name}`");
        AppError::Unfit(match alike(owner, name).as_slice() {
            [] => sentence,
            names => format!("{sentence}; it has {}", names.join(", ")),
        })
    })
}

/// Names of the owner's that may have been meant: the likest first, at most three.
fn alike(owner: &Bound<'_, PyAny>, name: &str) -> Vec<String> {
    let Ok(names) = owner.dir() else {
        return Vec::new();
    };
    let mut offers: Vec<(f64, String)> = names
        .iter()
        .filter_map(|candidate| candidate.extract::<String>().ok())
        .filter(|candidate| !candidate.starts_with("__"))
        .filter_map(|candidate| {
            let likeness = strsim::jaro_winkler(name, &candidate);
            let offered = likeness >= LIKENESS_MIN || USUAL_NAMES.contains(&candidate.as_str());
            offered.then_some((likeness, candidate))
        })
        .filter(|(_, candidate)| {
            owner
                .getattr(candidate.as_str())
                .is_ok_and(|value| value.is_callable())
        })
        .collect();
    offers.sort_by(|a, b| b.0.total_cmp(&a.0));
    offers
        .into_iter()
        .take(3)
        .map(|(_, candidate)| format!("`{candidate}`"))
        .collect()
}

fn call_factory<'py>(
    py: Python<'py>,
    factory: &Bound<'py, PyAny>,
    app: &AppRef,
    arguments: &str,
) -> Result<Bound<'py, PyAny>, AppError> {
    if !factory.is_callable() {
        let what = described(factory);
        let name = &app.attribute;
        return Err(AppError::Unfit(format!(
            "`{name}` is not callable: it is {what}"
        )));
    }
    let (positional, keywords) = literal_arguments(py, arguments).map_err(|error| {
        // Of what is no literal, Python only tells where its object lies in memory.
        let why = match error.is_instance_of::<PySyntaxError>(py) {
            true => error
                .value(py)
                .getattr("msg")
                .map(|said| format!(": {said}")),
            false => Ok(", such as 'production', 4, True or ['a']".to_owned()),
        };
        let why = why.unwrap_or_default();
        AppError::Unfit(format!(
            "the arguments `({arguments})` are not all Python literals{why}"
        ))
    })?;
    factory.call(positional, Some(&keywords)).map_err(|error| {
        match was_called_wrongly(py, &error) {
            true => AppError::Unfit(error.value(py).to_string()),
            false => raised(py, &error),
        }
    })
}

/// Reads the source of a call's arguments as Gunicorn does: `ast.literal_eval` on each, so no code runs.
fn literal_arguments<'py>(
    py: Python<'py>,
    arguments: &str,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
    let ast = py.import("ast")?;
    let call = ast
        .call_method1("parse", (format!("f({arguments})"), "<app>", "eval"))?
        .getattr("body")?;
    let literal = |node: Bound<'py, PyAny>| ast.call_method1("literal_eval", (node,));
    let positional = PyList::empty(py);
    for node in call.getattr("args")?.try_iter()? {
        positional.append(literal(node?)?)?;
    }
    let keywords = PyDict::new(py);
    for keyword in call.getattr("keywords")?.try_iter()? {
        let keyword = keyword?;
        // `**mapping` has no name; setting None as a key makes the call fail with Python's own words.
        keywords.set_item(keyword.getattr("arg")?, literal(keyword.getattr("value")?)?)?;
    }
    Ok((positional.to_tuple(), keywords))
}

/// Whether the call itself was refused: a TypeError with no frame of the factory in its traceback.
fn was_called_wrongly(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyTypeError>(py) && error.traceback(py).is_none()
}

/// A process that the code forked does not come back from here.
pub(super) fn raised(py: Python<'_>, error: &PyErr) -> AppError {
    copy::end_if_copy(py, Some(error));
    let traceback = exception::traceback(py, error);
    AppError::Raised {
        reason: exception::headline(&traceback).to_owned(),
        traceback,
    }
}

/// `a module`, `None`, `an object of type str`.
fn described(value: &Bound<'_, PyAny>) -> String {
    if value.is_none() {
        return "None".to_owned();
    }
    match value.get_type().name() {
        Ok(name) => format!("an object of type `{name}`"),
        Err(_) => "an object".to_owned(),
    }
}
