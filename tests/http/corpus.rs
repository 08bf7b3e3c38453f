//! The cases in this folder, and how they are written: see README.md. The end-to-end tests send them to the server.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

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

/// The bytes that the corpus writes as text.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let text = text.replace('\n', "");
    assert!(text.is_ascii(), "a byte above 127 is written as \\xHH");
    let mut bytes = Vec::new();
    let mut rest = text.as_str();
    while let Some(byte) = rest.bytes().next() {
        let escape = rest.get(1..).unwrap_or_default();
        let (piece, length) = match (byte, escape.bytes().next()) {
            (b'\\', Some(b'r')) => (vec![b'\r'], 2),
            (b'\\', Some(b'n')) => (vec![b'\n'], 2),
            (b'\\', Some(b't')) => (vec![b'\t'], 2),
            (b'\\', Some(b'0')) => (vec![0], 2),
            (b'\\', Some(b'\\')) => (vec![b'\\'], 2),
            (b'\\', Some(b'x')) => (vec![u8::from_str_radix(&escape[1..3], 16).unwrap()], 4),
            (b'\\', Some(b'{')) => {
                let end = escape.find('}').unwrap();
                let (byte, count) = escape[1..end].split_once('*').unwrap();
                (
                    byte.repeat(count.parse().unwrap()).into_bytes(),
                    1 + end + 1,
                )
            }
            (b'\\', other) => panic!("unknown escape {other:?}"),
            (byte, _) => (vec![byte], 1),
        };
        bytes.extend(piece);
        rest = &rest[length..];
    }
    bytes
}
