//! A file that a command makes.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, fchown},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Never over what somebody wrote, unless they said so, and then as a whole or not at all: a server may read it meanwhile.
pub(super) fn save(path: &Path, text: &str, is_forced: bool) -> Result<(), String> {
    let there = fs::metadata(path).ok().filter(Metadata::is_file);
    let written = match there.filter(|_| is_forced) {
        Some(there) => replace(path, &there, text),
        None => create(path, text, is_forced),
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "`{}` is there already; `--force` writes over it, `-o` names another",
            path.display()
        ),
        _ => format!("cannot write `{}`: {error}", path.display()),
    })
}

fn create(path: &Path, text: &str, is_forced: bool) -> io::Result<()> {
    let mut file = match is_forced {
        true => File::create(path)?,
        false => File::create_new(path)?,
    };
    file.write_all(text.as_bytes())
}

/// Links to the file, its permissions and, where that is allowed, its owner stay.
fn replace(path: &Path, there: &Metadata, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(path)?;
    let folder = target.parent().map(Path::to_owned);
    let mut beside = NamedTempFile::new_in(folder.unwrap_or(PathBuf::from("/")))?;
    beside.write_all(text.as_bytes())?;
    let file = beside.as_file();
    let _only_root_can = fchown(file, Some(there.uid()), Some(there.gid()));
    file.set_permissions(there.permissions())?;
    file.sync_all()?;
    beside.persist(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_takes_the_place_of_a_file_is_all_there_before_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.toml"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a.toml", &link).unwrap();
        let before = File::open(&path).unwrap();
        save(&link, "new", true).unwrap();
        assert_eq!(io::read_to_string(before).unwrap(), "old");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(link.is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_who_says_so_writes_over_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        save(&path, "first", false).unwrap();
        let refused = save(&path, "second", false).unwrap_err();
        assert!(refused.contains("is there already"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        save(&folder.path().join("b.toml"), "new", true).unwrap();
    }
}
