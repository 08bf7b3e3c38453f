//! The file, the environment and the command line as one source that can be read again and again.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::ArgMatches;

use super::{command::DEFAULT_FILE, flags, machine::Here};
use crate::{
    config::{ConfigLoader, Loaded, Machine as _, Setting, Sources, Standing, load},
    sys::{obstacle, read_file},
};

/// Far above what anybody writes, and nothing to read at each save.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The environment and the flags stay what they were at the start; the file is read at each load.
#[derive(Debug)]
pub struct ConfigSource {
    file: Option<ConfigFile>,
    environment: BTreeMap<String, String>,
    flags: Vec<Setting>,
    here: Here,
}

#[derive(Debug)]
struct ConfigFile {
    /// As it was typed, for messages.
    typed: PathBuf,
    absolute: PathBuf,
}

impl ConfigSource {
    /// The error fits after "cannot start: ".
    pub fn find(typed: &[&ArgMatches]) -> Result<Self, String> {
        let here = Here::find()?;
        let named = typed
            .iter()
            .rev()
            .find_map(|matches| matches.get_one::<PathBuf>("config"));
        if let Some(reason) = named.and_then(|path| gunicorns(path)) {
            return Err(reason);
        }
        // A link that leads nowhere is there, too: without what it should say the server would be another one.
        let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
        let file = named
            .cloned()
            .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(is_there))
            .map(|typed| ConfigFile {
                absolute: here.directory().join(&typed),
                typed,
            });
        // What is no UTF-8 is no setting: no key takes it.
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self {
            file,
            environment,
            flags: typed
                .iter()
                .flat_map(|matches| flags::settings(matches))
                .collect(),
            here,
        })
    }

    /// This file and nothing else: neither the environment nor flags.
    pub(super) fn alone(path: &Path) -> Result<Self, String> {
        let here = Here::find()?;
        Ok(Self {
            file: Some(ConfigFile {
                absolute: here.directory().join(path),
                typed: path.to_owned(),
            }),
            environment: BTreeMap::new(),
            flags: Vec::new(),
            here,
        })
    }

    /// The source of a server that runs already.
    pub(super) fn of(standing: Standing) -> Self {
        Self {
            file: standing.file.map(|path| ConfigFile {
                typed: path.clone(),
                absolute: path,
            }),
            environment: standing.environment,
            flags: standing.flags,
            here: Here::at(standing.directory),
        }
    }

    /// Rendered problems have colours where `color` says so.
    pub fn load_with(&self, color: bool) -> Result<Loaded, String> {
        self.load_as(self.text()?, color)
    }

    /// As if the file held this text.
    pub(super) fn load_as(&self, text: Option<String>, color: bool) -> Result<Loaded, String> {
        let name = self.file.as_ref().map(|file| file.typed.clone());
        let sources = Sources {
            file: name.zip(text),
            environment: self.environment.clone(),
            flags: self.flags.clone(),
        };
        load(&sources, &self.here).map_err(|problems| problems.render(color))
    }

    /// The file as it was typed.
    pub fn name(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.typed.as_path())
    }
}

/// What to do with a configuration of Gunicorn's, which is Python.
fn gunicorns(path: &Path) -> Option<String> {
    let text = path.to_string_lossy();
    let is_location = ["python:", "file:"]
        .iter()
        .any(|kind| text.starts_with(kind));
    let is_python = path.extension().is_some_and(|end| end == "py");
    (is_python || (is_location && !path.exists())).then(|| {
        format!(
            "`{text}` is a configuration of Gunicorn's, and `-c` takes TOML\n  \
             = help: `rgunicorn migrate {text}` makes an `{DEFAULT_FILE}` of it"
        )
    })
}

/// The text of a config file, or why it is none.
pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let bytes = read_file(path, FILE_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(),
        kind => match obstacle(path) {
            Some(obstacle) => format!("{obstacle}; {BRING_BACK}"),
            None if kind == io::ErrorKind::NotFound => {
                format!("there is no such file; {BRING_BACK}")
            }
            None => error.to_string(),
        },
    })?;
    as_text(bytes)
}

const BRING_BACK: &str = "bring it back, or name another with `-c`";

/// The same of what is read to its end.
pub(super) fn text_from(input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = input.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(too_large()),
        false => as_text(bytes),
    }
}

fn too_large() -> String {
    format!(
        "it is larger than {} MiB, which no configuration is; name the right file, or bring it back",
        FILE_BYTES_MAX >> 20
    )
}

fn as_text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("line {line} is not UTF-8; save it as UTF-8, or bring the right file back")
    })
}

impl ConfigLoader for ConfigSource {
    fn text(&self) -> Result<Option<String>, String> {
        let read = |file: &ConfigFile| {
            text_of(&file.absolute).map_err(|reason| {
                format!("error: cannot read `{}`: {reason}", file.typed.display())
            })
        };
        self.file.as_ref().map(read).transpose()
    }

    fn load(&self, text: Option<String>) -> Result<Loaded, String> {
        self.load_as(text, false)
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.absolute.as_path())
    }

    fn standing(&self) -> Standing {
        Standing {
            file: self.path().map(Path::to_owned),
            directory: self.here.directory().to_owned(),
            environment: self.environment.clone(),
            flags: self.flags.clone(),
        }
    }
}
