//! The machine we are on, as the configuration asks for it.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use nix::unistd::{Group, User};

use crate::config::Machine;

/// Where the server was started, looked up once: a later `cd` of nobody changes what relative paths mean.
#[derive(Debug)]
pub(super) struct Here {
    directory: PathBuf,
}

impl Here {
    pub(super) fn find() -> io::Result<Self> {
        let directory = env::current_dir()?;
        let directory = logical(&directory).unwrap_or(directory);
        Ok(Self { directory })
    }

    /// Where another process was started.
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }
}

/// `$PWD` keeps the links that a person went through, so that `current -> releases/7` can be switched under us.
fn logical(directory: &Path) -> Option<PathBuf> {
    let logical = PathBuf::from(env::var_os("PWD")?);
    let identity = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let is_same = logical.is_absolute() && identity(&logical)? == identity(directory)?;
    is_same.then_some(logical)
}

impl Machine for Here {
    /// The standard library regards affinity and the quota of cgroup v1 and v2, which it rounds down.
    fn processors(&self) -> u16 {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        processors.try_into().unwrap_or(u16::MAX)
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn has_user(&self, name: &str) -> bool {
        User::from_name(name).is_ok_and(|user| user.is_some())
    }

    fn has_group(&self, name: &str) -> bool {
        Group::from_name(name).is_ok_and(|group| group.is_some())
    }
}
