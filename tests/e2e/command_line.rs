//! What people type: help, completions, the man page, Gunicorn's flags and variables.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::harness::{Exit, Setup};

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
        let output = child.wait_with_output().unwrap();
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
    let directory = crate::harness::Directory::default();
    directory.write("rgunicorn.1", &page.stdout);
    let man = Command::new("man")
        .args(["--warnings", "-l", "rgunicorn.1"])
        .current_dir(directory.path())
        .env("MANWIDTH", "100")
        .output();
    // Not every machine has a reader of manual pages.
    let Ok(output) = man else { return };
    let (shown, warnings) = (
        output.stdout,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{warnings}");
    assert_eq!(warnings, "");
    assert!(String::from_utf8_lossy(&shown).contains("EXIT STATUS"));
}

#[test]
fn a_flag_of_gunicorn_that_is_not_here_is_answered_with_what_to_do() {
    for (flags, answer) in [
        (&["-D", "app"][..], "rgunicorn stays in the foreground"),
        (&["--daemon", "app"], "rgunicorn stays in the foreground"),
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
fn gunicorns_variable_is_not_passed_over_in_silence() {
    let server = Setup::plain()
        .environment("GUNICORN_CMD_ARGS", "--workers 3")
        .start();
    server.says("warning: GUNICORN_CMD_ARGS is not read; `rgunicorn migrate`");
}
