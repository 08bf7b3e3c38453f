//! A bound that Gunicorn does not have: on a request head as a whole. Whoever set limits for the lines of a head that are not
//! Gunicorn's defaults gets room for all that these let through together; whoever did not hears of ours.

use super::Draft;
use crate::config::{bounds, file};

const KEY: &str = "limits.head";

/// Gunicorn's defaults, as in its table of settings.
const REQUEST_LINE: i64 = 4094;
const FIELDS: i64 = 100;
const FIELD_SIZE: i64 = 8190;

/// CRLF, in bytes.
const LINE_END: i64 = 2;

const COMMENT: &str = "Gunicorn has no limit for all of a head: this has room for what its limits for lines let through. Where \
    nobody sends that much, leave it out; the default is 64KiB.";

/// Adds the bound where the default would refuse what the limits in the draft accept.
pub(super) fn bound(draft: &mut Draft) {
    let ours = file::Limits::default();
    let number = |key| {
        draft
            .entries
            .iter()
            .find(|entry| entry.key == key)?
            .value
            .as_integer()
    };
    let request_line = number("limits.request_line").unwrap_or(REQUEST_LINE);
    let fields = number("limits.headers").unwrap_or(FIELDS);
    let field_size = number("limits.header_size").unwrap_or(FIELD_SIZE);
    let default = signed(ours.head.0);
    let fields_bytes = match (fields, field_size) {
        // As much as there is beside the longest line of our default.
        (FIELDS, FIELD_SIZE) => default - signed(ours.request_line.0) - 2 * LINE_END,
        _ => fields.saturating_mul(field_size + LINE_END),
    };
    let needed = request_line + fields_bytes + 2 * LINE_END;
    if needed > default {
        let most = bounds(KEY).map_or(default, |(_, most)| most);
        let mut comments = vec![COMMENT.to_owned()];
        if needed > most {
            comments.push("This is the largest limit here.".to_owned());
        }
        let kibibytes = (needed.min(most) + 1023) / 1024;
        draft.set(KEY, format!("{kibibytes}KiB"), comments);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{default_text, gunicorn::find};

    fn bound_with(limits: &[(&str, i64)]) -> Option<String> {
        let mut draft = Draft::default();
        for (name, value) in limits {
            draft.set(&format!("limits.{name}"), *value, Vec::new());
        }
        bound(&mut draft);
        let value = draft.get_mut(KEY)?.value.clone();
        value.as_str().map(str::to_owned)
    }

    #[test]
    fn who_left_the_limits_of_lines_alone_gets_the_default() {
        assert_eq!(bound_with(&[]), None);
        let gunicorns = [
            ("request_line", 4094),
            ("headers", 100),
            ("header_size", 8190),
        ];
        assert_eq!(bound_with(&gunicorns), None);
        assert_eq!(bound_with(&[("request_line", 8190)]), None);
    }

    #[test]
    fn who_set_them_gets_room_for_all_that_they_let_through() {
        // 4094 + 2 + 50 * 8192 + 2
        assert_eq!(bound_with(&[("headers", 50)]).as_deref(), Some("405KiB"));
        let small = [("headers", 30), ("header_size", 2000)];
        assert_eq!(bound_with(&small), None, "the default has room for that");
        let huge = [("headers", 512), ("header_size", 65_536)];
        assert_eq!(bound_with(&huge).as_deref(), Some("1024KiB"), "the largest");
        // 65,536 in place of the 8,190 that the default has room for
        let line = [("request_line", 65_536)];
        assert_eq!(bound_with(&line).as_deref(), Some("121KiB"));
    }

    #[test]
    fn the_defaults_are_the_defaults() {
        for (name, default) in [
            ("limit_request_line", REQUEST_LINE),
            ("limit_request_fields", FIELDS),
            ("limit_request_field_size", FIELD_SIZE),
        ] {
            assert_eq!(find(name).unwrap().default, default.to_string());
        }
        assert!(COMMENT.contains(&default_text(KEY).unwrap()));
    }
}
