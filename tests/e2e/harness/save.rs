//! The ways in which a file gets new text in the wild. The watcher must see each of them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// Opened, truncated, written: `echo > file`, nano.
    InPlace,
    /// Written beside it and renamed over it: vim, sed -i, most editors.
    Rename,
    /// The old file moved away, a new one made: vim with backupcopy=no, emacs.
    Backup,
    /// Unlinked, then made anew: git checkout.
    Checkout,
    /// A mounted ConfigMap: the file is a link through `..data`, and the kubelet renames another `..data` over it.
    Kubernetes,
}

impl Save {
    pub fn write(self, path: &Path, text: &str) {
        match self {
            Self::InPlace => fs::write(path, text).unwrap(),
            Self::Rename => {
                let draft = path.with_extension("toml.swp");
                fs::write(&draft, text).unwrap();
                fs::rename(&draft, path).unwrap();
            }
            Self::Backup => {
                fs::rename(path, path.with_extension("toml~")).unwrap();
                fs::write(path, text).unwrap();
            }
            Self::Checkout => {
                fs::remove_file(path).unwrap();
                fs::write(path, text).unwrap();
            }
            Self::Kubernetes => swap_data(path, text),
        }
    }
}

/// What the kubelet does: a fresh folder with the new files, one atomic rename of the link to it, the old folder gone.
fn swap_data(path: &Path, text: &str) {
    static VERSION: AtomicU32 = AtomicU32::new(0);
    let folder = path.parent().unwrap();
    let name = path.file_name().unwrap();
    let version = format!("..2026_11_21_{}", VERSION.fetch_add(1, Ordering::Relaxed));
    let old = fs::read_link(folder.join("..data"));
    fs::create_dir_all(folder.join(&version)).unwrap();
    fs::write(folder.join(&version).join(name), text).unwrap();
    symlink(&version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    match old {
        // By its last name alone: whatever the link says, nothing outside of the folder is removed.
        Ok(old) => fs::remove_dir_all(folder.join(old.file_name().unwrap())).unwrap(),
        Err(_) => symlink(Path::new("..data").join(name), path).unwrap(),
    }
}
