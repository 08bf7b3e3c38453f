//! The machine we are on, as the configuration asks for it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use crate::{config::Machine, sys};

/// Where the server was started, looked up once: a later `cd` of nobody changes what relative paths mean.
#[derive(Debug)]
pub(super) struct Here {
    directory: PathBuf,
    /// Those that were there. The database of accounts may be a network away, and a server that reads its file at each save
    /// should not wait for it: it is asked for new names only.
    users: RefCell<BTreeSet<String>>,
    groups: RefCell<BTreeSet<String>>,
}

impl Here {
    /// The error fits after "cannot start: ".
    pub(super) fn find() -> Result<Self, String> {
        let directory = current_directory()?;
        let directory = logical(&directory).unwrap_or(directory);
        Ok(Self::at(directory))
    }

    /// Where another process was started.
    pub(super) fn at(directory: PathBuf) -> Self {
        Self {
            directory,
            users: RefCell::default(),
            groups: RefCell::default(),
        }
    }
}

/// Where the command was typed; the error is a sentence.
pub(super) fn current_directory() -> Result<PathBuf, String> {
    env::current_dir().map_err(|error| format!("the current directory is gone: {error}"))
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

    fn obstacle(&self, path: &Path) -> Option<String> {
        sys::obstacle(path)
    }

    fn has_user(&self, name: &str) -> Result<bool, String> {
        is_there(name, &self.users, sys::has_user)
    }

    fn has_group(&self, name: &str) -> Result<bool, String> {
        is_there(name, &self.groups, sys::has_group)
    }
}

fn is_there(
    name: &str,
    known: &RefCell<BTreeSet<String>>,
    look_up: impl FnOnce(&str) -> io::Result<bool>,
) -> Result<bool, String> {
    if known.borrow().contains(name) {
        return Ok(true);
    }
    let is_there = look_up(name).map_err(|error| error.to_string())?;
    if is_there {
        known.borrow_mut().insert(name.to_owned());
    }
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_there_is_not_looked_up_again() {
        let known = RefCell::default();
        let never = |_: &str| -> io::Result<bool> { panic!("looked up") };
        let broken = |_: &str| Err(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(is_there("web", &known, |_| Ok(false)), Ok(false));
        assert_eq!(is_there("web", &known, broken), Err("timed out".to_owned()));
        assert_eq!(is_there("web", &known, |_| Ok(true)), Ok(true));
        assert_eq!(is_there("web", &known, never), Ok(true));
    }
}
