//! One entry of the error log in each of its forms: Gunicorn's line, a JSON object, the text of a syslog message.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

use super::escape;
use crate::config::LogLevel;

/// What the process that writes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    Arbiter = 0,
    Generation = 1,
    Worker = 2,
}

static ROLE: AtomicU8 = AtomicU8::new(Role::Arbiter as u8);
static GENERATION: AtomicU64 = AtomicU64::new(0);
static WORKER: AtomicU64 = AtomicU64::new(0);

/// Says who this process is, once it knows. Zero: it has no such number.
pub fn identify(role: Role, generation: u64, worker: u64) {
    ROLE.store(role as u8, Relaxed);
    GENERATION.store(generation, Relaxed);
    WORKER.store(worker, Relaxed);
}

/// Whose output is told: a worker's, or with worker 0 that of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Printer {
    pub pid: u32,
    pub worker: u64,
}

/// Who wrote an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker {
    pub(super) pid: u32,
    pub(super) role: &'static str,
    generation: u64,
    worker: u64,
}

impl Speaker {
    /// The pid is asked for each time: it changes at fork.
    pub(super) fn this_process() -> Self {
        let role = match ROLE.load(Relaxed) {
            1 => "generation",
            2 => "worker",
            _ => "arbiter",
        };
        Self {
            pid: std::process::id(),
            role,
            generation: GENERATION.load(Relaxed),
            worker: WORKER.load(Relaxed),
        }
    }

    /// A process of this generation, for which this one writes.
    pub(super) fn of(printer: Printer) -> Self {
        let role = match printer.worker {
            0 => "generation",
            _ => "worker",
        };
        Self {
            pid: printer.pid,
            role,
            generation: GENERATION.load(Relaxed),
            worker: printer.worker,
        }
    }
}

/// What is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) now: Timestamp,
    pub(super) speaker: Speaker,
    pub(super) level: LogLevel,
    /// Where the text comes from, if it is not the server's: `stdout`, `stderr`, `wsgi.errors`.
    pub(super) source: Option<&'a str>,
    pub(super) message: &'a str,
    /// More of it, in lines: a traceback, a report. Often empty.
    pub(super) detail: &'a str,
}

/// Numbers that lines of the server begin with, `generation=3 worker=2 pid=812 ready`, and their names as fields: the
/// `pid` of an object is that of the process that wrote it.
const NUMBERS: [(&str, &str); 5] = [
    ("generation", "generation"),
    ("worker", "worker"),
    ("reload", "reload"),
    ("pid", "target_pid"),
    ("workers", "workers"),
];

impl<'a> Entry<'a> {
    /// The numbers that the entry is about: those in the message, else those of the process.
    pub(super) fn numbers(&self) -> Vec<(&'static str, u64)> {
        let mut numbers = match self.source {
            Some(_) => Vec::new(),
            None => leading_numbers(self.message),
        };
        for (name, number) in [
            ("generation", self.speaker.generation),
            ("worker", self.speaker.worker),
        ] {
            if number != 0 && numbers.iter().all(|(known, _)| *known != name) {
                numbers.push((name, number));
            }
        }
        numbers
    }

    /// The id of the request that the entry is about.
    pub(super) fn request_id(&self) -> Option<&'a str> {
        let words = self.message.split(' ').take(NUMBERS.len() + 1);
        let mut values = words.map_while(|word| word.split_once('='));
        let (_, id) = values.find(|(key, _)| *key == "request_id")?;
        (self.source.is_none() && !id.is_empty()).then_some(id)
    }

    /// Lines for people: Gunicorn's prefix, the message, the detail below.
    pub(super) fn write_text(&self, zone: &TimeZone, out: &mut String) {
        write_prefix(self.now, zone, self.speaker.pid, self.level, out);
        self.write_message(out);
        out.push('\n');
        self.write_detail(out);
    }

    /// The message alone, on one line, without its line end.
    pub(super) fn write_message(&self, out: &mut String) {
        if let Some(source) = self.source {
            for (name, number) in self.numbers() {
                let _ = write!(out, "{name}={number} ");
            }
            let _ = write!(out, "{source}: ");
        }
        let _ = Escaped(out).write_str(self.message);
    }

    /// The lines of the detail, with their line ends; none where there is no detail.
    pub(super) fn write_detail(&self, out: &mut String) {
        for line in self.detail.lines() {
            escape_controls(line, out);
            out.push('\n');
        }
    }

    /// One object, without a line end.
    pub(super) fn write_json(&self, zone: &TimeZone, out: &mut Vec<u8>) {
        let mut head = String::from("{\"time\":\"");
        write_rfc3339(self.now, zone, &mut head);
        let Speaker { pid, role, .. } = self.speaker;
        let level = level_name(self.level);
        let _ = write!(
            head,
            "\",\"level\":\"{level}\",\"pid\":{pid},\"role\":\"{role}\""
        );
        for (name, number) in self.numbers() {
            let _ = write!(head, ",\"{name}\":{number}");
        }
        out.extend_from_slice(head.as_bytes());
        let mut string = |key: &str, value: &str| {
            out.extend_from_slice(key.as_bytes());
            escape::json(value.as_bytes(), out);
        };
        if let Some(id) = self.request_id() {
            string(",\"request_id\":", id);
        }
        if let Some(source) = self.source {
            string(",\"source\":", source);
        }
        string(",\"message\":", self.message);
        if !self.detail.is_empty() {
            string(",\"detail\":", self.detail.trim_end());
        }
        out.push(b'}');
    }
}

/// The known keys with numbers at the beginning of a message. What follows the first other word may be a stranger's.
fn leading_numbers(message: &str) -> Vec<(&'static str, u64)> {
    let number = |word: &str| {
        let (key, value) = word.split_once('=')?;
        let (_, name) = NUMBERS.iter().find(|(known, _)| *known == key)?;
        Some((*name, value.parse().ok()?))
    };
    message
        .split(' ')
        .map_while(number)
        .take(NUMBERS.len())
        .collect()
}

pub(super) fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warning => "WARNING",
        LogLevel::Error => "ERROR",
        LogLevel::Critical => "CRITICAL",
    }
}

fn write_prefix(now: Timestamp, zone: &TimeZone, pid: u32, level: LogLevel, out: &mut String) {
    let level = level_name(level);
    let _ = write!(out, "[{}] [{pid}] [{level}] ", local(now, zone, "%F %T %z"));
}

/// `2026-11-21T02:42:56.123+00:00`
pub(super) fn write_rfc3339(now: Timestamp, zone: &TimeZone, out: &mut String) {
    let _ = write!(out, "{}", local(now, zone, "%FT%T%.3f%:z"));
}

/// Wall clock time there, in a form of strftime(3).
fn local<'f>(now: Timestamp, zone: &TimeZone, form: &'f str) -> strtime::Display<'f> {
    now.to_zoned(zone.clone()).strftime(form)
}

/// Escapes what is formatted into it, tabs included.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, part) in text.split('\t').enumerate() {
            if index > 0 {
                self.0.push_str("\\t");
            }
            escape_controls(part, self.0);
        }
        Ok(())
    }
}

/// Control characters (C0, DEL, C1) but the tab as `\n`, `\r`, `\x1B`: a terminal must not obey what a client sent.
fn escape_controls(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push('\t'),
            control if control.is_control() => {
                let _ = write!(out, "\\x{:02X}", control as u32);
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(message: &'a str, detail: &'a str) -> Entry<'a> {
        Entry {
            now: "2026-11-21T02:42:56.007Z".parse().unwrap(),
            speaker: Speaker {
                pid: 812,
                role: "worker",
                generation: 3,
                worker: 2,
            },
            level: LogLevel::Info,
            source: None,
            message,
            detail,
        }
    }

    fn text(entry: &Entry<'_>, zone: &str) -> String {
        let mut out = String::new();
        entry.write_text(&TimeZone::posix(zone).unwrap(), &mut out);
        out
    }

    fn json(entry: &Entry<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        entry.write_json(&TimeZone::posix("IST-5:30").unwrap(), &mut out);
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_begins_as_gunicorns_do_in_local_time() {
        let ready = entry("ready", "");
        assert_eq!(
            text(&ready, "UTC0"),
            "[2026-11-21 02:42:56 +0000] [812] [INFO] ready\n"
        );
        assert_eq!(
            text(&ready, "NST3:30"),
            "[2026-11-20 23:12:56 -0330] [812] [INFO] ready\n"
        );
        assert_eq!(
            text(&ready, "CET-1CEST,M3.5.0,M10.5.0/3"),
            "[2026-11-21 03:42:56 +0100] [812] [INFO] ready\n"
        );
    }

    #[test]
    fn a_value_cannot_begin_a_line_or_steer_a_terminal() {
        let forged = entry("app=a\n[2026] forged\r\t\x1b[2J\u{9b}\0 é ready", "");
        let line = text(&forged, "UTC0");
        assert!(
            line.ends_with("app=a\\n[2026] forged\\r\\t\\x1B[2J\\x9B\\x00 é ready\n"),
            "{line}"
        );
    }

    #[test]
    fn a_detail_keeps_its_lines_and_tabs() {
        let traceback = "Traceback (most recent call last):\n\tFile \"a.py\"\r\nValueError: \x07";
        let lines = text(&entry("worker=1 failed", traceback), "UTC0");
        let (_, below) = lines.split_once("worker=1 failed\n").unwrap();
        assert_eq!(
            below,
            "Traceback (most recent call last):\n\tFile \"a.py\"\nValueError: \\x07\n"
        );
    }

    #[test]
    fn an_object_says_when_who_and_what_about() {
        let value = json(&entry("generation=4 worker=7 pid=99 ready", ""));
        assert_eq!(
            value,
            serde_json::json!({
                "time": "2026-11-21T08:12:56.007+05:30", "level": "INFO", "pid": 812, "role": "worker",
                "generation": 4, "worker": 7, "target_pid": 99, "message": "generation=4 worker=7 pid=99 ready",
            })
        );
        let value = json(&entry("request_id=ab-1 the app failed on GET /", "a\nb\n"));
        assert_eq!(
            value,
            serde_json::json!({
                "time": "2026-11-21T08:12:56.007+05:30", "level": "INFO", "pid": 812, "role": "worker", "generation": 3,
                "worker": 2, "request_id": "ab-1", "message": "request_id=ab-1 the app failed on GET /", "detail": "a\nb",
            })
        );
    }

    #[test]
    fn what_the_app_says_is_no_field_and_comes_back_as_it_was() {
        let message = "worker=9 pid=1 request_id=x \"},{\" \n\x1b\u{9b} é \u{2028}";
        let printed = Entry {
            source: Some("stdout"),
            ..entry(message, "")
        };
        let value = json(&printed);
        assert_eq!(value["message"], message);
        assert_eq!(
            (&value["worker"], &value["source"]),
            (&2.into(), &"stdout".into())
        );
        assert!(value.get("target_pid").is_none() && value.get("request_id").is_none());
        let line = text(&printed, "UTC0");
        assert!(
            line.contains("] generation=3 worker=2 stdout: worker=9 pid=1"),
            "{line}"
        );
    }

    #[test]
    fn only_numbers_before_the_first_other_word_count() {
        assert_eq!(leading_numbers("worker=2 GET /?worker=3"), [("worker", 2)]);
        assert_eq!(leading_numbers("level=5 worker=2"), []);
        assert_eq!(leading_numbers("worker=x"), []);
    }
}
