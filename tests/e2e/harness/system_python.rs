//! The interpreter for tests in which root starts a server for another user, whom the homes of the others are closed to.

use std::path::Path;

use super::Interpreter;

/// `None`, and a line that says so, without root or without a Python that is new enough and for everybody.
pub fn system_python() -> Option<Interpreter> {
    let found = Interpreter::at(Path::new("/usr/bin/python3"));
    let found = found.filter(|found| found.version >= (3, 10) && nix::unistd::geteuid().is_root());
    if found.is_none() {
        eprintln!("needs root and a system-wide Python: skipped");
    }
    found
}
