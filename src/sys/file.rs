//! Reading a file that people write: whole, with a bound, and without waiting for anybody.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Fails for what is no file: a pipe that nobody writes to would be waited for, and a device has no end.
pub fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = options.read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other(
            "it is a pipe or a device, and has to be a file",
        ));
    }
    Ok(file)
}

/// All of a file. Fails for one that has more bytes.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open_file(path)?;
    let mut content = Vec::new();
    // Of a directory this fails, with the system's words.
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        let told = format!("it is larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, told));
    }
    Ok(content)
}

/// Why what has this path cannot be had although it is there: where its link leads, and what the system says of that. `None` where
/// nothing is wrong, or nothing there.
pub fn obstacle(path: &Path) -> Option<String> {
    let error = fs::metadata(path).err()?;
    let target = last_target(path);
    if target != path {
        return Some(format!("it is a link to `{}`: {error}", target.display()));
    }
    let is_nothing = matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    );
    (!is_nothing).then(|| error.to_string())
}

/// Where a chain of links ends, or breaks off.
fn last_target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(&path).join(target);
    }
    path
}

/// So many the kernel follows, path_resolution(7).
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_told_with_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("python3", path("python")).unwrap();
        std::os::unix::fs::symlink("/gone/python3.12", path("python3")).unwrap();
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        let told = obstacle(&path("python")).unwrap();
        assert!(
            told.starts_with("it is a link to `/gone/python3.12`: No such file"),
            "{told}"
        );
        assert!(obstacle(&path("loop")).unwrap().contains("symbolic links"));
        assert_eq!(obstacle(&path("nothing")), None);
        assert_eq!(obstacle(folder.path()), None);
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read_file(&path, 4).unwrap(), b"1234");
        let error = read_file(&path, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&fifo, Path::new("/dev/zero")] {
            let error = read_file(path, 3).unwrap_err().to_string();
            assert!(error.contains("has to be a file"), "{error}");
        }
        read_file(folder.path(), 3).unwrap_err();
    }
}
