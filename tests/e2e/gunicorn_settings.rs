//! The table of Gunicorn's settings, compared with Gunicorn itself: the newest release of PyPI whose major version the table is
//! for.

use std::{fs, path::PathBuf, process::Command};

use nix::fcntl::{Flock, FlockArg};
use rgunicorn::config::gunicorn::{SETTINGS, Takes};
use serde_json::Value;

use crate::harness::{target, venv_python};

const REQUIREMENT: &str = "gunicorn==27.*";

const TELL: &str = "
import json
from gunicorn.config import KNOWN_SETTINGS
print(json.dumps([
    {
        'name': setting.name,
        'flags': ' '.join(setting.cli or []),
        'takes': (
            'Nothing' if setting.action in ('store_true', 'store_const')
            else 'Many' if setting.action == 'append'
            else 'Maybe' if setting.nargs == '?' else 'One'
        ),
        'default': repr(setting.default),
    }
    for setting in KNOWN_SETTINGS
]))
";

/// Gunicorn in a directory of its own: no app of the other tests is to see it.
fn gunicorn() -> PathBuf {
    let target = target();
    let folder = target.join("test-gunicorn");
    let lock = fs::File::create(target.join("test-gunicorn.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    if !folder.join("gunicorn").is_dir() {
        let output = Command::new(venv_python())
            .args(["-m", "pip", "install", "--quiet", REQUIREMENT, "--target"])
            .arg(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    folder
}

fn known() -> Vec<Value> {
    let output = Command::new(venv_python())
        .args(["-c", TELL])
        .env("PYTHONPATH", gunicorn())
        .env_remove("PORT")
        .env_remove("WEB_CONCURRENCY")
        .env_remove("FORWARDED_ALLOW_IPS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_setting_of_gunicorn_is_in_the_table_as_gunicorn_has_it() {
    let known = known();
    let names: Vec<&str> = known
        .iter()
        .map(|setting| setting["name"].as_str().unwrap())
        .collect();
    for setting in SETTINGS {
        assert!(
            names.contains(&setting.name),
            "Gunicorn has no `{}`",
            setting.name
        );
    }
    for theirs in &known {
        let name = theirs["name"].as_str().unwrap();
        let ours = SETTINGS.iter().find(|setting| setting.name == name);
        let ours = ours.unwrap_or_else(|| panic!("`{name}` is not in the table"));
        assert_eq!(ours.flags, theirs["flags"], "flags of {name}");
        let takes = match ours.takes {
            Takes::One => "One",
            Takes::Many => "Many",
            Takes::Nothing => "Nothing",
            Takes::Maybe(_) => "Maybe",
        };
        assert_eq!(takes, theirs["takes"], "{name}");
        if !ours.default.is_empty() {
            assert_eq!(ours.default, theirs["default"], "default of {name}");
        }
    }
}
