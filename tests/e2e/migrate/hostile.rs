//! Configurations that fail, hang, or say what has no meaning.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{case, environment, setup};
use crate::harness::{Exit, Setup};

fn hostile(name: &str) -> Exit {
    setup("hostile", &["migrate", "-o", "-", name]).run()
}

#[test]
fn a_configuration_that_raises_is_told_with_its_line() {
    let exit = hostile("raises.py");
    assert_eq!(exit.code, Some(1));
    let told = "raises.py, line 5: ZeroDivisionError: division by zero";
    assert!(exit.log.contains(told), "{}", exit.log);
    let told = "syntax.py, line 2: SyntaxError: '[' was never closed";
    assert!(hostile("syntax.py").log.contains(told));
    let exit = hostile("missing.py");
    assert!(exit.log.contains("No such file"), "{}", exit.log);
    let exit = hostile("leaves.py");
    assert!(exit.log.contains("said: about to leave"), "{}", exit.log);
}

#[test]
fn a_configuration_that_hangs_is_ended() {
    let setup = setup("hostile", &["migrate", "-o", "-", "hangs.py"]);
    let start = Instant::now();
    let mut server = setup.spawn();
    let limit = Duration::from_secs(60);
    assert!(crate::harness::within(limit, || server.has_ended()));
    assert!(start.elapsed() > Duration::from_secs(25));
    let exit = server.ended();
    assert!(
        exit.log.contains("still running after 30 seconds"),
        "{}",
        exit.log
    );
}

#[test]
fn what_a_configuration_prints_or_leaves_running_does_no_harm() {
    let exit = hostile("prints.py");
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(exit.stdout.starts_with("#:schema"), "{}", exit.stdout);
    let exit = hostile("forks.py");
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    let exit = hostile("huge.py");
    assert!(exit.log.contains("more than can be read"), "{}", exit.log);
}

#[test]
fn what_cannot_be_translated_becomes_a_comment_and_the_rest_is_valid() {
    let exit = hostile("strange.py");
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    for told in [
        "workers = 5000` is refused",
        "threads = \"many\"\n#   It is no whole number.",
        "worker_class = \"mine.Worker\"\n#   Worker classes of one's own",
    ] {
        assert!(exit.stdout.contains(told), "{told}: {}", exit.stdout);
    }
    assert!(!exit.stdout.contains('\u{1b}'));
    let strange = fs::read_to_string(case("hostile").join("strange.py")).unwrap();
    let checked = Setup::without_file(&["check", "-c", "new.toml"])
        .file("new.toml", &exit.stdout.replace("chdir = \"7\"", ""))
        .file("strange.py", &strange)
        .environment("VIRTUAL_ENV", environment())
        .run();
    // The app of `strange.py` is the harness's.
    assert_eq!(checked.code, Some(0), "{}", checked.log);
}
