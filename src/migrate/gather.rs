//! Finds all that Gunicorn would read and lays it in layers, as Gunicorn does.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    CMD_ARGS_VARIABLE, Given, Layer, MigrateError, Sources, Start, Written, command_line,
    config_file,
    given::given_app,
    places::{Places, clean},
};
use crate::{config::gunicorn::SETTINGS, sys::read_file};

/// What Gunicorn finds in the current directory by itself.
const DEFAULT_FILE: &str = "gunicorn.conf.py";
/// The origin of what was typed.
pub(super) const COMMAND_LINE: &str = "command line";
/// Far more than a unit or a Procfile has.
const START_BYTES_MAX: u64 = 1 << 20;
/// From here on, two names are one with a slip in it.
const SLIP_MIN: f64 = 0.93;

/// What was read, before it is translated.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) layer: Layer,
    pub(super) origins: Vec<String>,
    /// The origins whose words no shell has read.
    pub(super) unread_by_shell: Vec<String>,
    pub(super) remarks: Vec<String>,
    /// `WEB_CONCURRENCY` is set where it runs, as far as that is known.
    pub(super) has_web_concurrency: bool,
    pub(super) places: Places,
    /// The project's interpreter, where the command or the project says which.
    pub(super) python: Option<PathBuf>,
    pub(super) start: Option<Start>,
}

/// Words of a command line, and where they stood.
struct Line {
    words: Vec<String>,
    origin: String,
}

/// Configuration file < `GUNICORN_CMD_ARGS` < command line.
pub(super) fn gather(sources: &Sources) -> Result<Gathered, MigrateError> {
    let (start, name) = start(sources)?.unzip();
    let typed = Start::typed(sources.command.clone());
    let mut unread_by_shell: Vec<String> = name.iter().cloned().collect();
    if !typed.shell.is_empty() {
        unread_by_shell.push(COMMAND_LINE.to_owned());
    }
    let project = project(sources, start.as_ref().unwrap_or(&typed));
    let mut above = Layer::default();
    let mut origins = Vec::new();
    for line in lines(sources, start.as_ref().zip(name.as_deref()), &typed)? {
        above.cover_with(read_line(&line)?);
        origins.push(line.origin);
    }
    let location = location(sources, &mut above, &project);
    if location.is_none() && origins.is_empty() {
        return Err(MigrateError::Nothing);
    }
    let python = python(sources, [start.as_ref(), Some(&typed)], &project);
    let mut layer = Layer::default();
    let mut remarks = Vec::new();
    if let Some(location) = location {
        let with = python.clone().or_else(active_environment);
        let with = with.unwrap_or_else(|| PathBuf::from("python3"));
        let file = config_file::read(&with, &project, &location).map_err(|source| {
            let location = location.clone();
            MigrateError::ConfigFile { location, source }
        })?;
        layer = file.layer;
        remarks.extend(remark_on_ignored(&file.ignored, &location));
        origins.insert(0, location);
    }
    layer.cover_with(above);
    let has_unix_socket = layer.get("bind").is_some_and(names_unix_socket);
    Ok(Gathered {
        layer,
        origins,
        unread_by_shell,
        remarks,
        has_web_concurrency: sources.has_web_concurrency,
        places: Places {
            project,
            file: sources.destination.clone(),
            has_unix_socket,
        },
        python,
        start,
    })
}

/// Where it is started, if that directory is here, too.
fn project(sources: &Sources, start: &Start) -> PathBuf {
    let said = start.directory.as_ref();
    let said = said.map(|directory| clean(&sources.directory.join(directory)));
    said.filter(|directory| directory.is_dir())
        .unwrap_or_else(|| sources.directory.clone())
}

/// The command of a unit or a Procfile, and the name of that file.
fn start(sources: &Sources) -> Result<Option<(Start, String)>, MigrateError> {
    type Find = fn(&str) -> Option<Start>;
    let unit = sources
        .unit
        .as_ref()
        .map(|path| (path, Start::in_unit as Find));
    let procfile = || {
        sources
            .procfile
            .as_ref()
            .map(|path| (path, Start::in_procfile as Find))
    };
    let Some((path, find)) = unit.or_else(procfile) else {
        return Ok(None);
    };
    let text = read_file(path, START_BYTES_MAX).map_err(|source| MigrateError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let start = find(&String::from_utf8_lossy(&text))
        .ok_or_else(|| MigrateError::NoGunicorn { path: path.clone() })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Some((start, name.display().to_string())))
}

/// From the weakest to the strongest.
fn lines(
    sources: &Sources,
    start: Option<(&Start, &str)>,
    typed: &Start,
) -> Result<Vec<Line>, MigrateError> {
    let variables = [
        sources.cmd_args.as_ref(),
        start.and_then(|(start, _)| start.cmd_args.as_ref()),
        typed.cmd_args.as_ref(),
    ];
    let mut lines = Vec::new();
    for text in variables
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
    {
        let words = shlex::split(text).ok_or_else(|| MigrateError::CommandLine {
            origin: CMD_ARGS_VARIABLE.to_owned(),
            reason: "a quote is not closed".to_owned(),
        })?;
        lines.push(Line {
            words,
            origin: CMD_ARGS_VARIABLE.to_owned(),
        });
    }
    if let Some((start, name)) = start {
        lines.push(Line {
            words: start.arguments.clone(),
            origin: name.to_owned(),
        });
    }
    if !typed.arguments.is_empty() {
        lines.push(Line {
            words: typed.arguments.clone(),
            origin: COMMAND_LINE.to_owned(),
        });
    }
    Ok(lines)
}

fn read_line(line: &Line) -> Result<Layer, MigrateError> {
    let read = command_line::parse(&line.words, &line.origin).map_err(|reason| {
        let origin = line.origin.clone();
        MigrateError::CommandLine { origin, reason }
    })?;
    let mut layer = read.layer;
    // Gunicorn takes the app from the command line alone.
    if let Some(app) = read.app.filter(|_| line.origin != CMD_ARGS_VARIABLE) {
        layer.set(given_app(app, &line.origin));
    }
    Ok(layer)
}

/// The configuration file: the one asked for, the one that the command names, the one that lies there.
fn location(sources: &Sources, above: &mut Layer, project: &Path) -> Option<String> {
    let named = above.take("config").and_then(|given| match given.written {
        Written::Plain(Value::String(path)) => Some(path),
        _ => None,
    });
    let lies_there = || {
        let is_there = project.join(DEFAULT_FILE).is_file();
        is_there.then(|| DEFAULT_FILE.to_owned())
    };
    sources.config.clone().or(named).or_else(lies_there)
}

/// One with a path: a name that is abstract has no permissions.
fn names_unix_socket(bind: &Given) -> bool {
    let is_unix = |text: &str| {
        let path = text.trim().strip_prefix("unix:");
        path.is_some_and(|path| !path.starts_with(['@', '\0']))
    };
    match &bind.written {
        Written::Plain(Value::String(text)) => text.split(',').any(is_unix),
        Written::Plain(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(is_unix),
        _ => false,
    }
}

/// What was asked for, the environment that Gunicorn is installed in, the virtualenv of the project.
fn python(sources: &Sources, starts: [Option<&Start>; 2], project: &Path) -> Option<PathBuf> {
    let beside = || {
        let mut found = starts.into_iter().flatten().filter_map(Start::python);
        found
            .next()
            .map(|python| project.join(python))
            .filter(|python| python.is_file())
    };
    let of_project = || {
        let folders = [".venv", "venv"].into_iter();
        let mut paths = folders.map(|folder| project.join(folder).join("bin/python"));
        paths.find(|path| path.is_file())
    };
    let asked = sources
        .python
        .as_ref()
        .map(|python| match python.components().count() {
            // A bare name is looked up on the PATH.
            1 => python.clone(),
            _ => sources.directory.join(python),
        });
    asked.or_else(beside).or_else(of_project)
}

fn active_environment() -> Option<PathBuf> {
    let environment = std::env::var_os("VIRTUAL_ENV").filter(|value| !value.is_empty())?;
    Some(Path::new(&environment).join("bin/python"))
}

/// Gunicorn says nothing about names that it does not know. One with a slip in it was meant to do something.
fn remark_on_ignored(ignored: &[String], location: &str) -> Vec<String> {
    let near = |name: &String| {
        let likeness = |known: &str| strsim::jaro_winkler(name, known);
        let setting = SETTINGS
            .iter()
            .find(|setting| likeness(setting.name) >= SLIP_MIN)?;
        Some(format!(
            "{location}: Gunicorn has no setting `{name}` and ignored it. Was `{}` meant?",
            setting.name
        ))
    };
    ignored.iter().filter_map(near).collect()
}
