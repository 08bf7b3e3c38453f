//! The file, the environment and the command line as one source that can be read again and again.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use clap::ArgMatches;

use super::{command::DEFAULT_FILE, flags, machine::Here};
use crate::config::{ConfigLoader, Loaded, Machine as _, Setting, Sources, Standing, load};

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
        let here =
            Here::find().map_err(|error| format!("the current directory is gone: {error}"))?;
        let named = typed
            .iter()
            .rev()
            .find_map(|matches| matches.get_one::<PathBuf>("config"));
        let file = named
            .cloned()
            .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.is_file()))
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
        let here =
            Here::find().map_err(|error| format!("the current directory is gone: {error}"))?;
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
        let file = match &self.file {
            Some(file) => {
                let text = fs::read_to_string(&file.absolute).map_err(|error| {
                    format!("error: cannot read `{}`: {error}", file.typed.display())
                })?;
                Some((file.typed.clone(), text))
            }
            None => None,
        };
        self.load_text(file, color)
    }

    /// As if the file held this text.
    pub(super) fn load_as(&self, text: String, color: bool) -> Result<Loaded, String> {
        let file = self.file.as_ref().map(|file| (file.typed.clone(), text));
        self.load_text(file, color)
    }

    fn load_text(&self, file: Option<(PathBuf, String)>, color: bool) -> Result<Loaded, String> {
        let sources = Sources {
            file,
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

impl ConfigLoader for ConfigSource {
    fn load(&self) -> Result<Loaded, String> {
        self.load_with(false)
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
