//! `gunicorn.conf.py` is a program: only Python can say what it sets. It runs in a child, which may raise, hang or print
//! without end.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::Deserialize;

use super::{Function, Given, Layer, Provenance, Written};
use crate::config::gunicorn::{SETTINGS, find};

const EVALUATE: &str = include_str!("evaluate.py");
/// How long the file may take. Some import half of the project.
pub(super) const TIME_MAX: Duration = Duration::from_secs(30);
/// The longest report that is read.
const REPORT_MAX: u64 = 1 << 20;
/// How much of what the file prints is kept, for the message of a failure.
const PRINTED_MAX: usize = 2048;

/// Why a configuration file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("cannot run `{}` to read it: {source}", python.display())]
    NoPython { python: PathBuf, source: io::Error },
    #[error("{place}: {message}{hint}")]
    Raised {
        place: String,
        message: String,
        hint: &'static str,
    },
    #[error("`{}` is Python {version}, too old to read it; `--python` names another, at least 3.10", python.display())]
    TooOld { python: PathBuf, version: String },
    #[error("it was still running after {} seconds", TIME_MAX.as_secs())]
    TooSlow,
    #[error("it sets more than can be read: over {} MiB", REPORT_MAX >> 20)]
    TooMuch,
    #[error("the interpreter ended before the file did{printed}")]
    Silent { printed: String },
}

/// What it sets, and the names in it that look like settings and are none.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) layer: Layer,
    pub(super) ignored: Vec<String>,
}

/// Executes the configuration at `location` (a path, `file:PATH` or `python:MODULE`) as Gunicorn does, in `directory`.
pub(super) fn read(
    python: &Path,
    directory: &Path,
    location: &str,
) -> Result<ConfigFile, ConfigFileError> {
    match report(python, directory, location)? {
        Report::Set { settings, ignored } => Ok(ConfigFile {
            layer: layer(settings, location),
            ignored,
        }),
        Report::Failed { failure } => Err(failure.into_error(location, directory)),
        Report::TooOld { too_old } => Err(ConfigFileError::TooOld {
            python: python.to_owned(),
            version: too_old,
        }),
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Report {
    Set {
        settings: BTreeMap<String, Value>,
        ignored: Vec<String>,
    },
    Failed {
        failure: Failure,
    },
    TooOld {
        too_old: String,
    },
}

#[derive(Debug, Deserialize)]
struct Value {
    #[serde(flatten)]
    written: Written,
    provenance: Provenance,
}

#[derive(Debug, Deserialize)]
struct Failure {
    message: String,
    file: Option<String>,
    line: Option<u64>,
}

impl Failure {
    fn into_error(self, location: &str, directory: &Path) -> ConfigFileError {
        let file = self.file.unwrap_or_else(|| location.to_owned());
        let file = Path::new(&file)
            .strip_prefix(directory)
            .map_or(file.clone(), |file| file.display().to_string());
        let place = match self.line {
            Some(line) => format!("{file}, line {line}"),
            None => file,
        };
        let is_import = self.message.starts_with("ModuleNotFoundError")
            || self.message.starts_with("ImportError");
        ConfigFileError::Raised {
            place,
            message: self.message,
            hint: match is_import {
                true => "; `--python` names the interpreter that has the project's packages",
                false => "",
            },
        }
    }
}

fn layer(settings: BTreeMap<String, Value>, location: &str) -> Layer {
    let own_module = own_module(location);
    let known = settings
        .into_iter()
        .filter_map(|(name, value)| Some((find(&name)?, value)));
    let mut layer = Layer::default();
    for (setting, value) in known {
        let mut written = value.written;
        if let (Written::Function(function), Some(module)) = (&mut written, &own_module)
            && function.module.is_none()
        {
            // Whatever it is, the configuration has it under the setting's name.
            function.module = Some(module.clone());
            function.name = setting.name.to_owned();
        }
        layer.set(Given {
            setting,
            written,
            origin: location.to_owned(),
            provenance: value.provenance,
        });
    }
    layer
}

/// The name by which the configuration itself can be imported, where it has one: `conf.py` has, `gunicorn.conf.py` has not.
fn own_module(location: &str) -> Option<String> {
    if let Some(module) = location.strip_prefix("python:") {
        return Some(module.to_owned());
    }
    let path = location.strip_prefix("file:").unwrap_or(location);
    let name = path.strip_suffix(".py")?;
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    name.chars().all(is_name).then(|| name.to_owned())
}

impl Function {
    /// How `[hooks]` would name it; `None` where nothing can import it by name.
    pub fn path(&self) -> Option<String> {
        let module = self.module.as_deref()?;
        Some(format!("{module}:{}", self.name))
    }
}

fn report(python: &Path, directory: &Path, location: &str) -> Result<Report, ConfigFileError> {
    let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    let mut child = Command::new(python)
        .args(["-c", EVALUATE, location, &names.join(",")])
        .current_dir(directory)
        // What it starts can be ended with it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ConfigFileError::NoPython {
            python: python.to_owned(),
            source,
        })?;
    let told = beside(child.stdout.take(), |pipe| {
        let mut text = Vec::new();
        let _ = pipe.take(REPORT_MAX + 1).read_to_end(&mut text);
        text
    });
    let printed = beside(child.stderr.take(), beginning);
    let told = told.recv_timeout(TIME_MAX);
    end(&mut child);
    let told = told.map_err(|_| ConfigFileError::TooSlow)?;
    if told.len() as u64 > REPORT_MAX {
        return Err(ConfigFileError::TooMuch);
    }
    serde_json::from_slice(&told).map_err(|_| {
        let printed = printed.recv_timeout(Duration::from_secs(1));
        let printed = printed.unwrap_or_default();
        ConfigFileError::Silent {
            printed: match printed.trim() {
                "" => String::new(),
                text => format!(", and said: {text}"),
            },
        }
    })
}

/// Reads on a thread of its own, since a pipe may stay open for as long as anything the file started.
fn beside<T: Send + 'static, P: Read + Send + 'static>(
    pipe: Option<P>,
    read: impl FnOnce(P) -> T + Send + 'static,
) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = pipe {
        // Nobody waits any more after the deadline.
        thread::spawn(move || drop(sender.send(read(pipe))));
    }
    receiver
}

/// Keeps the beginning and lets the rest go by, so that whoever prints is not held up.
fn beginning(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        let room = PRINTED_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The interpreter and all that it left behind in its group.
fn end(child: &mut Child) {
    let group = Pid::from_raw(child.id().cast_signed());
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}
