//! The CPython interpreters of this machine.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub path: PathBuf,
    /// Major and minor.
    pub version: (u32, u32),
}

impl Interpreter {
    /// The CPython at this path, if there is one that runs.
    pub fn at(path: &Path) -> Option<Self> {
        let code = "import sys; print(sys.implementation.name, *sys.version_info[:2])";
        let output = Command::new(path).args(["-c", code]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut words = text.split_whitespace();
        (words.next()? == "cpython").then_some(())?;
        let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self {
            path: path.to_owned(),
            version,
        })
    }

    /// Whether it is new enough for the engine and does not have this package.
    pub fn lacks(&self, package: &str) -> bool {
        let question = format!(
            "import sys; from importlib.util import find_spec; sys.exit(sys.version_info < (3, 10) or bool(find_spec('{package}')))"
        );
        let status = Command::new(&self.path).args(["-c", &question]).status();
        status.is_ok_and(|status| status.success())
    }
}

/// One interpreter for each version of CPython found on PATH or in pyenv's and uv's folders, oldest first.
pub fn interpreters() -> &'static [Interpreter] {
    static FOUND: OnceLock<Vec<Interpreter>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut by_version = BTreeMap::new();
        for path in candidates() {
            if let Some(found) = Interpreter::at(&path) {
                by_version.entry(found.version).or_insert(found);
            }
        }
        by_version.into_values().collect()
    })
}

fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .filter(|folder| !folder.ends_with("shims"))
        .collect();
    if let Some(home) = env::home_dir() {
        for versions in [".pyenv/versions", ".local/share/uv/python"] {
            let installed = fs::read_dir(home.join(versions)).into_iter().flatten();
            folders.extend(installed.flatten().map(|entry| entry.path().join("bin")));
        }
    }
    let names = (6..=14).map(|minor| format!("python3.{minor}"));
    let names: Vec<String> = names.chain(["python3".to_owned()]).collect();
    folders
        .iter()
        .flat_map(|folder| names.iter().map(|name| folder.join(name)))
        .filter(|path| path.is_file())
        .collect()
}
