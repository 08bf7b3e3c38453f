//! The units of the examples, read by systemd's own tool.

use std::{env, fs, path::Path, process::Command};

use crate::harness::{Directory, InTime, debian};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deploy/systemd");
/// What systemd before 253 has to say; docs/systemd.md tells what to write there.
const OLD_SYSTEMD: &str = "Failed to parse service type, ignoring: notify-reload";

/// What `systemd-analyze verify` says about these units. `None` where it does not run.
fn verdict(folder: &Path) -> Option<String> {
    let root = debian(&["systemd", "libsystemd-shared", "libsystemd0"])?;
    let libraries =
        ["systemd", ""].map(|folder| root.join("usr/lib/x86_64-linux-gnu").join(folder));
    let output = Command::new(root.join("usr/bin/systemd-analyze"))
        .args(["verify", "--man=no"])
        .args(["mysite.service", "mysite.socket"].map(|unit| folder.join(unit)))
        .env("LD_LIBRARY_PATH", env::join_paths(libraries).unwrap())
        .env(
            "SYSTEMD_UNIT_PATH",
            env::join_paths([folder, &root.join("lib/systemd/system")]).unwrap(),
        )
        .output_in_time();
    let text = match output {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    if text.contains("error while loading shared libraries") {
        eprintln!("systemd-analyze does not run here: {text}");
        return None;
    }
    let about_ours = text
        .lines()
        .filter(|line| line.contains("mysite") && !line.contains(OLD_SYSTEMD));
    Some(about_ours.collect::<Vec<_>>().join("\n"))
}

#[test]
fn systemd_has_nothing_to_say_about_the_units_and_sees_a_typo() {
    let directory = Directory::default();
    for unit in ["mysite.service", "mysite.socket"] {
        let text = fs::read_to_string(Path::new(UNITS).join(unit)).unwrap();
        directory.write(
            unit,
            &text.replace("/srv/mysite/venv/bin/rgunicorn", "/bin/true"),
        );
    }
    let Some(text) = verdict(directory.path()) else {
        return;
    };
    assert_eq!(text, "");
    directory.write("mysite.socket", "[Socket]\nListenStraem=80\n");
    let text = verdict(directory.path()).unwrap();
    assert!(text.contains("ListenStraem"), "{text}");
}

#[test]
fn the_service_keeps_the_names_of_the_sockets_that_systemd_keeps() {
    let service = fs::read_to_string(Path::new(UNITS).join("mysite.service")).unwrap();
    let has = |line: &str| service.lines().any(|known| known == line);
    assert!(has("RuntimeDirectory=mysite"));
    assert!(service.contains("\nFileDescriptorStoreMax="));
    assert!(
        has("RuntimeDirectoryPreserve=restart"),
        "systemd removes /run/mysite at each stop"
    );
}
