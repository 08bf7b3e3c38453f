//! Opening a file for appending, or making it, for a user who must not get more by that than is the user's own.
//!
//! A log often lies in a folder of the user that workers run as, who can put a link to any file of the system in its place.
//! Root would open that file, and the workers could write to it. So such a link is followed only to what belongs to
//! the same user. Links of all others are followed: those who administer the machine made them. Each step begins at a
//! folder that is open, so nothing can be put in its place meanwhile.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat, readlinkat},
    sys::{
        stat::{Mode, fstat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

/// Links in one path, as many as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// How often a file may come and go while it is opened.
const TRIES: usize = 10;

/// A file, open for appending.
#[derive(Debug)]
pub struct LogFile {
    pub file: File,
    /// It was not there before.
    pub is_new: bool,
}

/// Opens the file, or makes it with these permission bits. A link of the user `distrusted` is followed to what is that user's own,
/// else the error is `PermissionDenied`. Never waits: a FIFO that nobody reads is an error (ENXIO).
pub fn open_log_file(path: &Path, mode: u32, distrusted: Option<u32>) -> io::Result<LogFile> {
    let mut walk = Walk {
        folder: open_folder(AT_FDCWD, OsStr::new("."))?,
        ahead: Vec::new(),
        links: 0,
        distrusted,
        ends: Vec::new(),
    };
    walk.head_for(path)?;
    while let Some(name) = walk.ahead.pop() {
        if walk.ahead.is_empty()
            && let Some(file) = walk.open(&name, Mode::from_bits_truncate(mode))?
        {
            return Ok(file);
        }
        walk.enter(&name)?;
    }
    Err(Errno::EISDIR.into())
}

/// On the way to a file.
struct Walk {
    folder: OwnedFd,
    /// Names to come, the next one last.
    ahead: Vec<OsString>,
    /// Followed so far.
    links: usize,
    distrusted: Option<u32>,
    /// For each link of the distrusted user on which we are: how many names are ahead where it ends.
    ends: Vec<usize>,
}

impl Walk {
    fn head_for(&mut self, path: &Path) -> io::Result<()> {
        if path.is_absolute() {
            self.folder = open_folder(AT_FDCWD, OsStr::new("/"))?;
        }
        let names = path.components().rev().filter_map(|part| match part {
            Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.ahead.extend(names);
        Ok(())
    }

    /// The file with this name. `None`: it is a link.
    fn open(&self, name: &OsStr, mode: Mode) -> io::Result<Option<LogFile>> {
        let flags = OFlag::O_WRONLY
            | OFlag::O_APPEND
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let file = |descriptor: OwnedFd, is_new| {
            let file = descriptor.into();
            Ok(Some(LogFile { file, is_new }))
        };
        for _ in 0..TRIES {
            match openat(&self.folder, name, flags | OFlag::O_NOFOLLOW, mode) {
                Ok(descriptor) => {
                    self.check_owner(&descriptor, !self.ends.is_empty())?;
                    return file(descriptor, false);
                }
                // What the kernel's own links lead to has no name.
                Err(Errno::ELOOP) if is_of_the_kernel(&self.folder)? => {
                    return file(openat(&self.folder, name, flags, mode)?, false);
                }
                Err(Errno::ELOOP) => return Ok(None),
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
            self.check_owner(&self.folder, !self.ends.is_empty())?;
            match openat(
                &self.folder,
                name,
                flags | OFlag::O_CREAT | OFlag::O_EXCL,
                mode,
            ) {
                Ok(descriptor) => return file(descriptor, true),
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// Goes into the folder with this name, or onto the link.
    fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        let found = open_folder(&self.folder, name)?;
        let status = fstat(&found)?;
        if status.st_mode & libc::S_IFMT != libc::S_IFLNK {
            self.folder = found;
        } else if is_of_the_kernel(&self.folder)? {
            let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
            self.folder = openat(&self.folder, name, flags, Mode::empty())?;
        } else {
            self.links += 1;
            if self.links > LINKS_MAX {
                return Err(Errno::ELOOP.into());
            }
            if Some(status.st_uid) == self.distrusted {
                self.ends.push(self.ahead.len());
            }
            self.head_for(Path::new(&readlinkat(&found, "")?))?;
        }
        while self.ends.last() == Some(&self.ahead.len()) && !self.ahead.is_empty() {
            self.check_owner(&self.folder, true)?;
            self.ends.pop();
        }
        Ok(())
    }

    /// `is_end`: a link of the distrusted user ends here.
    fn check_owner(&self, reached: impl AsFd, is_end: bool) -> io::Result<()> {
        if is_end && Some(fstat(reached)?.st_uid) != self.distrusted {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "a link of the user that workers run as leads to what is not that user's own",
            ));
        }
        Ok(())
    }
}

/// A folder to go on from, or a link to look at.
fn open_folder(from: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(from, name, flags, Mode::empty())?)
}

/// Whether it is in /proc, where `self/fd/1` looks like a link, and nobody can put one.
fn is_of_the_kernel(folder: &OwnedFd) -> io::Result<bool> {
    Ok(fstatfs(folder)?.filesystem_type() == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read as _, Write as _},
        os::unix::fs::{lchown, symlink},
    };

    use super::*;

    const STRANGER: u32 = 65534;

    fn open(path: &Path) -> io::Result<bool> {
        let mut opened = open_log_file(path, 0o644, Some(STRANGER))?;
        opened.file.write_all(b"line\n")?;
        Ok(opened.is_new)
    }

    #[test]
    fn a_file_is_made_once_and_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("./a/../log");
        fs::create_dir(folder.path().join("a")).unwrap();
        assert!(open(&path).unwrap());
        assert!(!open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\nline\n");
        let error = open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let error = open(&folder.path().join("nowhere/log")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn links_of_others_are_followed_to_files_folders_and_to_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("real/deep")).unwrap();
        symlink("real/deep", at("relative")).unwrap();
        symlink(at("relative"), at("absolute")).unwrap();
        symlink("../up", at("real/deep/dangling")).unwrap();
        assert!(open(&at("absolute/log")).unwrap());
        assert!(open(&at("absolute/dangling")).unwrap());
        assert!(at("real/deep/log").is_file() && at("real/up").is_file());
        symlink("circle", at("circle")).unwrap();
        let error = open(&at("circle")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn what_the_kernel_links_to_is_opened() {
        let (mut reader, writer) = io::pipe().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
        open(Path::new(&format!("/proc/self/fd/{number}"))).unwrap();
        open(Path::new(&format!("/dev/fd/{number}"))).unwrap();
        open(Path::new("/proc/self/cwd/nowhere/log")).unwrap_err();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\nline\n");
    }

    #[test]
    fn a_link_of_the_distrusted_user_leads_to_what_is_that_users_only() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let give = |name: &str| lchown(at(name), Some(STRANGER), None).unwrap();
        for name in ["theirs", "theirs/inside", "roots"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["theirs/file", "roots/file"] {
            fs::write(at(name), "").unwrap();
        }
        for name in ["theirs", "theirs/inside", "theirs/file"] {
            give(name);
        }
        for (link, target) in [
            ("to-their-folder", "theirs"),
            ("to-their-file", "theirs/file"),
            ("to-nothing-there", "theirs/new"),
            ("to-roots-folder", "roots"),
            ("to-roots-file", "roots/file"),
            ("to-nothing-here", "new"),
            ("through", "to-roots-folder"),
            ("around", "theirs/../roots"),
            ("here", "."),
            ("everywhere", "/"),
        ] {
            symlink(target, at(link)).unwrap();
            give(link);
        }
        // A link of root's is followed, and one of theirs behind it is looked at.
        symlink("to-roots-folder", at("roots-link")).unwrap();
        for fit in [
            "to-their-folder/log",
            "to-their-folder/inside/log",
            "to-their-file",
            "to-nothing-there",
        ] {
            open(&at(fit)).unwrap_or_else(|error| panic!("{fit}: {error}"));
        }
        let everywhere = format!("everywhere{}", at("roots/log").display());
        for unfit in [
            "to-roots-folder/log",
            "to-roots-file",
            "to-nothing-here",
            "through/log",
            "around/log",
            "here/roots/log",
            "roots-link/log",
            &everywhere,
        ] {
            let error = open(&at(unfit)).expect_err(unfit);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{unfit}");
        }
        assert!(!at("new").exists() && !at("roots/log").exists());
        assert!(fs::read(at("roots/file")).unwrap().is_empty());
    }
}
