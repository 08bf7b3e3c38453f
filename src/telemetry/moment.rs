//! The wall clock as text, made once a second: formatting a date costs more than the rest of a line.

use std::cell::Cell;

use jiff::{Timestamp, tz::TimeZone};

/// One second in the two forms that access logs use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Second {
    unix: i64,
    /// `[21/Nov/2026:02:42:56 +0000]`, local time.
    pub(super) common: [u8; 28],
    /// `2026-11-21T02:42:56`, UTC.
    pub(super) rfc3339: [u8; 19],
}

/// Remembers the last second.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    zone: TimeZone,
    last: Cell<Second>,
}

impl Clock {
    pub(super) fn new(zone: TimeZone) -> Self {
        let last = Cell::new(Second::of(0, &zone));
        Self { zone, last }
    }

    pub(super) fn second(&self, unix: i64) -> Second {
        let mut second = self.last.get();
        if second.unix != unix {
            second = Second::of(unix, &self.zone);
            self.last.set(second);
        }
        second
    }
}

impl Second {
    fn of(unix: i64, zone: &TimeZone) -> Self {
        let timestamp = Timestamp::from_second(unix).unwrap_or(Timestamp::UNIX_EPOCH);
        let offset = zone.to_offset(timestamp);
        let local = offset.to_datetime(timestamp);
        let minutes = offset.seconds() / 60;
        let common = format!(
            "[{:02}/{}/{:04}:{:02}:{:02}:{:02} {}{:02}{:02}]",
            local.day(),
            MONTHS[usize::from(local.month().unsigned_abs()) - 1],
            local.year().max(0),
            local.hour(),
            local.minute(),
            local.second(),
            if minutes < 0 { '-' } else { '+' },
            minutes.abs() / 60,
            minutes.abs() % 60,
        );
        let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
        let rfc3339 = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            utc.year().max(0),
            utc.month(),
            utc.day(),
            utc.hour(),
            utc.minute(),
            utc.second(),
        );
        Self {
            unix,
            common: fixed(&common),
            rfc3339: fixed(&rfc3339),
        }
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn fixed<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    // Every field above has a fixed width, as jiff's years end at 9999.
    text.as_bytes().try_into().unwrap_or([b'-'; LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 02:42:56 UTC
    const NOW: i64 = 1_795_228_976;

    fn common(zone: &str, unix: i64) -> String {
        let clock = Clock::new(TimeZone::posix(zone).unwrap());
        String::from_utf8(clock.second(unix).common.to_vec()).unwrap()
    }

    #[test]
    fn a_second_is_told_in_local_time_with_its_offset() {
        assert_eq!(common("UTC0", NOW), "[21/Nov/2026:02:42:56 +0000]");
        assert_eq!(common("NST3:30", NOW), "[20/Nov/2026:23:12:56 -0330]");
        assert_eq!(common("IST-5:30", NOW), "[21/Nov/2026:08:12:56 +0530]");
    }

    #[test]
    fn summer_time_begins_between_two_seconds() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        let begin = 1_774_746_000; // 2026-03-29 01:00:00 UTC
        assert_eq!(common(berlin, begin - 1), "[29/Mar/2026:01:59:59 +0100]");
        assert_eq!(common(berlin, begin), "[29/Mar/2026:03:00:00 +0200]");
    }

    #[test]
    fn a_remembered_second_is_replaced_by_the_next() {
        let clock = Clock::new(TimeZone::UTC);
        for (unix, expected) in [(NOW, "56"), (NOW, "56"), (NOW + 1, "57"), (NOW, "56")] {
            let text = String::from_utf8(clock.second(unix).rfc3339.to_vec()).unwrap();
            assert_eq!(text, format!("2026-11-21T02:42:{expected}"));
        }
    }

    #[test]
    fn a_clock_that_is_far_off_does_no_harm() {
        assert_eq!(common("UTC0", i64::MAX), "[01/Jan/1970:00:00:00 +0000]");
    }
}
