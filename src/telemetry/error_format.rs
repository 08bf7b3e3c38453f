//! An entry of the error log as those take it to whom it goes: a stream or a file, the journal, or a daemon.

use super::{datagram::severity, entry::Entry};
use crate::config::{ErrorFormat, LogLevel};

/// Whole lines for a stream or a file. `is_journal`: the stream is the journal's.
pub(super) fn lines(entry: &Entry<'_>, format: ErrorFormat, is_journal: bool) -> Vec<u8> {
    let out = match format {
        ErrorFormat::Text => {
            let mut text = String::new();
            entry.write_text(super::zone(), &mut text);
            text.into_bytes()
        }
        ErrorFormat::Json => {
            let mut object = json(entry);
            object.push(b'\n');
            object
        }
    };
    match is_journal {
        true => with_priority(entry.level, &out),
        false => out,
    }
}

/// Each line with its level as the journal reads it from a stream, sd-daemon(3).
fn with_priority(level: LogLevel, lines: &[u8]) -> Vec<u8> {
    let priority = format!("<{}>", severity(level)).into_bytes();
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| [priority.as_slice(), line].concat())
        .collect()
}

/// Messages for a daemon: one, where a message may have several lines (`knows_lines`).
pub(super) fn messages(entry: &Entry<'_>, format: ErrorFormat, knows_lines: bool) -> Vec<String> {
    if format == ErrorFormat::Json {
        return vec![String::from_utf8(json(entry)).unwrap_or_default()];
    }
    let mut message = String::new();
    entry.write_message(&mut message);
    if entry.detail.is_empty() {
        return vec![message];
    }
    let mut detail = String::new();
    entry.write_detail(&mut detail);
    if knows_lines {
        message.push('\n');
        message.push_str(detail.trim_end());
        return vec![message];
    }
    let below = detail.lines().map(str::to_owned);
    std::iter::once(message).chain(below).collect()
}

fn json(entry: &Entry<'_>) -> Vec<u8> {
    let mut object = Vec::new();
    entry.write_json(super::zone(), &mut object);
    object
}

/// What the journal can be searched by.
pub(super) fn journal_fields(entry: &Entry<'_>) -> Vec<(&'static str, String)> {
    let mut fields = vec![("RGUNICORN_ROLE", entry.speaker.role.to_owned())];
    for (name, number) in entry.numbers() {
        let field = match name {
            "generation" => "RGUNICORN_GENERATION",
            "worker" => "RGUNICORN_WORKER",
            "reload" => "RGUNICORN_RELOAD",
            _ => continue,
        };
        fields.push((field, number.to_string()));
    }
    if let Some(id) = entry.request_id() {
        fields.push(("REQUEST_ID", id.to_owned()));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_stream_to_the_journal_has_its_level() {
        let lines = with_priority(LogLevel::Error, b"failed\nTraceback\n");
        assert_eq!(lines, b"<3>failed\n<3>Traceback\n");
    }
}
