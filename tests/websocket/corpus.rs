//! The cases in this folder, and how they are written: see README.md.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rgunicorn::websocket::Deflate;

use crate::unescape::unescape;

pub(crate) static CASES: LazyLock<Vec<Case>> = LazyLock::new(read_cases);

/// What the clients of the corpus mask with.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One case of the corpus.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    pub(crate) deflate: Option<Deflate>,
    pub(crate) steps: Vec<Step>,
    /// The comment that says what it shows.
    pub(crate) about: String,
    pub(crate) expected: String,
}

/// What happens to a connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Receive(Vec<u8>),
    /// The server closes, with this status.
    Close(u16),
    /// The client has closed its side.
    End,
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(path.with_extension("expected")).unwrap();
        let (about, expected): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with('#'));
        Self {
            deflate: agreed_in(&path),
            steps: steps(&fs::read_to_string(&path).unwrap()),
            about: about.join("\n"),
            expected: expected.join("\n"),
            path,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// All cases, in order.
fn read_cases() -> Vec<Case> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/websocket");
    let mut paths: Vec<_> = ["plain", "deflated", "deflated-apart"]
        .iter()
        .flat_map(|folder| fs::read_dir(corpus.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "frames"))
        .collect();
    paths.sort();
    assert!(paths.len() > 50, "the corpus is not where it should be");
    paths.into_iter().map(Case::read).collect()
}

/// The compression that was agreed is told by the folder.
fn agreed_in(path: &Path) -> Option<Deflate> {
    let folder = path.parent()?.file_name()?.to_str()?;
    let is_apart = folder == "deflated-apart";
    (folder != "plain").then_some(Deflate {
        server_no_context_takeover: is_apart,
        client_no_context_takeover: is_apart,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
        message_bytes_min: 0,
    })
}

/// Frames that follow each other are one step.
fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in text.lines() {
        let step = match line.split_once(' ') {
            Some(("server-closes", code)) => Step::Close(code.parse().unwrap()),
            None if line == "client-ends" => Step::End,
            _ => Step::Receive(frame(line)),
        };
        match (steps.last_mut(), step) {
            (Some(Step::Receive(before)), Step::Receive(bytes)) => before.extend(bytes),
            (_, step) => steps.push(step),
        }
    }
    steps
}

/// How a frame differs from the usual one.
#[derive(Default)]
struct Shape {
    first: u8,
    is_unmasked: bool,
    length_bytes: Option<usize>,
}

/// One frame of the client, from its line.
fn frame(line: &str) -> Vec<u8> {
    const FINAL: u8 = 0x80;
    let mut shape = Shape {
        first: FINAL,
        ..Shape::default()
    };
    let mut rest = line;
    loop {
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = behind;
        let opcode = match word {
            "bytes" => return unescape(rest),
            "more" => {
                shape.first &= !FINAL;
                continue;
            }
            "rsv1" | "rsv2" | "rsv3" => {
                shape.first |= FINAL >> (word.as_bytes()[3] - b'0');
                continue;
            }
            "unmasked" => {
                shape.is_unmasked = true;
                continue;
            }
            "length16" | "length64" => {
                shape.length_bytes = Some(word[6..].parse::<usize>().unwrap() / 8);
                continue;
            }
            "continuation" => 0x0,
            "text" => 0x1,
            "binary" => 0x2,
            "close" => 0x8,
            "ping" => 0x9,
            "pong" => 0xa,
            other => panic!("{other:?} in {line:?}"),
        };
        shape.first |= opcode;
        return shape.write(&unescape(rest));
    }
}

impl Shape {
    fn write(&self, payload: &[u8]) -> Vec<u8> {
        let shortest = match payload.len() {
            0..126 => 0,
            126..65_536 => 2,
            _ => 8,
        };
        let length = (payload.len() as u64).to_be_bytes();
        let mask_bit = if self.is_unmasked { 0 } else { 0x80 };
        let mut frame = vec![self.first];
        match self.length_bytes.unwrap_or(shortest) {
            0 => frame.push(mask_bit | length[7]),
            2 => frame.extend([&[mask_bit | 126], &length[6..]].concat()),
            _ => frame.extend([&[mask_bit | 127], &length[..]].concat()),
        }
        if self.is_unmasked {
            frame.extend(payload);
        } else {
            frame.extend(MASK);
            frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
        }
        frame
    }
}
