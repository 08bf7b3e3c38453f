//! One TOML file per case in `tests/config/{valid,invalid}`; the `.snap` beside it is what is shown for it.
//! `RGUNICORN_BLESS=1 cargo test` rewrites those: review the difference.

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
    let machine = Machine {
        processors: 4,
        directory: PathBuf::from("/home/me"),
    };
    load(&sources, &machine).map(|loaded| loaded.config)
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
