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
        if written.is_some() && !self.machine.is_directory(&path) {
            let title = format!("`chdir`: there is no directory `{}`", path.display());
            let help = "make it, or name another";
            self.problem("/chdir", title, "", Some(help.to_owned()));
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
        if !self.machine.is_file(&path) && !self.machine.is_file(&path.join("bin/python")) {
            let title = format!("there is no Python interpreter `{}`", path.display());
            let help = "name a virtualenv or its bin/python; a relative path begins at `chdir`";
            self.problem("/python", title, "", Some(help.to_owned()));
        }
        path
    }

    pub(super) fn user(&mut self, written: Option<NameOrNumber>) -> Option<String> {
        let user = written?.0;
        if !is_number(&user) && !self.machine.has_user(&user) {
            let help = format!("make it: `useradd --system {user}`");
            self.problem(
                "/user",
                format!("there is no user `{user}`"),
                "",
                Some(help),
            );
        }
        Some(user)
    }

    pub(super) fn group(&mut self, written: Option<NameOrNumber>) -> Option<String> {
        let group = written?.0;
        if !is_number(&group) && !self.machine.has_group(&group) {
            let help = format!("make it: `groupadd --system {group}`");
            self.problem(
                "/group",
                format!("there is no group `{group}`"),
                "",
                Some(help),
            );
        }
        Some(group)
    }

    /// Which of Python's ways to configure logging is meant is told by the name.
    pub(super) fn python_config(&mut self, path: PathBuf) -> PathBuf {
        let pointer = "/log/python_config";
        let known = path.extension().and_then(|name| name.to_str());
        if !self.machine.is_file(&path) {
            let title = format!("there is no file `{}`", path.display());
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
        if !self.machine.is_directory(folder) {
            let title = format!("there is no directory `{}`", folder.display());
            self.problem(pointer, title, "", Some(MAKE_IT.to_owned()));
        }
        path
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
