//! Pages that are made from the program itself: committed, and the same as what it would make now.
//! `RGUNICORN_BLESS=1 cargo test` rewrites them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read what it compares fails"
)]

mod gunicorn_settings;
mod links;
mod man;
mod reference;

use std::{env, fs, path::Path};

#[track_caller]
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if env::var_os("RGUNICORN_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{name} is stale: `RGUNICORN_BLESS=1 cargo test --test docs` rewrites it"
    );
}
