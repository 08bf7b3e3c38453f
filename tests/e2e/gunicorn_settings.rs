//! The table of Gunicorn's settings, compared with Gunicorn itself, in the version that the tests install.

use std::process::Command;

use rgunicorn::config::gunicorn::{SETTINGS, Takes};
use serde_json::Value;

use crate::harness::{InTime, gunicorn, venv_python};

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

fn known() -> Vec<Value> {
    let output = Command::new(venv_python())
        .args(["-c", TELL])
        .env("PYTHONPATH", gunicorn())
        .env_remove("PORT")
        .env_remove("WEB_CONCURRENCY")
        .env_remove("FORWARDED_ALLOW_IPS")
        .output_in_time()
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
