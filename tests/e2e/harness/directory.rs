//! The directory of one test: removed when the test passes, kept and named when it fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::InTime as _;

pub struct Directory {
    path: PathBuf,
}

impl Default for Directory {
    fn default() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("rgunicorn-test-")
            .tempdir()
            .unwrap();
        // Resolved, so that paths which the server prints can be compared.
        let path = fs::canonicalize(directory.keep()).unwrap();
        Self { path }
    }
}

impl Directory {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in place, with the folders above it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The text of a file; empty while there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap_or_default()
    }
}

/// Puts a copy of `source` at `target` that can be executed. Another process does it: what is open for writing here is inherited
/// by every process that other tests start at this moment, and the kernel executes no file that somebody can write (ETXTBSY).
pub fn install(source: &Path, target: &Path) {
    let mut command = Command::new("install");
    command.args(["-m", "755"]).args([source, target]);
    assert!(command.output_in_time().unwrap().status.success());
}

/// The same with a text.
pub fn install_script(target: &Path, text: &str) {
    let source = target.with_extension("text");
    fs::write(&source, text).unwrap();
    install(&source, target);
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's directory is kept: {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
