//! The virtualenv the tests run their apps in: made once, under `target/`, from PyPI.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::fcntl::{Flock, FlockArg};

use super::{interpreters, target};

/// The frameworks are served, on uvloop and in greenlets too; a hook cleans up after prometheus-client, which reads the metrics
/// too; tombi, taplo and kubernetes-validate check the examples, honcho runs one, trustme makes certificates.
const REQUIREMENTS: &str = "flask>=3\ndjango>=5\nstarlette>=0.40\nfastapi\npython-multipart\nquart\nlitestar\nuvloop\nwebsockets\ngevent>=24\neventlet>=0.36\nprometheus-client>=0.21\ntombi>=1\ntaplo>=0.9.3\ntrustme\nhoncho>=2\npyyaml\nkubernetes-validate\n";

/// The virtualenv's interpreter.
pub fn venv_python() -> PathBuf {
    venv_bin("python")
}

/// A program of the virtualenv.
pub fn venv_bin(name: &str) -> PathBuf {
    static VENV: OnceLock<PathBuf> = OnceLock::new();
    VENV.get_or_init(make).join("bin").join(name)
}

fn make() -> PathBuf {
    let target = target();
    let venv = target.join("test-venv");
    let stamp = venv.join("made-for");
    // Held while we look and make: another test process may be at it.
    let lock = File::create(target.join("test-venv.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();

    let base = interpreters()
        .iter()
        .filter(|found| found.version >= (3, 10))
        .max_by_key(|found| (is_default(&found.path), found.version))
        .expect("the tests need CPython 3.10 or newer");
    let wanted = format!(
        "{}\n{}\n{REQUIREMENTS}",
        venv.display(),
        base.path.display()
    );
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return venv;
    }
    eprintln!("making {} (once)", venv.display());
    let _ = fs::remove_dir_all(&venv);
    run(Command::new(&base.path).args(["-m", "venv"]).arg(&venv));
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet"])
        .args(REQUIREMENTS.lines()));
    fs::write(stamp, wanted).unwrap();
    venv
}

/// `python3` of the PATH is what the developer chose.
fn is_default(path: &Path) -> bool {
    let Ok(output) = Command::new("python3")
        .args(["-c", "import sys; print(sys.prefix)"])
        .output()
    else {
        return false;
    };
    path.starts_with(String::from_utf8_lossy(&output.stdout).trim())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
