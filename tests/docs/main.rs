//! The pages: what is made from the program itself is committed and what it would make now (`RGUNICORN_BLESS=1 cargo test`
//! rewrites it); what people wrote names keys, files and headings that exist.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read what it compares fails"
)]

mod gunicorn_settings;
mod keys;
mod links;
mod man;
mod reference;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the repository's root and of `docs`, by path, with their text.
fn pages() -> BTreeMap<PathBuf, String> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let pages = paths.into_iter().filter(is_page);
    pages
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[track_caller]
fn compare(name: &str, text: &str) {
    let path = root().join(name);
    if env::var_os("RGUNICORN_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{name} is stale: `RGUNICORN_BLESS=1 cargo test --test docs` rewrites it"
    );
}
