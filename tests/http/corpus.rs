//! The cases in this folder, and how they are written: see README.md. The end-to-end tests send them to the server.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

#[path = "unescape.rs"]
mod unescape;

pub(crate) use unescape::unescape;

pub(crate) static CASES: LazyLock<Vec<Case>> = LazyLock::new(read_cases);

/// One case of the corpus.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    pub(crate) input: Vec<u8>,
    /// Without the comment that says what it shows.
    pub(crate) expected: String,
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let input = unescape(&fs::read_to_string(&path).unwrap());
        let text = fs::read_to_string(path.with_extension("expected")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let expected = lines.collect::<Vec<_>>().join("\n");
        Self {
            path,
            input,
            expected,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// All cases, in order.
fn read_cases() -> Vec<Case> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http");
    let mut paths: Vec<_> = ["valid", "invalid"]
        .iter()
        .flat_map(|folder| fs::read_dir(corpus.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "http")
        })
        .collect();
    paths.sort();
    assert!(paths.len() > 200, "the corpus is not where it should be");
    paths.into_iter().map(Case::read).collect()
}
