//! Where things lie, and how one is seen from another.

use std::path::{Component, Path, PathBuf};

use super::Draft;

/// Where things lie.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Where Gunicorn was started.
    pub(super) project: PathBuf,
    /// The directory of the new file; absolute.
    pub(super) file: PathBuf,
    /// Some address is a UNIX socket with a path.
    pub(super) has_unix_socket: bool,
}

impl Places {
    /// Where relative paths of the draft start; absolute.
    pub(super) fn root(&self, draft: &Draft) -> PathBuf {
        match draft.get("chdir").and_then(|entry| entry.value.as_str()) {
            Some(chdir) => clean(&self.file.join(chdir)),
            None => clean(&self.project),
        }
    }
}

/// `None` where they are the same.
pub(super) fn relative(path: &Path, from: &Path) -> Option<String> {
    let clean = clean(path);
    let shown = clean.strip_prefix(from).unwrap_or(&clean);
    (shown != Path::new("")).then(|| shown.display().to_string())
}

/// Without `.` and `..`, as far as the text tells: the file system is not asked.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some() => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_relative_to_the_new_file() {
        let from = Path::new("/srv/site");
        for (path, shown) in [
            ("/srv/site/", None),
            ("/srv/site/app/..", None),
            ("/srv/site/./src", Some("src")),
            ("/opt/app", Some("/opt/app")),
        ] {
            assert_eq!(relative(Path::new(path), from).as_deref(), shown, "{path}");
        }
    }

    #[test]
    fn what_leads_up_is_taken_back_as_far_as_there_is_something() {
        for (path, cleaned) in [("/a/./b/../c", "/a/c"), ("../a", "../a"), ("a/../..", "..")] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path}");
        }
    }
}
