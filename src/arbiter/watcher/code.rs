//! Code that `reload.code` names and `reload.ignore` does not: all files below `chdir` that match, and whether one of them
//! is another one now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{
    Moment,
    place::{Hops, Signature, signature},
};

/// Directories that hold no code of the app's own, and many files.
const SKIPPED: [&str; 3] = ["__pycache__", "node_modules", "site-packages"];
/// More directories are not watched; a person has not written so much code.
const DIRECTORIES_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Code {
    root: PathBuf,
    /// The links that lead to the root, and the root: a release may be swapped by any of them.
    hops: Hops,
    globs: Vec<String>,
    ignored_globs: Vec<String>,
    matcher: GlobSet,
    ignored: GlobSet,
    files: BTreeMap<PathBuf, Option<Signature>>,
    directories: BTreeSet<PathBuf>,
    quiet_at: Option<Moment>,
}

impl Code {
    /// The globs were checked when the configuration was; one that is none after all matches nothing.
    pub(super) fn new(root: &Path, globs: &[String], ignored: &[String]) -> Self {
        let mut code = Self {
            root: root.to_owned(),
            hops: Hops::of(root),
            globs: globs.to_vec(),
            ignored_globs: ignored.to_vec(),
            matcher: matcher(globs),
            ignored: matcher(ignored),
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            quiet_at: None,
        };
        code.scan();
        code
    }

    pub(super) fn is_of(&self, root: &Path, globs: &[String], ignored: &[String]) -> bool {
        self.root == root && self.globs == globs && self.ignored_globs == ignored
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let above = self.hops.directories();
        self.directories.iter().cloned().chain(above)
    }

    pub(super) fn on_touched(&mut self, path: &Path, quiet_at: Moment) {
        if self.matches(path) || self.hops.contains(path) {
            self.quiet_at = Some(quiet_at);
        }
    }

    /// What it holds may match. It does not put off what is waited out: the app may make directories all the time.
    pub(super) fn on_directory_touched(&mut self, path: &Path, quiet_at: Moment) {
        if path.starts_with(&self.root) && !self.is_skipped(path) || self.hops.contains(path) {
            self.look(quiet_at);
        }
    }

    /// A look without having been told.
    pub(super) fn look(&mut self, quiet_at: Moment) {
        self.quiet_at = self.quiet_at.or(Some(quiet_at));
    }

    pub(super) fn quiet_at(&self) -> Option<Moment> {
        self.quiet_at
    }

    /// One of the files that are new, gone or another one. To be read is no change: a worker that boots reads them all.
    pub(super) fn take_changed(&mut self, now: Moment) -> Option<PathBuf> {
        if self.quiet_at.is_none_or(|quiet_at| now < quiet_at) {
            return None;
        }
        self.quiet_at = None;
        let before = std::mem::take(&mut self.files);
        self.scan();
        let differs = |(path, signature): (&PathBuf, &Option<Signature>)| {
            (before.get(path) != Some(signature)).then(|| path.clone())
        };
        let gone = || before.keys().find(|path| !self.files.contains_key(*path));
        let changed = self.files.iter().find_map(differs);
        let changed = changed.or_else(|| gone().cloned())?;
        let relative = changed.strip_prefix(&self.root).unwrap_or(&changed);
        Some(relative.to_owned())
    }

    fn matches(&self, path: &Path) -> bool {
        path.strip_prefix(&self.root).is_ok_and(|relative| {
            self.matcher.is_match(relative) && !self.ignored.is_match(relative)
        })
    }

    fn is_skipped(&self, directory: &Path) -> bool {
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let relative = directory.strip_prefix(&self.root).unwrap_or(directory);
        name.starts_with('.') || SKIPPED.contains(&name.as_ref()) || self.ignored.is_match(relative)
    }

    fn scan(&mut self) {
        self.directories.clear();
        self.hops = Hops::of(&self.root);
        let mut waiting = vec![self.root.clone()];
        while let Some(directory) = waiting.pop() {
            if self.directories.len() >= DIRECTORIES_MAX {
                return;
            }
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_directory && !self.is_skipped(&path) {
                    waiting.push(path);
                } else if !is_directory && self.matches(&path) {
                    self.files.insert(path.clone(), signature(&path));
                }
            }
            self.directories.insert(directory);
        }
    }
}

fn matcher(globs: &[String]) -> GlobSet {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        // As in gitignore: `*` ends at a slash, `**` does not.
        if let Ok(glob) = GlobBuilder::new(glob).literal_separator(true).build() {
            builder.add(glob);
        }
    }
    builder.build().unwrap_or_default()
}
