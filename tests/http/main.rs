//! The HTTP engine against its corpus in this folder: whole, cut in two at every byte, byte by byte, and pipelined; and against
//! what chance makes of it (`random`).

#![expect(
    clippy::unwrap_used,
    reason = "a corpus that cannot be read fails the test"
)]

mod connection;
mod corpus;
mod escape;
mod random;
mod strict;

use std::{fs, path::Path};

use connection::events_of;
use corpus::CASES;

const ORDINARY_REQUEST: &[u8] = b"GET /ordinary HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn every_case_has_the_expected_events() {
    let mut wrong = Vec::new();
    for case in CASES.iter() {
        let events = events_of(&[&case.input]);
        if std::env::var_os("RGUNICORN_BLESS").is_some() {
            let path = case.path.with_extension("expected");
            fs::write(&path, format!("{}\n{events}\n", about(&path))).unwrap();
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

/// The comment that says what a case shows.
fn about(expected: &Path) -> String {
    let text = fs::read_to_string(expected).unwrap();
    let comment = text.lines().filter(|line| line.starts_with('#'));
    comment.collect::<Vec<_>>().join("\n")
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
            about(&case.path.with_extension("expected")).starts_with("# "),
            "{} does not say what it shows",
            case.name()
        );
    }
}
