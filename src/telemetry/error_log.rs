//! The error log of this process: lines that a human reads and a machine can parse, in Gunicorn's form.
//!
//! `[2026-11-21 02:42:56 +0000] [812] [INFO] generation=3 worker=2 pid=812 ready`
//!
//! Every line, and every block (a traceback, a report on the config), is one write. Nothing here panics or waits
//! longer than [`PATIENCE`]; a line that cannot be written is counted, and the next one that can says how many
//! were lost. Before [`init`], lines go to stderr.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};

use super::sink::{Outcome, Sink};
use crate::{
    config::{LogLevel, LogTarget},
    wire::{LogCount, Scoreboard},
};

/// How long a line waits for the reader of a full pipe before it is dropped.
const PATIENCE: Duration = Duration::from_millis(50);

static LOG: RwLock<Destination> = RwLock::new(Destination {
    sink: None,
    is_off: false,
});
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static COUNTED_IN: OnceLock<Scoreboard> = OnceLock::new();

struct Destination {
    /// `None`: not set up yet. While the log is off it leads to nowhere, and keeps the descriptor's number.
    sink: Option<Sink>,
    is_off: bool,
}

/// Opens the error log of this process. When it fails, lines go where they went before.
pub fn init(target: &LogTarget, level: LogLevel) -> io::Result<()> {
    let is_off = *target == LogTarget::Off;
    let nowhere = LogTarget::File("/dev/null".into());
    let sink = Sink::open(if is_off { &nowhere } else { target }, None)?;
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = Destination { sink, is_off };
    set_level(level);
    super::zone();
    Ok(())
}

/// From now on lines go to a descriptor that the arbiter opened for `target`. The log's own descriptor keeps its number;
/// when it fails, lines go where they went before.
pub fn redirect(descriptor: OwnedFd, target: &LogTarget) -> io::Result<()> {
    let new = Sink::from_descriptor(descriptor, target)?;
    let log = &mut *LOG.write().unwrap_or_else(PoisonError::into_inner);
    match &mut log.sink {
        Some(sink) => sink.become_as(new)?,
        sink => *sink = Some(new),
    }
    log.is_off = *target == LogTarget::Off;
    super::zone();
    Ok(())
}

/// Lines below this level are not written.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Relaxed);
}

pub fn enabled(level: LogLevel) -> bool {
    level as u8 >= LEVEL.load(Relaxed)
}

/// Opens the file again after it was moved away (SIGUSR1). The descriptor keeps its number; when it fails the old
/// file stays in use, and the log says so.
pub fn reopen() {
    let failure = {
        let log = &mut *LOG.write().unwrap_or_else(PoisonError::into_inner);
        log.sink.as_mut().and_then(|sink| {
            let error = sink.reopen().err()?;
            let path = sink.path().unwrap_or("".as_ref()).display().to_string();
            Some((path, error))
        })
    };
    if let Some((path, error)) = failure {
        crate::error!("cannot reopen the error log `{path}`: {error}; the old file stays in use");
    }
}

/// Gives a log file to the user that workers will run as, so that they can reopen it.
pub fn set_owner(user: u32, group: u32) {
    if let Some(sink) = &LOG.read().unwrap_or_else(PoisonError::into_inner).sink {
        sink.set_owner(user, group);
    }
}

/// The number of the descriptor, for what must write without us: Python's faulthandler. It stays the same through
/// [`reopen`] and [`redirect`], and leads to nowhere while the log is off.
pub fn descriptor() -> RawFd {
    match &LOG.read().unwrap_or_else(PoisonError::into_inner).sink {
        Some(sink) => sink.descriptor().as_raw_fd(),
        None => io::stderr().as_raw_fd(),
    }
}

/// One line. Control characters in it are escaped, so that no value can begin a line of its own.
pub fn line(level: LogLevel, message: fmt::Arguments<'_>) {
    block(level, message, "");
}

/// From now on lines that tell of something wrong are counted there, in this process and those that it forks.
pub fn count_in(board: Scoreboard) {
    // Once: there is one scoreboard in the life of a process.
    let _ = COUNTED_IN.set(board);
}

fn count(level: LogLevel, has_text_below: bool) {
    let Some(board) = COUNTED_IN.get() else {
        return;
    };
    let server = board.server();
    match level {
        LogLevel::Debug | LogLevel::Info => {}
        LogLevel::Warning => server.count_line(LogCount::Warning),
        LogLevel::Error => {
            server.count_line(LogCount::Error);
            if has_text_below {
                server.count_line(LogCount::Exception);
            }
        }
        LogLevel::Critical => server.count_line(LogCount::Critical),
    }
}

/// A line and the text below it (a traceback, a report), in one write. The text keeps its line ends and tabs.
pub fn block(level: LogLevel, message: fmt::Arguments<'_>, text_below: &str) {
    count(level, !text_below.is_empty());
    super::tap::hear(level, message, text_below);
    if enabled(level) {
        write(&compose(prefix(level), message, text_below));
    }
}

/// Text of the app (`wsgi.errors`), written as it is.
pub fn raw(text: &str) {
    write(text);
}

fn compose(mut text: String, message: fmt::Arguments<'_>, text_below: &str) -> String {
    // Fails only when a value's own Display does; what it wrote until then stays.
    let _ = Escaped(&mut text).write_fmt(message);
    text.push('\n');
    for below in text_below.lines() {
        escape_controls(below, &mut text);
        text.push('\n');
    }
    text
}

fn prefix(level: LogLevel) -> String {
    let name = match level {
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warning => "WARNING",
        LogLevel::Error => "ERROR",
        LogLevel::Critical => "CRITICAL",
    };
    // The pid is asked for each time: it changes at fork.
    prefix_of(Timestamp::now(), super::zone(), std::process::id(), name)
}

fn prefix_of(now: Timestamp, zone: &TimeZone, pid: u32, level: &str) -> String {
    let offset = zone.to_offset(now);
    let time = offset.to_datetime(now);
    let minutes = offset.seconds() / 60;
    format!(
        "[{:04}-{:02}-{:02} {:02}:{:02}:{:02} {}{:02}{:02}] [{pid}] [{level}] ",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        if minutes < 0 { '-' } else { '+' },
        minutes.abs() / 60,
        minutes.abs() % 60,
    )
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

fn write(text: &str) {
    let dropped = DROPPED.swap(0, Relaxed);
    if dropped == 0 {
        if !write_whole(text.as_bytes()) {
            DROPPED.fetch_add(1, Relaxed);
        }
        return;
    }
    let mut confessed = prefix(LogLevel::Warning);
    let _ = writeln!(confessed, "error_log_lines={dropped} dropped");
    confessed.push_str(text);
    if !write_whole(confessed.as_bytes()) {
        DROPPED.fetch_add(dropped + 1, Relaxed);
    }
}

fn write_whole(text: &[u8]) -> bool {
    let log = &*LOG.read().unwrap_or_else(PoisonError::into_inner);
    match &log.sink {
        _ if log.is_off => true,
        Some(sink) => matches!(sink.write(text, PATIENCE).outcome, Outcome::Complete),
        None => io::stderr().write_all(text).is_ok(),
    }
}

/// A line at level DEBUG, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! debug {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Debug, ::core::format_args!($($message)*))
    };
}

/// A line at level INFO, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! info {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Info, ::core::format_args!($($message)*))
    };
}

/// A line at level WARNING, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! warning {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Warning, ::core::format_args!($($message)*))
    };
}

/// A line at level ERROR, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! error {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Error, ::core::format_args!($($message)*))
    };
}

/// A line at level CRITICAL, see [`line`](crate::telemetry::line).
#[macro_export]
macro_rules! critical {
    ($($message:tt)*) => {
        $crate::telemetry::line($crate::config::LogLevel::Critical, ::core::format_args!($($message)*))
    };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn at(zone: &str) -> String {
        let zone = TimeZone::posix(zone).unwrap();
        prefix_of("2026-11-21T02:42:56Z".parse().unwrap(), &zone, 812, "INFO")
    }

    #[test]
    fn a_line_begins_as_gunicorns_do_in_local_time() {
        assert_eq!(at("UTC0"), "[2026-11-21 02:42:56 +0000] [812] [INFO] ");
        assert_eq!(at("NST3:30"), "[2026-11-20 23:12:56 -0330] [812] [INFO] ");
        assert_eq!(
            at("CET-1CEST,M3.5.0,M10.5.0/3"),
            "[2026-11-21 03:42:56 +0100] [812] [INFO] "
        );
    }

    #[test]
    fn a_value_cannot_begin_a_line_or_steer_a_terminal() {
        let name = "a\n[2026] forged\r\t\x1b[2J\u{9b}\0 é";
        assert_eq!(
            compose(String::new(), format_args!("app={name} ready"), ""),
            "app=a\\n[2026] forged\\r\\t\\x1B[2J\\x9B\\x00 é ready\n"
        );
    }

    #[test]
    fn a_block_keeps_its_lines_and_tabs() {
        let traceback = "Traceback (most recent call last):\n\tFile \"a.py\"\r\nValueError: \x07";
        assert_eq!(
            compose(String::new(), format_args!("worker=1 failed"), traceback),
            "worker=1 failed\nTraceback (most recent call last):\n\tFile \"a.py\"\nValueError: \\x07\n"
        );
    }

    /// The log is one per process, and so is its test. Lines of other tests may come between.
    #[test]
    fn the_log_of_the_process_obeys_its_level_and_survives_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let moved = directory.path().join("error.log.1");
        init(&LogTarget::File(path.clone()), LogLevel::Info).unwrap();
        let number = descriptor();

        crate::debug!("rotation-test 1");
        crate::info!("rotation-test {}", 2);
        fs::rename(&path, &moved).unwrap();
        reopen();
        set_level(LogLevel::Error);
        crate::warning!("rotation-test 3");
        crate::error!("rotation-test 4");
        set_level(LogLevel::Debug);
        block(
            LogLevel::Critical,
            format_args!("rotation-test 5"),
            "rotation-test below",
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        reopen();
        assert_eq!(descriptor(), number);

        let told = |path| -> Vec<String> {
            let text = fs::read_to_string(path).unwrap();
            let ours = text.lines().filter(|line| line.contains("rotation-test"));
            ours.map(|line| line.rsplit("] ").next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(told(moved), ["rotation-test 2"]);
        let descriptor_path = format!("/proc/self/fd/{number}");
        assert_eq!(
            told(descriptor_path.into()),
            ["rotation-test 4", "rotation-test 5", "rotation-test below"]
        );

        let other = directory.path().join("other.log");
        for target in [LogTarget::Off, LogTarget::File(other.clone())] {
            let file = fs::File::create(&other).unwrap();
            redirect(file.into(), &target).unwrap();
            assert_eq!(descriptor(), number);
            crate::error!("rotation-test 6 {target:?}");
        }
        assert_eq!(told(other).len(), 1, "and nothing while it was off");
        init(&LogTarget::Stderr, LogLevel::Info).unwrap();
    }
}
