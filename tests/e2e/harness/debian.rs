//! Programs from Debian's packages, unpacked under `target/` and not installed: it takes no root rights and leaves the machine
//! as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::made_once::{made_once, run};

/// The folder that the packages are unpacked into, as if it were `/`. `None` on a machine without apt.
pub fn debian(packages: &[&str]) -> Option<PathBuf> {
    if Command::new("apt-get").arg("--version").output().is_err() {
        eprintln!("{packages:?} are not here, and there is no apt to get them with: skipped");
        return None;
    }
    let name = format!("debian-{}", packages.join("-"));
    let unpack = |folder: &Path| unpack(folder, packages);
    Some(made_once(&name, &packages.join(" "), unpack).unwrap())
}

fn unpack(folder: &Path, packages: &[&str]) -> Result<(), String> {
    download(folder, packages).or_else(|reason| {
        // The lists may be missing or name a version that is gone; only root can fetch new ones.
        let _ = Command::new("apt-get").arg("update").output();
        download(folder, packages).map_err(|_| reason)
    })?;
    // All of them first: unpacking fills the same folder.
    let entries: Vec<_> = fs::read_dir(folder).unwrap().collect();
    for file in entries.into_iter().map(|entry| entry.unwrap().path()) {
        run(Command::new("dpkg").arg("-x").arg(&file).arg(folder))?;
    }
    Ok(())
}

fn download(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    // As ourselves: apt's own user may not be allowed to write here.
    command.args(["-o", "APT::Sandbox::User=", "download"]);
    run(command.args(packages).current_dir(folder))
}
