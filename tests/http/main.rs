//! The HTTP engine against its corpus in `tests/http/`: whole, cut in two at every byte, byte by byte, and pipelined.

#![expect(
    clippy::unwrap_used,
    reason = "a corpus that cannot be read fails the test"
)]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proptest::prelude::*;
use rgunicorn::http::{BodyDecoder, Framing, HeadLimits, Progress, Refusal, RequestHead};

const LIMITS: HeadLimits = HeadLimits {
    request_line: 4094,
    headers: 100,
    header_size: 8190,
    body: 1 << 20,
};

const ORDINARY_REQUEST: &[u8] = b"GET /ordinary HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn every_case_has_the_expected_events() {
    let mut wrong = Vec::new();
    for case in CASES.iter() {
        let events = events_of(&[&case.input]);
        if std::env::var_os("RGUNICORN_BLESS").is_some() {
            case.bless(&events);
        } else if events != case.expected {
            wrong.push(format!(
                "{}\n--- expected\n{}\n--- got\n{events}\n",
                case.name(),
                case.expected
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_case_is_the_same_when_it_is_cut_in_two_anywhere() {
    for case in CASES.iter() {
        let whole = events_of(&[&case.input]);
        // A long case is one long run of equal bytes, in which one cut is like another.
        let step = if case.input.len() < 2_000 {
            1
        } else {
            case.input.len() / 100
        };
        for cut in (1..case.input.len()).step_by(step) {
            let (first, second) = case.input.split_at(cut);
            assert_eq!(
                events_of(&[first, second]),
                whole,
                "{} cut at {cut}",
                case.name()
            );
        }
    }
}

#[test]
fn every_case_is_the_same_byte_by_byte() {
    for case in CASES.iter() {
        let bytes: Vec<&[u8]> = case.input.chunks(1).collect();
        assert_eq!(
            events_of(&bytes),
            events_of(&[&case.input]),
            "{}",
            case.name()
        );
    }
}

#[test]
fn every_case_is_the_same_behind_another_request() {
    let ordinary = events_of(&[ORDINARY_REQUEST]);
    for case in CASES.iter() {
        let both = [ORDINARY_REQUEST, &case.input].concat();
        let expected = format!("{ordinary}\n\n{}", events_of(&[&case.input]));
        assert_eq!(events_of(&[&both]), expected, "{}", case.name());
    }
}

#[test]
fn every_case_that_keeps_the_connection_can_be_sent_twice() {
    for case in CASES.iter() {
        let once = events_of(&[&case.input]);
        let twice = events_of(&[&[&case.input[..], &case.input].concat()]);
        if once.ends_with("keep-alive") {
            assert_eq!(twice, format!("{once}\n\n{once}"), "{}", case.name());
        } else if !once.ends_with("truncated") {
            assert_eq!(
                twice,
                once,
                "nothing is served after the end: {}",
                case.name()
            );
        }
    }
}

#[test]
fn valid_cases_are_served_and_invalid_ones_are_not() {
    for case in CASES.iter() {
        let is_served = case.expected.ends_with("keep-alive") || case.expected.ends_with("close");
        assert_eq!(
            is_served,
            case.path
                .parent()
                .is_some_and(|folder| folder.ends_with("valid")),
            "{}",
            case.name()
        );
        assert!(
            case.about.starts_with("# "),
            "{} does not say what it shows",
            case.name()
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_the_same_in_any_pieces(input in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<usize>()) {
        check_any_cut(&LIMITS, &input, cut);
    }

    #[test]
    fn near_requests_are_the_same_in_any_pieces(input in near_request(), limits in narrow_limits(), cut in any::<usize>()) {
        check_any_cut(&LIMITS, &input, cut);
        check_any_cut(&limits, &input, cut);
    }

    #[test]
    fn damaged_cases_are_the_same_in_any_pieces(
        case in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"\r\n \t:;,\0".to_vec())],
        limits in narrow_limits(),
        cut in any::<usize>(),
    ) {
        let mut input = case.get(CASES.as_slice()).input.clone();
        input.truncate(2_000);
        *place.get_mut(&mut input) = byte;
        check_any_cut(&LIMITS, &input, cut);
        check_any_cut(&limits, &input, cut);
    }
}

/// Whole, in two pieces, and byte by byte. The first goes through httparse, the last only through the automaton, so this
/// holds the two grammars to each other too.
fn check_any_cut(limits: &HeadLimits, input: &[u8], cut: usize) {
    let whole = events_within(limits, &[input]);
    let (first, second) = input.split_at(cut % (input.len() + 1));
    assert_eq!(events_within(limits, &[first, second]), whole);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(events_within(limits, &bytes), whole);
}

/// Limits that short requests reach.
fn narrow_limits() -> impl Strategy<Value = HeadLimits> {
    (10..60_usize, 0..6_usize, 0..30_usize, 0..8_u64).prop_map(
        |(request_line, headers, header_size, body)| HeadLimits {
            request_line,
            headers,
            header_size,
            body,
        },
    )
}

/// Pieces of requests in random order: most are wrong, but not at once.
fn near_request() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "POST ",
        "/",
        "/a?b",
        "*",
        "http://a",
        " ",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/1.2",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "Host: a\r\n",
        "Host:",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "X",
        ":",
        "\t",
        "\0",
        "é",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        ";a=\"b\"",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\n",
    ]);
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(read_cases);

/// One case of the corpus.
struct Case {
    path: PathBuf,
    input: Vec<u8>,
    about: String,
    expected: String,
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let input = unescape(&fs::read_to_string(&path).unwrap());
        let text = fs::read_to_string(path.with_extension("expected")).unwrap();
        let (about, expected): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.starts_with('#'));
        Self {
            path,
            input,
            about: about.join("\n"),
            expected: expected.join("\n"),
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn bless(&self, events: &str) {
        fs::write(
            self.path.with_extension("expected"),
            format!("{}\n{events}\n", self.about),
        )
        .unwrap();
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

/// What the engine makes of a connection that delivers these pieces, one read each, and then ends.
fn events_of(pieces: &[&[u8]]) -> String {
    events_within(&LIMITS, pieces)
}

fn events_within(limits: &HeadLimits, pieces: &[&[u8]]) -> String {
    let mut connection = Connection::new(*limits);
    for piece in pieces {
        connection.receive(piece);
    }
    connection.finish()
}

struct Connection {
    limits: HeadLimits,
    buffer: Vec<u8>,
    head: RequestHead,
    body: Option<Body>,
    blocks: Vec<String>,
    is_closed: bool,
}

/// A request whose body is being read.
struct Body {
    head: String,
    decoder: BodyDecoder,
    content: Vec<u8>,
}

impl Connection {
    fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            head: RequestHead::new(),
            body: None,
            blocks: Vec::new(),
            is_closed: false,
        }
    }

    fn receive(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while !self.is_closed && self.advance() {}
    }

    /// Takes one step; false if it needs more bytes.
    fn advance(&mut self) -> bool {
        let Some(body) = &mut self.body else {
            return self.advance_head();
        };
        match body
            .decoder
            .decode(&self.buffer, |data| body.content.extend_from_slice(data))
        {
            Err(refusal) => self.refuse(refusal),
            Ok(decoded) => {
                self.buffer.drain(..decoded.consumed);
                assert!(decoded.complete || self.buffer.is_empty());
                assert_eq!(body.decoder.received(), body.content.len() as u64);
                decoded.complete && self.end_request()
            }
        }
    }

    fn advance_head(&mut self) -> bool {
        match self.head.parse(&self.buffer, &self.limits) {
            Err(refusal) => self.refuse(refusal),
            Ok(Progress::Partial) => false,
            Ok(Progress::Complete) => {
                self.body = Some(Body {
                    head: describe(&self.head, &self.buffer),
                    decoder: BodyDecoder::new(self.head.framing, &self.limits),
                    content: Vec::new(),
                });
                self.buffer.drain(..self.head.length);
                true
            }
        }
    }

    fn end_request(&mut self) -> bool {
        let body = self.body.take().unwrap();
        let mut block = body.head;
        if !self.head.framing.is_empty() {
            writeln!(
                block,
                "{}",
                format!("body {}", escape(&body.content)).trim_end()
            )
            .unwrap();
        }
        block.push_str(if self.head.persistent {
            "keep-alive"
        } else {
            "close"
        });
        self.blocks.push(block);
        self.is_closed = !self.head.persistent;
        true
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        assert_ne!(
            refusal.detail, "the head is malformed",
            "httparse and the automaton disagree"
        );
        self.blocks
            .push(format!("refused {} {}", refusal.status, refusal.detail));
        self.is_closed = true;
        true
    }

    fn finish(mut self) -> String {
        if !self.is_closed && (self.body.is_some() || RequestHead::has_begun(&self.buffer)) {
            self.blocks.push("truncated".to_owned());
        }
        self.blocks.join("\n\n")
    }
}

fn describe(head: &RequestHead, buffer: &[u8]) -> String {
    let mut lines = vec![
        format!(
            "request {} {} {}",
            escape(head.method(buffer)),
            escape(head.target(buffer)),
            head.version.as_str()
        ),
        format!("host {}", escape(head.host(buffer))),
        format!("path {}", escape(head.path(buffer))),
        format!("query {}", escape(head.query(buffer))),
    ];
    lines.extend(
        head.fields(buffer)
            .map(|(name, value)| format!("field {}: {}", escape(name), escape(value))),
    );
    if head.expect_continue {
        assert_ne!(head.framing, Framing::None);
        lines.push("expects 100-continue".to_owned());
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// Bytes as they are written in the corpus; runs of 64 and more are abbreviated.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let byte = match run[0] {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            0 => "\\0".to_owned(),
            b'\\' => "\\\\".to_owned(),
            visible @ b' '..=b'~' => char::from(visible).to_string(),
            other => format!("\\x{other:02x}"),
        };
        match run.len() {
            length @ 64.. => write!(text, "\\{{{byte}*{length}}}").unwrap(),
            length => text.push_str(&byte.repeat(length)),
        }
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
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
