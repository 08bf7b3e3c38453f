//! Which Python runs the app: found, tried out, and refused with a reason before anything depends on it.
//!
//! The order: `python` of the configuration; the interpreter of the environment that rgunicorn is installed in;
//! `$VIRTUAL_ENV`; `python3` on the PATH. The first that exists is it: a broken one is an error and never a reason to
//! take another, which would run the app with other packages.

mod probe;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::barrier::barrier;
use crate::{
    config::Config,
    sys::{Identity, obstacle},
};

/// The oldest CPython the engine loads in: it is built for the stable ABI of this version (pyo3's `abi3-py310`).
const OLDEST: (u8, u8) = (3, 10);
/// How long an interpreter may take to say what it is.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);

/// An interpreter that can load the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// What to execute. Inside its virtualenv, where there is one: links are not followed, that is how Python finds it.
    pub path: PathBuf,
    /// `3.12.1`
    pub version: String,
    pub origin: Origin,
}

/// Why this interpreter and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    Configured,
    BesideBinary,
    VirtualEnv,
    /// By its name, which the configuration has.
    NamedOnPath,
    SearchPath,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Configured => "`python` in the configuration",
            Self::NamedOnPath => "`python` in the configuration, found on the PATH",
            Self::BesideBinary => "the environment that rgunicorn is installed in",
            Self::VirtualEnv => "$VIRTUAL_ENV",
            Self::SearchPath => "python3 on the PATH",
        })
    }
}

/// Why the app has no interpreter. Each says which one was looked at, why that one, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    #[error(
        "there is no interpreter `{}` ({origin}); give the path of a virtualenv or of its bin/python",
        path.display()
    )]
    Missing { path: PathBuf, origin: Origin },
    #[error(
        "the interpreter `{}` ({origin}) cannot be reached: {obstacle}; mend that, or give the path of a virtualenv or of its bin/python",
        path.display()
    )]
    Unreachable {
        path: PathBuf,
        origin: Origin,
        obstacle: String,
    },
    #[error(
        "there is no `{name}` (`python` in the configuration), neither in `chdir` nor on the PATH; install it, or give the path \
         of a virtualenv or of its bin/python"
    )]
    NotOnPath { name: String },
    #[error(
        "there is no python3 on the PATH; install CPython 3.10 or newer, or name one with `python`"
    )]
    NoneFound,
    #[error("`{}` ({origin}) cannot be executed{barrier}: {source}", path.display())]
    NotExecutable {
        path: PathBuf,
        origin: Origin,
        /// Who was to execute it, and what keeps them from it.
        barrier: String,
        source: io::Error,
    },
    #[error(
        "none can be started without `/dev/null`, which cannot be opened: {source}; mount a `/dev` that has it"
    )]
    NoNull { source: io::Error },
    #[error("`{}` ({origin}) did not say within {} seconds which Python it is", path.display(), PROBE_TIME_MAX.as_secs())]
    Silent { path: PathBuf, origin: Origin },
    #[error("`{}` ({origin}) is no Python 3 that works: {said}", path.display())]
    NotPython {
        path: PathBuf,
        origin: Origin,
        said: String,
    },
    #[error("`{}` ({origin}) is {implementation}, and rgunicorn runs on CPython only", path.display())]
    NotCPython {
        path: PathBuf,
        origin: Origin,
        implementation: String,
    },
    #[error("`{}` ({origin}) is Python {version}, which is too old", path.display())]
    TooOld {
        path: PathBuf,
        origin: Origin,
        version: String,
    },
    #[error(
        "`{}` ({origin}) is a free-threaded build of Python {version}, which cannot load rgunicorn's engine; name a build with the GIL",
        path.display()
    )]
    FreeThreaded {
        path: PathBuf,
        origin: Origin,
        version: String,
    },
    #[error(
        "`worker_class = \"{package}\"` needs the package {package}, which `{0}` ({origin}) does not have; \
         install it with `{0} -m pip install {package}`",
        path.display()
    )]
    NoPackage {
        path: PathBuf,
        origin: Origin,
        package: &'static str,
    },
}

impl InterpreterError {
    /// The key that asks for it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::NoPackage { .. } => "worker_class",
            _ if self.is_about_the_user() => "user",
            _ => "python",
        }
    }

    /// Whether the configured user has not the right to it.
    fn is_about_the_user(&self) -> bool {
        matches!(self, Self::NotExecutable { barrier, source, .. }
            if !barrier.is_empty() && source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// What helps, where the message does not say it itself.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            // It is not the interpreter's fault.
            Self::NotExecutable { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                None
            }
            _ if self.is_about_the_user() => None,
            Self::NotPython { .. } | Self::NotExecutable { .. } => {
                Some("name a virtualenv or its bin/python in `python`")
            }
            Self::NotCPython { .. } | Self::TooOld { .. } => Some(
                "name CPython 3.10 or newer in `python`, or a virtualenv that was made with it",
            ),
            _ => None,
        }
    }
}

/// Finds the interpreter of a configuration and tries it out, as whom it will run. Waits for it, at most [`PROBE_TIME_MAX`].
pub fn find(config: &Config, identity: Option<&Identity>) -> Result<Interpreter, InterpreterError> {
    let (path, origin) = locate(config)?;
    let surroundings = probe::Surroundings {
        chdir: &config.chdir,
        env: &config.env,
        python_path: &config.python_path,
        identity,
    };
    let package = config.worker_class.package();
    let facts = probe::probe(&path, surroundings, package, PROBE_TIME_MAX).map_err(|failure| {
        let path = path.clone();
        if let Some(obstacle) = obstacle(&path) {
            return InterpreterError::Unreachable {
                path,
                origin,
                obstacle,
            };
        }
        match failure {
            probe::Failure::Missing => InterpreterError::Missing { path, origin },
            probe::Failure::NotExecutable(source) => InterpreterError::NotExecutable {
                barrier: barrier(config, identity, &path, &source),
                path,
                origin,
                source,
            },
            probe::Failure::NoNull(source) => InterpreterError::NoNull { source },
            probe::Failure::Silent => InterpreterError::Silent { path, origin },
            probe::Failure::Nonsense(said) => InterpreterError::NotPython { path, origin, said },
        }
    })?;
    judge(path, origin, facts, package)
}

/// Decides from what the interpreter said about itself.
fn judge(
    path: PathBuf,
    origin: Origin,
    facts: probe::Facts,
    package: Option<&'static str>,
) -> Result<Interpreter, InterpreterError> {
    let version = facts.version_text();
    if facts.implementation != "CPython" {
        let implementation = format!("{} {version}", facts.implementation);
        return Err(InterpreterError::NotCPython {
            path,
            origin,
            implementation,
        });
    }
    if (facts.version.0, facts.version.1) < OLDEST {
        return Err(InterpreterError::TooOld {
            path,
            origin,
            version,
        });
    }
    if facts.free_threaded {
        return Err(InterpreterError::FreeThreaded {
            path,
            origin,
            version,
        });
    }
    if let Some(package) = package.filter(|_| !facts.has_package) {
        return Err(InterpreterError::NoPackage {
            path,
            origin,
            package,
        });
    }
    // On the PATH there may be a script that picks an interpreter by directory and time (pyenv's shims); it has picked.
    let path = match origin {
        Origin::SearchPath | Origin::NamedOnPath => facts.executable.unwrap_or(path),
        Origin::Configured | Origin::BesideBinary | Origin::VirtualEnv => path,
    };
    Ok(Interpreter {
        path,
        version,
        origin,
    })
}

fn locate(config: &Config) -> Result<(PathBuf, Origin), InterpreterError> {
    if let Some(configured) = &config.python {
        return named(configured, &config.chdir);
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|binary| binary.parent().map(|folder| folder.join("python")))
        .filter(|path| is_there(path) && !path.is_dir());
    if let Some(path) = beside {
        return Ok((path, Origin::BesideBinary));
    }
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV").filter(|value| !value.is_empty()) {
        let path = Path::new(&environment).join("bin/python");
        return Ok((path, Origin::VirtualEnv));
    }
    on_path(Path::new("python3"))
        .map(|path| (path, Origin::SearchPath))
        .ok_or(InterpreterError::NoneFound)
}

/// A bare name may be a virtualenv in `chdir`, too.
fn named(configured: &Path, chdir: &Path) -> Result<(PathBuf, Origin), InterpreterError> {
    let path = chdir.join(configured);
    let is_bare = configured.components().count() == 1 && configured.is_relative();
    if !is_bare || is_there(&path) {
        return Ok((in_environment(&path), Origin::Configured));
    }
    let found = on_path(configured).map(|path| (path, Origin::NamedOnPath));
    found.ok_or_else(|| InterpreterError::NotOnPath {
        name: configured.display().to_string(),
    })
}

/// A link that leads nowhere is there, too.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn on_path(name: &Path) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// A directory stands for the virtualenv in it.
fn in_environment(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.join("bin/python");
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        implementation: &str,
        version: (u8, u8, u8),
        free_threaded: bool,
    ) -> Result<Interpreter, InterpreterError> {
        let facts = probe::Facts {
            implementation: implementation.to_owned(),
            version,
            free_threaded,
            executable: Some("/real/python".into()),
            has_package: true,
        };
        judge("/shim/python3".into(), Origin::SearchPath, facts, None)
    }

    #[test]
    fn what_a_shim_picked_is_run_without_it() {
        let interpreter = judged("CPython", (3, 13, 0), false).unwrap();
        assert_eq!(interpreter.path, Path::new("/real/python"));
        assert_eq!(interpreter.version, "3.13.0");
    }

    #[test]
    fn an_old_a_foreign_and_a_free_threaded_one_are_refused_by_name() {
        let said = |result: Result<Interpreter, InterpreterError>| result.unwrap_err().to_string();
        assert_eq!(
            said(judged("CPython", (3, 9, 18), false)),
            "`/shim/python3` (python3 on the PATH) is Python 3.9.18, which is too old"
        );
        assert_eq!(
            said(judged("PyPy", (3, 11, 9), false)),
            "`/shim/python3` (python3 on the PATH) is PyPy 3.11.9, and rgunicorn runs on CPython only"
        );
        let help = judged("CPython", (3, 9, 18), false).unwrap_err().help();
        assert_eq!(
            help,
            Some("name CPython 3.10 or newer in `python`, or a virtualenv that was made with it")
        );
        assert!(said(judged("CPython", (3, 13, 1), true)).contains("free-threaded"));
    }

    #[test]
    fn a_package_that_is_not_there_is_told_with_the_command_that_installs_it() {
        let facts = probe::Facts {
            implementation: "CPython".to_owned(),
            version: (3, 12, 1),
            free_threaded: false,
            executable: None,
            has_package: false,
        };
        let path = "/srv/venv/bin/python".into();
        let refused = judge(path, Origin::Configured, facts, Some("gevent")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`worker_class = \"gevent\"` needs the package gevent, which `/srv/venv/bin/python` (`python` in the \
             configuration) does not have; install it with `/srv/venv/bin/python -m pip install gevent`"
        );
    }

    #[test]
    fn a_directory_stands_for_the_virtualenv_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            in_environment(folder.path()),
            folder.path().join("bin/python")
        );
        let file = folder.path().join("python3.12");
        assert_eq!(in_environment(&file), file);
    }
}
