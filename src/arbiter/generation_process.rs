//! A generation as the arbiter sees it: a process, and the channel to it.
//!
//! It runs in a process group of its own and ignores the signals by which a terminal or a service manager ends a whole
//! group: the arbiter alone decides when a generation and its workers go. Should the arbiter die, the channel and the
//! lifeline end, which is what the others watch.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::{activation::VARIABLES, barrier::barrier, interpreter::Interpreter};
use crate::{
    config::Config,
    sys::{Identity, IdentityError, Inheritance, PidFd, spawn},
    wire::{ArbiterEnd, channel},
};

/// Loads the engine from its path; see the file.
const BOOTSTRAP: &str = include_str!("../generation/bootstrap.py");
/// Signals that reach whole groups of processes and that a generation leaves to the arbiter.
const IGNORED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];
/// As in Gunicorn: in the environment of the app, and in the environ of its requests.
pub const SERVER_SOFTWARE: &str = concat!("rgunicorn/", env!("CARGO_PKG_VERSION"));

/// A running generation. Its exit is told by [`crate::sys::reap_any`], or by its `pidfd` becoming readable.
#[derive(Debug)]
pub struct GenerationProcess {
    pub pid: u32,
    pub pidfd: PidFd,
    /// `Hello` is the first message to come, `Start` the first to send.
    pub channel: ArbiterEnd,
}

/// Why a generation cannot be started. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("`{path}` cannot be started in `{directory}`{barrier}")]
    Exec {
        path: String,
        directory: String,
        /// What keeps the configured user from it, if that is found out.
        barrier: String,
        #[source]
        source: io::Error,
    },
    #[error("no channel to a new generation can be opened")]
    Channel(#[source] io::Error),
}

impl GenerationProcess {
    /// Executes the interpreter with the engine. It serves nothing yet, and waits for `Start`.
    pub fn spawn(
        interpreter: &Interpreter,
        engine: &Path,
        config: &Config,
    ) -> Result<Self, SpawnError> {
        let identity = Identity::resolve(config.user.as_deref(), config.group.as_deref())?;
        let (channel, descriptor) = channel().map_err(SpawnError::Channel)?;
        let mut command = Command::new(&interpreter.path);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command
            // The text of the bootstrap also gives the process title its room: it is written over the command line.
            .args(["-c", BOOTSTRAP])
            .arg(engine)
            .arg(std::os::fd::AsRawFd::as_raw_fd(&descriptor).to_string())
            .envs(&config.env)
            .env("SERVER_SOFTWARE", SERVER_SOFTWARE)
            .current_dir(&config.chdir)
            .stdin(Stdio::null());
        let inheritance = Inheritance {
            descriptor: Some(descriptor),
            identity: identity.clone(),
            umask: config.umask,
            ignored: IGNORED.to_vec(),
        };
        let (pid, pidfd) = spawn(command, inheritance).map_err(|source| SpawnError::Exec {
            path: interpreter.path.display().to_string(),
            directory: config.chdir.display().to_string(),
            barrier: barrier(config, identity.as_ref(), &interpreter.path, &source),
            source,
        })?;
        Ok(Self {
            pid,
            pidfd,
            channel,
        })
    }
}
