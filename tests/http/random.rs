//! What chance makes of requests: the engine sees the same in any pieces, and nothing that a strict reader does not see.

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use rgunicorn::http::HeadLimits;

use crate::{
    connection::{LIMITS, events_within, served},
    corpus::{CASES, Case},
    strict,
};

/// The same cases in each run, so that a failure is always somebody's doing.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        rng_seed: RngSeed::Fixed(9112),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn arbitrary_bytes_are_the_same_in_any_pieces(input in proptest::collection::vec(any::<u8>(), 0..200), cuts in cuts()) {
        check_any_pieces(&LIMITS, &input, &cuts);
    }

    #[test]
    fn near_requests_are_the_same_in_any_pieces(input in near_request(), limits in narrow_limits(), cuts in cuts()) {
        check_any_pieces(&LIMITS, &input, &cuts);
        check_any_pieces(&limits, &input, &cuts);
    }

    #[test]
    fn damaged_requests_are_the_same_in_any_pieces(input in damaged_requests(), limits in narrow_limits(), cuts in cuts()) {
        check_any_pieces(&LIMITS, &input, &cuts);
        check_any_pieces(&limits, &input, &cuts);
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn damaged_requests_are_served_as_a_strict_reader_sees_them_or_not_at_all(input in damaged_requests()) {
        check_against_strict_reader(&input);
    }

    #[test]
    fn near_requests_are_served_as_a_strict_reader_sees_them_or_not_at_all(input in near_request()) {
        check_against_strict_reader(&input);
    }
}

#[test]
fn cases_are_served_as_a_strict_reader_sees_them() {
    for case in CASES.iter() {
        let (ours, theirs) = (served(&case.input), strict::read(&case.input));
        match is_valid(case) {
            true => assert_eq!(ours, theirs, "{}", case.name()),
            false => assert!(theirs.starts_with(&ours), "{}", case.name()),
        }
    }
}

/// We may refuse what is well framed, for other reasons; we must not serve what is not.
fn check_against_strict_reader(input: &[u8]) {
    let (ours, theirs) = (served(input), strict::read(input));
    assert!(
        theirs.starts_with(&ours),
        "served: {ours:#?}\na strict reader: {theirs:#?}"
    );
}

/// Whole, cut at these places, and byte by byte. The first goes through httparse, the last only through the automaton, so this
/// holds the two grammars to each other too.
fn check_any_pieces(limits: &HeadLimits, input: &[u8], cuts: &[Index]) {
    let whole = events_within(limits, &[input]);
    let mut places: Vec<usize> = (cuts.iter())
        .map(|cut| cut.index(input.len() + 1))
        .collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    let pieces: Vec<&[u8]> = (places.windows(2))
        .map(|ends| &input[ends[0]..ends[1]])
        .collect();
    assert_eq!(events_within(limits, &pieces), whole);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(events_within(limits, &bytes), whole);
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 1..8)
}

/// Limits that short requests reach.
fn narrow_limits() -> impl Strategy<Value = HeadLimits> {
    (
        10..60_usize,
        0..6_usize,
        0..30_usize,
        20..90_usize,
        0..8_u64,
    )
        .prop_map(
            |(request_line, headers, header_size, head, body)| HeadLimits {
                request_line,
                headers,
                header_size,
                head,
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

/// What happens to bytes on the way from somebody who means harm.
#[derive(Debug, Clone)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    /// A line comes again somewhere else.
    Repeat(Index, Index),
}

impl Damage {
    fn strategy() -> impl Strategy<Value = Self> {
        let telling = prop::sample::select(b"\r\n \t:;,\0\x0b\x7f\x80_-+x0\"#".to_vec());
        let snippets = prop::sample::select(vec![
            "\r",
            "\n",
            "\r\n",
            "\r\n\r\n",
            " ",
            "\t",
            "\0",
            "\x0b",
            ";",
            ",",
            "0",
            "+",
            "0x",
            "_",
            "\"",
            "chunked",
            ", identity",
            "Content-Length: 3\r\n",
            "Content-Length: 0\r\n",
            "content-length : 3\r\n",
            "Content-Length: 3, 3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding:\tchunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
            "Transfer_Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive\r\n",
            "Host: b\r\n",
            "X: a\r\n b\r\n",
            "0\r\n\r\n",
            "3\r\nabc\r\n",
            "3;\nx\r\n",
            "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ]);
        prop_oneof![
            (any::<Index>(), prop_oneof![any::<u8>(), telling])
                .prop_map(|(at, byte)| Self::Replace(at, byte)),
            (any::<Index>(), snippets).prop_map(|(at, snippet)| Self::Insert(at, snippet)),
            (any::<Index>(), 1..4_usize).prop_map(|(at, count)| Self::Remove(at, count)),
            (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Self::Repeat(from, to)),
        ]
    }

    fn strike(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Replace(at, byte) if !bytes.is_empty() => *at.get_mut(bytes) = *byte,
            Self::Insert(at, snippet) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, snippet.bytes());
            }
            Self::Remove(at, count) => {
                let start = at.index(bytes.len() + 1);
                let end = (start + count).min(bytes.len());
                bytes.drain(start..end);
            }
            Self::Repeat(from, to) => {
                let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                if !lines.is_empty() {
                    let line = from.get(&lines).to_vec();
                    let at = lines[..to.index(lines.len() + 1)].concat().len();
                    bytes.splice(at..at, line);
                }
            }
            Self::Replace(..) => {}
        }
    }
}

/// Valid requests, one behind the other, with a few damages.
fn damaged_requests() -> impl Strategy<Value = Vec<u8>> {
    let short = |case: &&Case| is_valid(case) && case.input.len() < 1_000;
    let valid: Vec<&Case> = CASES.iter().filter(short).collect();
    let requests = proptest::collection::vec(prop::sample::select(valid), 1..4);
    let damages = proptest::collection::vec(Damage::strategy(), 1..5);
    (requests, damages).prop_map(|(requests, damages)| {
        let mut bytes: Vec<u8> = requests
            .iter()
            .flat_map(|case| case.input.clone())
            .collect();
        for damage in damages {
            damage.strike(&mut bytes);
        }
        bytes
    })
}

fn is_valid(case: &Case) -> bool {
    (case.path.parent()).is_some_and(|folder| folder.ends_with("valid"))
}
