//! What has to be on the machine: directories, the interpreter, user and group.

use std::path::{Path, PathBuf};

use super::Resolver;
use crate::config::{Origin, file::NameOrNumber};

const MAKE_IT: &str = "make it, or name another; a relative path begins at `chdir`";

impl Resolver<'_> {
    /// In the file a relative path starts at the file, elsewhere where the server was started.
    pub(super) fn chdir(&mut self, written: Option<&str>, file: Option<&Path>) -> PathBuf {
        let here = self.machine.directory();
        let beside_file = file
            .and_then(Path::parent)
            .map_or_else(|| here.to_owned(), |folder| here.join(folder));
        let origin = self.places.find("/chdir").map(|place| &place.origin);
        let base = match origin {
            Some(Origin::Environment(_) | Origin::Flag(_)) => here,
            Some(Origin::File { .. }) | None => &beside_file,
        };
        // Collected anew, a path has neither `.` nor a slash at its end.
        let path: PathBuf = base
            .join(written.unwrap_or_default())
            .components()
            .collect();
        if written.is_some() {
            self.check_directory("/chdir", &path, "`chdir`: ", "make it, or name another");
        }
        path
    }

    /// A bare name is for `PATH`.
    pub(super) fn python(&mut self, text: &str, chdir: &Path) -> PathBuf {
        if !text.contains('/') {
            return PathBuf::from(text);
        }
        let path = chdir.join(text);
        // The arbiter takes a directory for the virtualenv in it.
        let inner = path.join("bin/python");
        if !self.machine.is_file(&path) && !self.machine.is_file(&inner) {
            let mut obstacles = [&path, &inner].into_iter().filter_map(|path| {
                let obstacle = self.machine.obstacle(path)?;
                let path = path.display();
                Some(format!(
                    "the Python interpreter `{path}` cannot be reached: {obstacle}"
                ))
            });
            let title = obstacles.next();
            let nothing = || format!("there is no Python interpreter `{}`", path.display());
            let title = title.unwrap_or_else(nothing);
            let help = "name a virtualenv or its bin/python; a relative path begins at `chdir`";
            self.problem("/python", title, "", Some(help.to_owned()));
        }
        path
    }

    pub(super) fn user(&mut self, written: Option<NameOrNumber>) -> Option<String> {
        let user = written?.0;
        if !is_number(&user) {
            let help = format!("make it: `useradd --system {user}`");
            let is_there = self.machine.has_user(&user);
            self.account("user", &user, is_there, help);
        }
        Some(user)
    }

    pub(super) fn group(&mut self, written: Option<NameOrNumber>) -> Option<String> {
        let group = written?.0;
        if !is_number(&group) {
            let help = format!("make it: `groupadd --system {group}`");
            let is_there = self.machine.has_group(&group);
            self.account("group", &group, is_there, help);
        }
        Some(group)
    }

    fn account(&mut self, key: &str, name: &str, is_there: Result<bool, String>, help: String) {
        let (title, help) = match is_there {
            Ok(true) => return,
            Ok(false) => (format!("there is no {key} `{name}`"), Some(help)),
            Err(reason) => (
                format!("the {key} `{name}` cannot be looked up: {reason}"),
                None,
            ),
        };
        self.problem(&format!("/{key}"), title, "", help);
    }

    /// Which of Python's ways to configure logging is meant is told by the name.
    pub(super) fn python_config(&mut self, path: PathBuf) -> PathBuf {
        let pointer = "/log/python_config";
        let known = path.extension().and_then(|name| name.to_str());
        if !self.machine.is_file(&path) {
            let shown = path.display();
            let title = match self.machine.obstacle(&path) {
                Some(obstacle) => format!("the file `{shown}` cannot be reached: {obstacle}"),
                None => format!("there is no file `{shown}`"),
            };
            self.problem(pointer, title, "", None);
        } else if !matches!(known, Some("toml" | "json" | "ini" | "conf" | "cfg")) {
            let title = "`log.python_config` must end in .toml, .json, .ini, .conf or .cfg";
            self.problem(pointer, title.to_owned(), "", None);
        }
        path
    }

    /// The directory of a file that the server will make has to be there.
    pub(super) fn file_to_make(&mut self, pointer: &str, path: PathBuf) -> PathBuf {
        let folder = path.parent().unwrap_or(&path);
        self.check_directory(pointer, folder, "", MAKE_IT);
        path
    }

    /// `help` is for a directory that is not there.
    fn check_directory(&mut self, pointer: &str, path: &Path, lead: &str, help: &str) {
        if self.machine.is_directory(path) {
            return;
        }
        let shown = path.display();
        let (lack, help) = match self.machine.obstacle(path) {
            Some(obstacle) => (
                format!("the directory `{shown}` cannot be reached: {obstacle}"),
                None,
            ),
            None => (
                format!("there is no directory `{shown}`"),
                Some(help.to_owned()),
            ),
        };
        self.problem(pointer, format!("{lead}{lack}"), "", help);
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
