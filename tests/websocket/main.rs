//! The WebSocket engine against its corpus in this folder: whole, cut in two at every byte, and byte by byte.

#![expect(
    clippy::unwrap_used,
    reason = "a corpus that cannot be read fails the test"
)]

mod connection;
mod corpus;
#[path = "../http/escape.rs"]
mod escape;
#[path = "../http/unescape.rs"]
mod unescape;

use std::fs;

use connection::events_of;
use corpus::{CASES, Step};

#[test]
fn every_case_has_the_expected_events() {
    let mut wrong = Vec::new();
    for case in CASES.iter() {
        let events = events_of(case.deflate.as_ref(), &case.steps);
        if std::env::var_os("RGUNICORN_BLESS").is_some() {
            let text = format!("{}\n{events}\n", case.about);
            fs::write(case.path.with_extension("expected"), text).unwrap();
        } else if events != case.expected {
            wrong.push(format!(
                "{}\n--- expected\n{}\n--- got\n{events}\n",
                case.name(),
                case.expected
            ));
        }
    }
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} cases\n{}", wrong.join("\n"));
}

#[test]
fn every_case_says_what_it_shows() {
    for case in CASES.iter() {
        assert!(case.about.starts_with("# "), "{}", case.name());
    }
}

#[test]
fn every_case_is_the_same_when_it_is_cut_in_two_anywhere() {
    for case in CASES.iter() {
        let whole = events_of(case.deflate.as_ref(), &case.steps);
        for (place, step) in case.steps.iter().enumerate() {
            let Step::Receive(bytes) = step else { continue };
            // A long step is one long run of equal bytes, in which one cut is like another.
            let every = if bytes.len() < 2_000 { 1 } else { 997 };
            for cut in (1..bytes.len()).step_by(every) {
                let (first, second) = bytes.split_at(cut);
                let mut steps = case.steps.clone();
                let pieces = [first, second].map(|piece| Step::Receive(piece.to_vec()));
                steps.splice(place..=place, pieces);
                let events = events_of(case.deflate.as_ref(), &steps);
                assert_eq!(events, whole, "{} cut at {cut}", case.name());
            }
        }
    }
}

#[test]
fn every_case_is_the_same_byte_by_byte() {
    for case in CASES.iter() {
        let bytes = |step: &Step| match step {
            Step::Receive(bytes) => bytes.iter().map(|it| Step::Receive(vec![*it])).collect(),
            other => vec![other.clone()],
        };
        let steps: Vec<Step> = case.steps.iter().flat_map(bytes).collect();
        assert_eq!(
            events_of(case.deflate.as_ref(), &steps),
            events_of(case.deflate.as_ref(), &case.steps),
            "{}",
            case.name()
        );
    }
}
