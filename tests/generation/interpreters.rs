//! Every interpreter of this machine: the new ones serve with the same engine, the others are refused in words.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use nix::sys::signal::Signal;
use rgunicorn::arbiter::interpreter::{self, InterpreterError};

use crate::{
    HELLO,
    machine::{Interpreter, interpreters},
    rig::{Project, Rig},
};

#[test]
fn every_interpreter_that_is_new_enough_serves_with_the_same_engine() {
    let supported = interpreters()
        .iter()
        .filter(|found| found.version >= (3, 10));
    assert!(
        supported.clone().count() > 0,
        "there is no CPython 3.10 or newer here"
    );
    for Interpreter { path, version } in supported {
        let project = Project::with_module(HELLO);
        let mut config = project.config("site_app");
        config.python = Some(path.clone());
        let mut rig = Rig::start(&config);
        rig.expect_prepared();
        let (_, pidfd) = rig.fork_ready(1);
        pidfd.signal(Signal::SIGTERM).unwrap();
        assert_eq!(rig.expect_exit(1), 0, "{version:?}");
        assert_eq!(rig.retire(), 0, "{version:?}");
    }
}

/// Python 3.12 and newer warn of it, by default where the main module forks.
#[test]
fn no_interpreter_warns_of_a_fork_beside_the_threads_of_an_agent() {
    let agent = "
import threading, warnings
threading.Thread(target=threading.Event().wait, daemon=True).start()
warnings.showwarning = lambda *warning: print(warning, file=open('warned', 'a'))
";
    for Interpreter { path, version } in interpreters() {
        if *version < (3, 12) {
            continue;
        }
        let project = Project::with_module(HELLO);
        fs::write(project.file("sitecustomize.py"), agent).unwrap();
        let mut config = project.config("site_app");
        config.python = Some(path.clone());
        let folder = project.file(".").display().to_string();
        config.env.insert("PYTHONPATH".to_owned(), folder);
        let mut rig = Rig::start(&config);
        rig.expect_prepared();
        let (_, pidfd) = rig.fork_ready(1);
        pidfd.signal(Signal::SIGTERM).unwrap();
        assert_eq!(rig.expect_exit(1), 0);
        assert_eq!(rig.retire(), 0);
        let warned = fs::read_to_string(project.file("warned")).unwrap_or_default();
        assert_eq!(warned, "", "{version:?}");
    }
}

#[test]
fn every_interpreter_that_is_too_old_is_refused_by_its_version() {
    let project = Project::with_module(HELLO);
    for Interpreter { path, version } in interpreters() {
        let (major, minor) = *version;
        if *version >= (3, 10) {
            continue;
        }
        let mut config = project.config("site_app");
        config.python = Some(path.clone());
        let refused = interpreter::find(&config, None).unwrap_err();
        assert!(
            matches!(refused, InterpreterError::TooOld { .. }),
            "{refused}"
        );
        let words = format!("is Python {major}.{minor}.");
        assert!(refused.to_string().contains(&words), "{refused}");
    }
}

#[test]
fn a_virtualenv_is_named_by_its_directory_relative_to_the_project() {
    let project = Project::with_module(&format!(
        "import sys, os\nassert sys.prefix == os.path.join(os.getcwd(), 'venv'), sys.prefix{HELLO}"
    ));
    let base = interpreters().last().unwrap();
    let real = Command::new(&base.path)
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let real = PathBuf::from(String::from_utf8(real.stdout).unwrap().trim());
    // What `python -m venv` makes, less pip.
    fs::create_dir_all(project.file("venv/bin")).unwrap();
    let home = real.parent().unwrap().display();
    fs::write(project.file("venv/pyvenv.cfg"), format!("home = {home}\n")).unwrap();
    symlink(&real, project.file("venv/bin/python")).unwrap();
    let mut config = project.config("site_app");
    config.python = Some("venv".into());
    let mut rig = Rig::start(&config);
    rig.expect_prepared();
    rig.fork_ready(1);
    assert_eq!(rig.abandon(), 0);
}

#[test]
fn an_interpreter_that_is_missing_or_none_is_told_with_its_place() {
    let project = Project::with_module(HELLO);
    fs::create_dir(project.file("empty")).unwrap();
    for (python, problem) in [
        ("nowhere/python", "there is no interpreter `"),
        ("empty", "empty/bin/python` (`python` in the configuration)"),
        (
            "site_app.py",
            "site_app.py` (`python` in the configuration) cannot be executed: ",
        ),
        (
            "/bin/true",
            "`/bin/true` (`python` in the configuration) is no Python 3 that works: it said nothing",
        ),
    ] {
        let mut config = project.config("site_app");
        config.python = Some(python.into());
        let told = interpreter::find(&config, None).unwrap_err().to_string();
        assert!(told.contains(problem), "{told}");
    }
}
