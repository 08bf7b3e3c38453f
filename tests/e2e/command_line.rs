//! What people type: help, completions, the man page, Gunicorn's flags and variables.

use std::{
    io::Write as _,
    os::unix::{fs::symlink, process::CommandExt as _},
    process::{Command, Stdio},
};

use crate::harness::{Directory, Exit, InTime, Setup, install, venv_python, wait_in_time};

fn typed(arguments: &[&str]) -> Exit {
    Setup::without_file(arguments).run()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = typed(&["completions", "bash"]).stdout;
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let shell = format!(
            "{script}\nCOMP_WORDS=({line})\nCOMP_CWORD={}\n\
             [[ ${{COMP_WORDS[COMP_CWORD]+set}} ]] || COMP_WORDS+=('')\n\
             _rgunicorn rgunicorn '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let mut child = Command::new("bash")
            .args(["--norc", "-s"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(shell.as_bytes())
            .unwrap();
        let output = wait_in_time(child).unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("rgunicorn migr").trim(), "migrate");
    assert_eq!(
        complete("rgunicorn run --graceful").trim(),
        "--graceful-timeout"
    );
    let shells = complete("rgunicorn completions ");
    assert!(
        shells.contains("zsh") && shells.contains("fish"),
        "{shells}"
    );
    for shell in ["zsh", "fish"] {
        let script = typed(&["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(script.stdout.contains("graceful-timeout"));
    }
}

#[test]
fn the_man_page_is_one_that_man_can_read() {
    let page = typed(&["man"]);
    assert_eq!(page.code, Some(0));
    for part in [
        ".SH NAME",
        ".SH COMMANDS",
        "migrate",
        ".SH SIGNALS",
        "graceful\\-timeout",
    ] {
        assert!(page.stdout.contains(part), "{part}");
    }
    let directory = Directory::default();
    directory.write("rgunicorn.1", &page.stdout);
    let man = Command::new("man")
        .args(["--warnings", "-l", "rgunicorn.1"])
        .current_dir(directory.path())
        .env("MANWIDTH", "100")
        .output_in_time();
    // Not every machine has a reader of manual pages. A minimized one has a stub, which reads nothing.
    let Ok(output) = man else { return };
    if String::from_utf8_lossy(&output.stdout).contains("has been minimized") {
        return;
    }
    let (shown, warnings) = (
        output.stdout,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{warnings}");
    assert_eq!(warnings, "");
    assert!(String::from_utf8_lossy(&shown).contains("EXIT STATUS"));
}

#[test]
fn a_command_with_a_slip_starts_no_server() {
    for (slip, command) in [("relaod", "reload"), ("statsu", "status")] {
        let exit = typed(&[slip]);
        assert_eq!(exit.code, Some(2), "{}", exit.log);
        let question = format!("did you mean `rgunicorn {command}`?");
        assert!(exit.log.contains(&question), "{}", exit.log);
    }
    // A module of that name is an app.
    let exit = Setup::without_file(&["event"]).file("event.py", "").run();
    assert!(
        exit.log.contains("`event` has no attribute"),
        "{}",
        exit.log
    );
}

#[test]
fn a_table_is_no_value_to_set() {
    let exit = typed(&["check", "--set", "timeouts=3"]);
    assert_eq!(exit.code, Some(1));
    for part in ["`timeouts` is a table", "such as `timeouts."] {
        assert!(exit.log.contains(part), "{}", exit.log);
    }
}

#[test]
fn check_says_where_the_app_and_the_interpreter_are_named() {
    let check = |config: &str| {
        let setup = Setup::without_file(&["check"]).app("def make(name): ...");
        setup.file("rgunicorn.toml", config).run()
    };
    let exit = check("app = \"app:make(1 2)\"\n");
    assert!(
        exit.log.trim_end().ends_with(
            "the arguments `(1 2)` are not all Python literals: invalid syntax. Perhaps you forgot a comma?\n --> \
             rgunicorn.toml:1"
        ),
        "{}",
        exit.log
    );
    let exit = check("app = \"app:make(name)\"\n");
    assert!(
        exit.log.contains("literals, such as 'production'"),
        "{}",
        exit.log
    );
    let exit = check("app = 'app'\npython = 'python9.9'\n");
    assert!(
        exit.log.contains("there is no `python9.9` (`python` in the configuration), neither in `chdir` nor on the PATH")
            && exit.log.trim_end().ends_with(" --> rgunicorn.toml:2"),
        "{}",
        exit.log
    );
}

#[test]
fn a_bare_name_of_an_interpreter_is_looked_up_on_the_path() {
    let folder = venv_python().parent().unwrap().to_owned();
    let exit = Setup::without_file(&["check"])
        .file("rgunicorn.toml", "app = 'app'\npython = 'python3'\n")
        .environment("PATH", folder)
        .run();
    assert_eq!(exit.code, Some(0), "{}", exit.log);
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let setup = Setup::without_file(&["check", "-c", "pipe"]);
    let pipe = setup.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let exit = setup.run();
    assert_eq!(exit.code, Some(1));
    assert!(
        exit.log.contains("it is a pipe or a device"),
        "{}",
        exit.log
    );
    let server = crate::harness::Server::start("");
    let exit = Setup::without_file(&[
        "plan",
        "-c",
        server.config_path().to_str().unwrap(),
        "/dev/zero",
    ])
    .run();
    assert!(
        exit.log.contains("it is a pipe or a device"),
        "{}",
        exit.log
    );
}

#[test]
fn a_flag_of_gunicorn_that_is_not_here_is_answered_with_what_to_do() {
    for (flags, answer) in [
        (&["-D", "app"][..], "the server stays in the foreground"),
        (&["--daemon", "app"], "the server stays in the foreground"),
        (&["--worker-tmp-dir", "/dev/shm", "app"], "shared memory"),
        (&["--logger-class", "x.Logger", "app"], "`[log]`"),
        (&["--check-config", "app"], "`rgunicorn check`"),
    ] {
        let exit = typed(flags);
        assert_eq!(exit.code, Some(2), "{flags:?}");
        assert!(exit.log.contains(answer), "{flags:?}: {}", exit.log);
        assert!(!exit.log.contains("unexpected argument"), "{}", exit.log);
    }
    let exit = typed(&["--nonsense"]);
    assert!(exit.log.contains("unexpected argument"), "{}", exit.log);
}

#[test]
fn a_flag_of_gunicorn_is_not_explained_to_who_asks_a_running_server() {
    for command in ["status", "stop", "migrate"] {
        let exit = typed(&[command, "--reload-engine", "poll"]);
        assert_eq!(exit.code, Some(2), "{command}");
        assert!(exit.log.contains("unexpected argument"), "{}", exit.log);
    }
}

#[test]
fn a_configuration_of_gunicorns_is_sent_to_migrate() {
    for location in [
        "gunicorn.conf.py",
        "file:gunicorn.conf.py",
        "python:mysite.conf",
    ] {
        let setup = Setup::without_file(&["-c", location, "app"]);
        let exit = setup.file("gunicorn.conf.py", "import os\n").run();
        assert_eq!(exit.code, Some(1), "{location}");
        let help = format!("`rgunicorn migrate {location}`");
        assert!(exit.log.contains(&help), "{}", exit.log);
        assert!(!exit.log.contains("not TOML"), "{}", exit.log);
    }
}

#[test]
fn a_default_file_whose_link_leads_nowhere_is_missed_and_not_passed_over() {
    let setup = Setup::without_file(&["app", "-b", "127.0.0.1:0"]);
    symlink("/gone/rgunicorn.toml", setup.path().join("rgunicorn.toml")).unwrap();
    let exit = setup.run();
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    let reason =
        "cannot read `rgunicorn.toml`: it is a link to `/gone/rgunicorn.toml`: No such file";
    assert!(exit.log.contains(reason), "{}", exit.log);
}

#[test]
fn an_interpreter_whose_link_leads_nowhere_is_told_and_no_other_is_taken() {
    let link = |setup: &Setup, name: &str| {
        std::fs::create_dir_all(setup.path().join(name).parent().unwrap()).unwrap();
        symlink("/gone/python3.12", setup.path().join(name)).unwrap();
    };
    let told = |setup: Setup| {
        let exit = setup.run();
        assert_eq!(exit.code, Some(1), "{}", exit.log);
        let reason = "cannot be reached: it is a link to `/gone/python3.12`: No such file";
        assert!(exit.log.contains(reason), "{}", exit.log);
    };
    let named = Setup::without_file(&["check", "app", "--python", "venv"]);
    link(&named, "venv/bin/python");
    told(named);
    let path = Setup::without_file(&["check", "app", "--python", "venv/bin/python"]);
    link(&path, "venv/bin/python");
    told(path);
    let beside = Setup::without_file(&["check", "app"]);
    link(&beside, "bin/python");
    let binary = beside.path().join("bin/rgunicorn");
    install(
        std::path::Path::new(env!("CARGO_BIN_EXE_rgunicorn")),
        &binary,
    );
    told(beside.program(&binary));
}

#[test]
fn gunicorns_variable_is_not_passed_over_in_silence() {
    let server = Setup::plain()
        .environment("GUNICORN_CMD_ARGS", "--workers 3")
        .start();
    server.says("warning: GUNICORN_CMD_ARGS is not read; `rgunicorn migrate`");
}

#[test]
fn the_package_runs_the_program_of_its_environment_as_a_module() {
    let directory = Directory::default();
    let environment = directory.path().join("venv");
    let python = |arguments: &[&str]| {
        Command::new(environment.join("bin/python"))
            .args(arguments)
            .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", directory.path())
            .output_in_time()
            .unwrap()
    };
    let made = Command::new(venv_python())
        .args(["-m", "venv", "--without-pip"])
        .arg(&environment)
        .output_in_time();
    assert!(made.unwrap().status.success());

    let missing = python(&["-m", "rgunicorn", "--version"]);
    assert_eq!(missing.status.code(), Some(1));
    let told = String::from_utf8_lossy(&missing.stderr);
    assert!(told.contains("rgunicorn is not installed beside"), "{told}");

    let program = environment.join("bin/rgunicorn");
    symlink(env!("CARGO_BIN_EXE_rgunicorn"), program).unwrap();
    let output = python(&["-m", "rgunicorn", "--version"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.trim(), typed(&["--version"]).stdout);
    let package = python(&["-c", "import rgunicorn; print(rgunicorn.__version__)"]);
    let version = String::from_utf8_lossy(&package.stdout).into_owned();
    assert_eq!(told.trim(), format!("rgunicorn {}", version.trim()));
}
