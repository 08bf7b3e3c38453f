//! Programs from Debian's packages, unpacked under `target/` and not installed: it takes no root rights and leaves the machine
//! as it is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use nix::fcntl::{Flock, FlockArg};

use super::target;

/// The folder that the packages are unpacked into, as if it were `/`. `None` on a machine without apt.
pub fn debian(packages: &[&str]) -> Option<PathBuf> {
    if Command::new("apt-get").arg("--version").output().is_err() {
        eprintln!("{packages:?} are not here, and there is no apt to get them with: skipped");
        return None;
    }
    let target = target();
    let folder = target.join(format!("debian-{}", packages.join("-")));
    // Held while we look and make: another test process may be at it.
    let lock = File::create(target.join("debian.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let stamp = folder.join("unpacked");
    if !stamp.exists() {
        eprintln!("getting {packages:?} (once)");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        if let Err(reason) = download(&folder, packages) {
            // The lists may be missing or name a version that is gone; only root can fetch new ones.
            let _ = Command::new("apt-get").arg("update").output();
            let again = download(&folder, packages);
            assert!(again.is_ok(), "{packages:?}: {reason}");
        }
        // All of them first: unpacking fills the same folder.
        let entries: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        for file in entries.into_iter().map(|entry| entry.unwrap().path()) {
            run(Command::new("dpkg").arg("-x").arg(&file).arg(&folder)).unwrap();
        }
        fs::write(stamp, "").unwrap();
    }
    Some(folder)
}

fn download(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    // As ourselves: apt's own user may not be allowed to write here.
    command.args(["-o", "APT::Sandbox::User=", "download"]);
    run(command.args(packages).current_dir(folder))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(errors)
}
