//! `docs/gunicorn-settings.md`: what became of every setting of Gunicorn, from the table that the error messages and
//! `rgunicorn migrate` use. `tests/e2e/gunicorn_settings.rs` compares that table with Gunicorn.

use std::fmt::Write as _;

use rgunicorn::config::{
    gunicorn::{Fate, SETTINGS, Setting},
    schema_text,
};
use serde_json::Value;

const HEAD: &str = "\
# Every setting of Gunicorn, and what became of it

This page is made from the table by which `rgunicorn migrate` translates and by which the error messages answer somebody who
wrote Gunicorn's name. All settings of Gunicorn 27 are here; a test compares their names, flags and defaults with Gunicorn itself.

- **same**: the key of the same name, with the same meaning.
- **renamed**: another name, the same meaning.
- **better**: a key that does it in another form, or does more.
- **not here**: with the reason.

Every flag of Gunicorn whose setting has a key here is a flag here, too: `rgunicorn run --help` lists them.
";

#[test]
fn the_page_is_made_from_the_table() {
    let mut text = String::from(HEAD);
    let count = |is: fn(&Fate) -> bool| SETTINGS.iter().filter(|setting| is(&setting.fate)).count();
    writeln!(
        text,
        "\nOf {} settings, {} are the same, {} renamed, {} better and {} not here.\n",
        SETTINGS.len(),
        count(|fate| matches!(fate, Fate::Same(_))),
        count(|fate| matches!(fate, Fate::Renamed(_))),
        count(|fate| matches!(fate, Fate::Better(..))),
        count(|fate| matches!(fate, Fate::Gone(_))),
    )
    .unwrap();
    text.push_str("| Gunicorn | flags | its default | | here | default here | |\n|---|---|---|---|---|---|---|\n");
    for setting in SETTINGS {
        text.push_str(&row(setting));
    }
    super::compare("docs/gunicorn-settings.md", &text);
}

fn row(setting: &Setting) -> String {
    let (fate, remark) = match setting.fate {
        Fate::Same(remark) => ("same", remark),
        Fate::Renamed(_) => ("renamed", ""),
        Fate::Better(_, remark) => ("better", remark),
        Fate::Gone(reason) => ("not here", reason),
    };
    let flags: Vec<String> = setting.flags.split_whitespace().map(code).collect();
    let key = setting.key().map(key).unwrap_or_default();
    let default = setting.key().and_then(default);
    format!(
        "| `{}` | {} | {} | {fate} | {key} | {} | {remark} |\n",
        setting.name,
        flags.join(" "),
        code(setting.default),
        default.map(|default| code(&default)).unwrap_or_default(),
    )
}

/// As it would be written in the file.
fn default(key: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(&schema_text()).unwrap();
    let node = key
        .split('.')
        .fold(&schema, |node, step| &node["properties"][step]);
    node.get("default").map(Value::to_string)
}

fn key(key: &str) -> String {
    let anchor = key.replace('.', "").to_lowercase();
    format!("[`{key}`](reference.md#{anchor})")
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('|', "\\|")),
    }
}
