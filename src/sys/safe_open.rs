//! Opening a file, or making it, for a user who must not get more by that than is the user's own.
//!
//! Logs and the pidfile often lie in a folder of the user that workers run as, who can put a link to any file of the system in
//! their place. Root would open that file, and the workers could write to it. So such a link is followed only to what belongs to
//! the same user. Links of all others are followed: those who administer the machine made them. That is not so in a folder like
//! /tmp, where strangers make links and files. Each step begins at a folder that is open, so nothing can be put in its place meanwhile.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::{Component, Path},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, readlinkat},
    sys::{
        stat::{FileStat, Mode, fstat, fstatat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

/// Links in one path, as many as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// How often a file may come and go while it is opened.
const TRIES: usize = 10;

/// A file that is open, and where it is.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub place: Place,
    /// It was not there before.
    pub is_new: bool,
}

/// Opens a file for appending, or makes it with these permission bits. A link of the user `distrusted` is followed to what is
/// that user's own, else the error is `PermissionDenied`. Never waits: a FIFO that nobody reads is an error (ENXIO).
pub fn open_log_file(path: &Path, mode: u32, distrusted: Option<u32>) -> io::Result<Opened> {
    open_or_make(path, OFlag::O_WRONLY | OFlag::O_APPEND, mode, distrusted)
}

/// The same for reading and writing.
pub fn open_pidfile(path: &Path, mode: u32, distrusted: Option<u32>) -> io::Result<Opened> {
    open_or_make(path, OFlag::O_RDWR, mode, distrusted)
}

fn open_or_make(
    path: &Path,
    access: OFlag,
    mode: u32,
    distrusted: Option<u32>,
) -> io::Result<Opened> {
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    for _ in 0..TRIES {
        let place = Place::find(path, distrusted)?;
        let (opened, is_new) = match place.open(flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (place.make(flags, Mode::from_bits_truncate(mode)), true)
            }
            opened => (opened, false),
        };
        match opened {
            Ok(file) => {
                return Ok(Opened {
                    file,
                    place,
                    is_new,
                });
            }
            // A file or a link came there meanwhile.
            Err(error)
                if [Some(libc::EEXIST), Some(libc::ELOOP)].contains(&error.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EAGAIN.into())
}

/// Where a path ends: a name in a folder that is open. The name is that of no link.
#[derive(Debug)]
pub struct Place {
    folder: OwnedFd,
    name: OsString,
    /// It is one of the kernel's links in /proc: what those lead to has no name.
    is_kernel_link: bool,
    /// A link of the distrusted user ends here.
    is_end: bool,
    distrusted: Option<u32>,
}

impl Place {
    /// Goes there. Nothing has to have the name yet.
    pub fn find(path: &Path, distrusted: Option<u32>) -> io::Result<Self> {
        let mut walk = Walk {
            folder: open_folder(AT_FDCWD, OsStr::new("."))?,
            ahead: Vec::new(),
            links: 0,
            distrusted,
            ends: Vec::new(),
        };
        walk.head_for(path)?;
        while let Some(name) = walk.ahead.pop() {
            if walk.ahead.is_empty() {
                let is_link = is_link(&walk.folder, &name)?;
                let is_kernel_link = is_link && is_of_the_kernel(&walk.folder)?;
                if !is_link || is_kernel_link {
                    return Ok(Self {
                        folder: walk.folder,
                        name,
                        is_kernel_link,
                        is_end: !walk.ends.is_empty(),
                        distrusted,
                    });
                }
            }
            walk.enter(&name)?;
        }
        Err(Errno::EISDIR.into())
    }

    /// Whether the file still has this name.
    pub fn holds(&self, file: &File) -> bool {
        let found = fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let (Ok(found), Ok(ours)) = (found, fstat(file)) else {
            return false;
        };
        (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
    }

    /// Removes the file, if it still has this name.
    pub fn remove(&self, file: &File) {
        if self.holds(file) {
            let _gone_already = unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir);
        }
    }

    fn open(&self, flags: OFlag) -> io::Result<File> {
        if self.is_kernel_link {
            return self.open_through_kernel_link(flags);
        }
        // Looked at before, too: to open a device may be to start it.
        let found = fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        self.check(&found)?;
        check_stranger(&self.folder, &found, self.distrusted)?;
        let flags = flags | OFlag::O_NOFOLLOW;
        let file = openat(&self.folder, &*self.name, flags, Mode::empty())?;
        self.check(&fstat(&file)?)?;
        Ok(file.into())
    }

    /// Such a link may lead elsewhere at every moment, so it is followed once.
    fn open_through_kernel_link(&self, flags: OFlag) -> io::Result<File> {
        let look = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let found = openat(&self.folder, &*self.name, look, Mode::empty())?;
        let status = fstat(&found)?;
        if !is_own_output(&status) {
            self.check(&status)?;
        }
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        Ok(open(path.as_str(), flags, Mode::empty())?.into())
    }

    fn make(&self, flags: OFlag, mode: Mode) -> io::Result<File> {
        self.check(&fstat(&self.folder)?)?;
        let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(openat(&self.folder, &*self.name, flags, mode)?.into())
    }

    fn check(&self, reached: &FileStat) -> io::Result<()> {
        check_end(self.is_end, reached, self.distrusted)
    }
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
            check_stranger(&self.folder, &status, self.distrusted)?;
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
            check_end(true, &fstat(&self.folder)?, self.distrusted)?;
            self.ends.pop();
        }
        Ok(())
    }
}

/// `is_end`: a link of the distrusted user ends here.
fn check_end(is_end: bool, reached: &FileStat, distrusted: Option<u32>) -> io::Result<()> {
    if is_end && Some(reached.st_uid) != distrusted {
        return Err(denied(
            "a link of the user that workers run as leads to what is not that user's own",
        ));
    }
    Ok(())
}

/// In a folder like /tmp, nothing is followed or opened that a stranger put there, as the kernel has it for who makes files
/// (`protected_symlinks` and `protected_regular`, proc_sys_fs(5)).
fn check_stranger(folder: &OwnedFd, found: &FileStat, distrusted: Option<u32>) -> io::Result<()> {
    let status = fstat(folder)?;
    let anybodys = libc::S_ISVTX | libc::S_IWOTH;
    let owner = found.st_uid;
    let is_known =
        owner == status.st_uid || owner == geteuid().as_raw() || Some(owner) == distrusted;
    if status.st_mode & anybodys == anybodys && !is_known {
        return Err(denied(
            "another user put it into a folder where everybody may",
        ));
    }
    Ok(())
}

fn denied(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Whether it is where the output of this process goes anyway.
fn is_own_output(reached: &FileStat) -> bool {
    [fstat(io::stdout()), fstat(io::stderr())]
        .iter()
        .flatten()
        .any(|own| (own.st_dev, own.st_ino) == (reached.st_dev, reached.st_ino))
}

fn is_link(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(status.st_mode & libc::S_IFMT == libc::S_IFLNK),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
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
        os::unix::fs::{PermissionsExt, lchown, symlink},
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

        let (_reader, writer) = io::pipe().unwrap();
        let file = File::options().append(true).open(at("roots/file")).unwrap();
        for (number, name) in [
            (writer.as_raw_fd(), "to-a-pipe"),
            (file.as_raw_fd(), "to-an-open-file"),
        ] {
            symlink(format!("/proc/self/fd/{number}"), at(name)).unwrap();
            give(name);
            let error = open(&at(name)).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{name}");
        }
        symlink("/proc/self/fd/2", at("to-our-errors")).unwrap();
        give("to-our-errors");
        open_log_file(&at("to-our-errors"), 0o644, Some(STRANGER)).unwrap();
    }

    #[test]
    fn what_strangers_put_into_a_folder_of_everybodys_is_left_alone() {
        if !geteuid().is_root() {
            eprintln!("needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["file", "ours", "target"] {
            fs::write(at(name), "").unwrap();
        }
        symlink("target", at("link")).unwrap();
        symlink("target", at("our-link")).unwrap();
        for name in ["file", "link"] {
            lchown(at(name), Some(STRANGER + 1), None).unwrap();
        }
        open(&at("link")).unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        for fit in ["ours", "our-link", "new"] {
            open(&at(fit)).unwrap_or_else(|error| panic!("{fit}: {error}"));
        }
        for unfit in ["file", "link"] {
            let error = open(&at(unfit)).expect_err(unfit);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{unfit}");
        }
    }

    #[test]
    fn a_file_is_removed_only_while_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let opened = open_pidfile(&path, 0o644, None).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "").unwrap();
        opened.place.remove(&opened.file);
        assert!(path.exists());
        fs::rename(folder.path().join("moved"), &path).unwrap();
        opened.place.remove(&opened.file);
        assert!(!path.exists());
    }
}
