//! `/events`: what the arbiter told its log last, whatever the log's level and target are.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    reply::{Reply, Response},
    request::Request,
    situation::{Situation, moment_text},
};
use crate::config::LogLevel;

/// How many are remembered.
const EVENTS_MAX: usize = 200;
/// Bytes of a line, and of the text below it.
const LINE_BYTES_MAX: usize = 1024;
const DETAIL_BYTES_MAX: usize = 8 * 1024;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From 1, without gaps, for the life of the process.
    pub number: u64,
    /// RFC 3339, UTC.
    pub at: String,
    pub level: LogLevel,
    pub text: String,
    /// What stands below the line: a traceback, problems. Empty without.
    pub detail: String,
}

/// The last ones, oldest first.
#[derive(Debug, Default)]
pub(super) struct Events {
    last: VecDeque<Event>,
    count: u64,
}

impl Events {
    /// What another program had remembered.
    pub(super) fn resume(events: Vec<Event>) -> Self {
        let surplus = events.len().saturating_sub(EVENTS_MAX);
        let last: VecDeque<Event> = events.into_iter().skip(surplus).collect();
        let count = last.back().map_or(0, |event| event.number);
        Self { last, count }
    }

    pub(super) fn add(&mut self, at_us: i64, level: LogLevel, text: &str, detail: &str) {
        if self.last.len() == EVENTS_MAX {
            self.last.pop_front();
        }
        self.count += 1;
        self.last.push_back(Event {
            number: self.count,
            at: moment_text(at_us),
            level,
            text: cut(text, LINE_BYTES_MAX),
            detail: cut(detail, DETAIL_BYTES_MAX),
        });
    }

    /// Those with a greater number.
    pub(super) fn after(&self, number: u64) -> Vec<Event> {
        let newer = self.last.iter().filter(|event| event.number > number);
        newer.cloned().collect()
    }
}

/// `GET /events`, and `GET /events?after=17` for those with a greater number.
pub(super) fn events(request: &Request, situation: &mut Situation<'_>) -> Reply {
    let after = match request.query.get("after").map(str::parse) {
        None => 0,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            let what = "`after` must be the number of an event";
            return Response::problem(400, what, "leave it out for all that are remembered").into();
        }
    };
    Response::json(
        200,
        &json!({ "events": situation.link.events_after(after) }),
    )
    .into()
}

fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_cut() {
        let mut events = Events::default();
        for number in 0..300 {
            events.add(0, LogLevel::Info, &format!("line {number}"), "");
        }
        events.add(0, LogLevel::Error, &"é".repeat(2000), &"x".repeat(20_000));
        let all = events.after(0);
        assert_eq!((all.len(), all[0].number), (EVENTS_MAX, 102));
        assert_eq!(events.after(300).len(), 1);
        let last = &all[EVENTS_MAX - 1];
        assert_eq!((last.text.len(), last.detail.len()), (1024, 8192));
        assert_eq!(last.at, "1970-01-01T00:00:00.000Z");
        let mut resumed = Events::resume(all.clone());
        resumed.add(0, LogLevel::Info, "upgrade done", "");
        assert_eq!(resumed.after(0)[..EVENTS_MAX - 1], all[1..]);
        assert_eq!(resumed.after(301)[0].number, 302);
    }
}
