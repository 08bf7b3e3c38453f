//! What the tests need of PyPI: the virtualenv they run their apps in, and Gunicorn apart from it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::{
    interpreters,
    made_once::{made_once, run},
};

/// The frameworks are served, on uvloop and in greenlets too; flask-sock and Flask-SocketIO speak on the sockets of clients; a hook
/// cleans up after prometheus-client, which reads the metrics too; tombi, taplo and kubernetes-validate check the examples, honcho runs one, trustme makes certificates.
const PACKAGES: &str = "flask django starlette fastapi python-multipart quart litestar uvloop websockets gevent eventlet \
    flask-sock flask-socketio python-socketio[client] prometheus-client tombi taplo trustme honcho pyyaml kubernetes-validate";

/// Exact versions: a release of somebody else changes no result of ours. Renewed by hand.
const CONSTRAINTS: &str = include_str!("constraints.txt");
const CONSTRAINTS_PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/e2e/harness/constraints.txt"
);

/// The virtualenv's interpreter.
#[track_caller]
pub fn venv_python() -> PathBuf {
    venv_bin("python")
}

/// A program of the virtualenv.
#[track_caller]
pub fn venv_bin(name: &str) -> PathBuf {
    // A failure is kept too: what PyPI did not give to one test it is not asked for by the next.
    static VENV: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let venv = VENV.get_or_init(make_venv);
    let venv = venv.as_ref().unwrap_or_else(|reason| panic!("{reason}"));
    venv.join("bin").join(name)
}

/// A folder for the module path with Gunicorn alone: no app of the other tests is to see it.
pub fn gunicorn() -> PathBuf {
    let install = |folder: &Path| {
        let mut pip = pip(&venv_python());
        run(pip.args(["gunicorn", "--target"]).arg(folder))
    };
    made_once("test-gunicorn", CONSTRAINTS, install).unwrap()
}

fn make_venv() -> Result<PathBuf, String> {
    let base = interpreters()
        .iter()
        .filter(|found| found.version >= (3, 10))
        .max_by_key(|found| (is_default(&found.path), found.version))
        .ok_or("the tests need CPython 3.10 or newer")?;
    // A virtualenv knows where it lies.
    let place = super::target().display();
    let recipe = format!(
        "{place}\n{}\n{PACKAGES}\n{CONSTRAINTS}",
        base.path.display()
    );
    made_once("test-venv", &recipe, |venv| {
        run(Command::new(&base.path).args(["-m", "venv"]).arg(venv))?;
        run(pip(&venv.join("bin/python")).args(PACKAGES.split_whitespace()))
    })
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "-c", CONSTRAINTS_PATH]);
    command
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
