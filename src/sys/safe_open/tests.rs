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
    if !nix::unistd::geteuid().is_root() {
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
