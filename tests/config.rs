//! One TOML file per case in `tests/config/{valid,invalid}`; the `.snap` beside it is what is shown for it.
//! `RGUNICORN_BLESS=1 cargo test` rewrites those: review the difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its case fails")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use rgunicorn::config::{Config, Machine, Problems, Sources, load, schema_text};

/// Cases of `invalid/` whose shape is right: what is wrong with them no schema can tell.
const RIGHT_SHAPE: &str = "# Passes the schema.\n";

#[test]
fn a_valid_file_passes_the_schema_and_becomes_what_its_snapshot_says() {
    for path in cases("valid") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            passes_schema(&text),
            "{}: refused by the schema",
            path.display()
        );
        match load_case(&path, &text) {
            Ok(config) => compare(&path, &serde_json::to_string_pretty(&config).unwrap()),
            Err(problems) => panic!("{}:\n{problems}", path.display()),
        }
    }
}

#[test]
fn an_invalid_file_is_reported_as_its_snapshot_says() {
    for path in cases("invalid") {
        let text = fs::read_to_string(&path).unwrap();
        match load_case(&path, &text) {
            Ok(_) => panic!("{}: accepted", path.display()),
            Err(problems) => compare(&path, &problems.render(false)),
        }
    }
}

#[test]
fn an_invalid_shape_is_refused_by_the_schema_too() {
    for path in cases("invalid") {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            passes_schema(&text),
            text.starts_with(RIGHT_SHAPE),
            "{}: the first line must be {RIGHT_SHAPE:?} just where the schema accepts the file",
            path.display()
        );
    }
}

proptest::proptest! {
    /// Pieces that matter, in any order: whatever comes out, problems can be shown.
    #[test]
    fn no_text_makes_it_panic(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..12)) {
        if let Err(problems) = load_case(Path::new("random.toml"), &pieces.concat()) {
            assert!(!problems.render(true).is_empty());
        }
    }
}

#[rustfmt::skip]
const PIECES: &[&str] = &[
    "app", "bind", "workers", "env", "timeouts", "reload", "code", "surge", "limits.body", "log", "proxy", "umask",
    "[", "]", "[[", "]]", "{", "}", "=", " = ", ".", ",", "\n", "\r\n", "\"", "'", "'''", "#", "\\u0000", "\t", "\u{feff}", "\u{301}",
    "☕", "\u{1b}", "1", "-1", "1e400", "inf", "0o17", "2026-11-21", "true", "\"30s\"", "'%(h)s %'", "'a:b(c'", "'unix:@'",
    "\nworkers = ", "\napp = 'x'", "\n[limits]\n", "'~/1'", "\"999999999d999999999d\"",
];

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind);
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

/// The path is a fixed one, so that the snapshots are the same everywhere.
fn load_case(path: &Path, text: &str) -> Result<Config, Problems> {
    let path = Path::new("/srv/app").join(path.file_name().unwrap());
    let sources = Sources {
        file: Some((path, text.to_owned())),
        environment: BTreeMap::new(),
        flags: Vec::new(),
    };
    load(&sources, &Fake).map(|loaded| loaded.config)
}

/// Four processors; every path without `missing` in it exists, and every name.
struct Fake;

impl Machine for Fake {
    fn processors(&self) -> u16 {
        4
    }

    fn directory(&self) -> &Path {
        Path::new("/home/me")
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.is_file(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        !path.to_string_lossy().contains("missing")
    }

    fn obstacle(&self, path: &Path) -> Option<String> {
        let is_link = path.to_string_lossy().contains("missing-link");
        is_link.then(|| "it is a link to `/gone`: No such file or directory".to_owned())
    }

    fn has_user(&self, name: &str) -> Result<bool, String> {
        match name.contains("unanswered") {
            true => Err("Connection refused".to_owned()),
            false => Ok(!name.contains("missing")),
        }
    }

    fn has_group(&self, name: &str) -> Result<bool, String> {
        self.has_user(name)
    }
}

fn passes_schema(text: &str) -> bool {
    let schema = serde_json::from_str(&schema_text()).unwrap();
    // What is no TOML never reaches the schema.
    let Ok(document) = toml::from_str::<toml::Table>(text) else {
        return false;
    };
    jsonschema::draft7::is_valid(&schema, &serde_json::to_value(document).unwrap())
}

fn compare(case: &Path, shown: &str) {
    let snapshot = case.with_extension("snap");
    let shown = format!("{shown}\n");
    if env::var_os("RGUNICORN_BLESS").is_some() {
        fs::write(&snapshot, &shown).unwrap();
    }
    let expected = fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(
        shown == expected,
        "{} differs:\n{shown}",
        snapshot.display()
    );
}
