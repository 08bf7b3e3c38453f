//! The error log of this process: lines that a human reads and a machine can parse, in Gunicorn's form or as JSON.
//!
//! `[2026-11-21 02:42:56 +0000] [812] [INFO] generation=3 worker=2 pid=812 ready`
//!
//! Every line, and every block (a traceback, a report on the config), is one write. Nothing here panics or waits
//! longer than [`PATIENCE`]; a line that cannot be written is counted, and the next one that can says how many
//! were lost. Before [`init`], lines go to stderr.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Write as _},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;

use super::{
    datagram::Message,
    entry::{Entry, Printer, Speaker},
    error_format,
    lines::Lines,
    sink::{Outcome, Owner, Sink, Written},
};
use crate::{
    config::{ErrorFormat, Log, LogLevel, LogTarget},
    wire::{LogCount, Scoreboard},
};

/// How long a line waits for the reader of a full pipe before it is dropped.
const PATIENCE: Duration = Duration::from_millis(50);

static LOG: RwLock<ErrorLog> = RwLock::new(ErrorLog {
    sink: None,
    is_off: false,
    format: ErrorFormat::Text,
    ends_in_a_cut_line: AtomicBool::new(false),
});
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static COUNTED_IN: OnceLock<Scoreboard> = OnceLock::new();

struct ErrorLog {
    /// `None`: not set up yet. While the log is off it leads to nowhere, and keeps the descriptor's number.
    sink: Option<Sink>,
    is_off: bool,
    format: ErrorFormat,
    /// The last write took the beginning of a line only: a disk became full, or the reader of a pipe stopped reading.
    ends_in_a_cut_line: AtomicBool,
}

/// Opens the error log of this process. When it fails, lines go where they went before, in the new form.
pub fn init(log: &Log, owner: Option<Owner>) -> io::Result<()> {
    set_level(log.level);
    set_format(log.error_format);
    super::zone();
    let is_off = log.error == LogTarget::Off;
    let nowhere = LogTarget::File("/dev/null".into());
    let sink = Sink::open(if is_off { &nowhere } else { &log.error }, owner)?;
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = ErrorLog {
        is_off,
        sink: sink.map(|sink| sink.called(&log.identifier, log.syslog_facility)),
        format: log.error_format,
        ends_in_a_cut_line: AtomicBool::new(false),
    };
    Ok(())
}

/// From now on lines go to a descriptor that was opened for the error log. The log's own descriptor keeps its number;
/// when it fails, lines go where they went before. `owner`: if this process will open the log again for others.
pub fn redirect(descriptor: OwnedFd, log: &Log, owner: Option<Owner>) -> io::Result<()> {
    let new = Sink::from_descriptor(descriptor, &log.error, owner)?;
    let new = new.called(&log.identifier, log.syslog_facility);
    let current = &mut *LOG.write().unwrap_or_else(PoisonError::into_inner);
    match &mut current.sink {
        Some(sink) => sink.become_as(new)?,
        sink => *sink = Some(new),
    }
    current.is_off = log.error == LogTarget::Off;
    super::zone();
    Ok(())
}

/// Lines to come have this form.
pub fn set_format(format: ErrorFormat) {
    LOG.write().unwrap_or_else(PoisonError::into_inner).format = format;
}

/// Lines below this level are not written.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Relaxed);
}

/// Whether lines of this level are written.
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

/// The number of the descriptor, for programs that write lines without us. It stays the same through [`reopen`] and
/// [`redirect`]. `None` when the log takes no lines of others: as JSON, to a daemon, or to nowhere.
pub fn descriptor() -> Option<RawFd> {
    let log = read();
    if log.is_off || log.format == ErrorFormat::Json {
        return None;
    }
    match &log.sink {
        None => Some(io::stderr().as_raw_fd()),
        Some(sink) if sink.daemon().is_none() => Some(sink.descriptor().as_raw_fd()),
        Some(_) => None,
    }
}

fn read() -> std::sync::RwLockReadGuard<'static, ErrorLog> {
    LOG.read().unwrap_or_else(PoisonError::into_inner)
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
        // Fails only when a value's own Display does; what it wrote until then stays.
        let mut text = String::new();
        let _ = fmt::write(&mut text, message);
        tell(level, None, &text, text_below);
    }
}

/// One line that the app printed in some process, without its line end. `source` is where: `stdout`, `stderr`.
pub fn printed(level: LogLevel, printer: Printer, source: &str, text: &str) {
    if enabled(level) {
        tell_entry(&Entry {
            now: Timestamp::now(),
            speaker: Speaker::of(printer),
            level,
            source: Some(source),
            message: text,
            detail: "",
        });
    }
}

thread_local! {
    /// What this thread's app has written to `wsgi.errors` since the last line end.
    static ERRORS: RefCell<Lines> = RefCell::default();
}

/// Text of the app (`wsgi.errors`): written as it is where others may write too, else line by line.
pub fn raw(text: &str) {
    if descriptor().is_some() {
        write_or_count(text.as_bytes());
    } else {
        ERRORS.with_borrow_mut(|lines| lines.push(text.as_bytes(), error_of_app));
    }
}

/// What [`raw`] holds back until the line is complete goes out.
pub fn flush_raw() {
    ERRORS.with_borrow_mut(|lines| lines.finish(error_of_app));
}

fn error_of_app(line: &str) {
    tell(LogLevel::Error, Some("wsgi.errors"), line, "");
}

fn tell(level: LogLevel, source: Option<&str>, message: &str, detail: &str) {
    tell_entry(&Entry {
        now: Timestamp::now(),
        speaker: Speaker::this_process(),
        level,
        source,
        message,
        detail,
    });
}

fn tell_entry(entry: &Entry<'_>) {
    let dropped = confess(entry);
    if !write(entry, patience(dropped)) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Tells how many lines were lost, if there were any and it can be told; how many it could not tell of.
fn confess(next: &Entry<'_>) -> u64 {
    let dropped = DROPPED.swap(0, Relaxed);
    if dropped == 0 {
        return 0;
    }
    let message = format!("error_log_lines={dropped} dropped");
    let confession = Entry {
        speaker: Speaker::this_process(),
        level: LogLevel::Warning,
        source: None,
        message: &message,
        detail: "",
        ..*next
    };
    if write(&confession, Duration::ZERO) {
        return 0;
    }
    DROPPED.fetch_add(dropped, Relaxed);
    dropped
}

/// A reader that did not read the last line is not waited for again.
fn patience(dropped: u64) -> Duration {
    if dropped > 0 {
        Duration::ZERO
    } else {
        PATIENCE
    }
}

/// Writes it in the form of the log. False: it is lost.
fn write(entry: &Entry<'_>, patience: Duration) -> bool {
    let log = read();
    if log.is_off {
        return true;
    }
    let sink = log.sink.as_ref();
    let Some((sink, daemon)) = sink.and_then(|sink| Some((sink, sink.daemon()?))) else {
        let is_journal = log.sink.as_ref().is_some_and(Sink::is_journal);
        let lines = error_format::lines(entry, log.format, is_journal);
        return write_bytes(&log, &lines, patience);
    };
    let fields = error_format::journal_fields(entry);
    let messages = error_format::messages(entry, log.format, daemon.knows_lines());
    messages.iter().all(|text| {
        let message = Message {
            level: entry.level,
            text: text.as_bytes(),
            fields: &fields,
        };
        matches!(sink.send(&message, patience), Outcome::Complete)
    })
}

fn write_or_count(text: &[u8]) {
    let dropped = DROPPED.load(Relaxed);
    if !write_bytes(&read(), text, patience(dropped)) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

fn write_bytes(log: &ErrorLog, text: &[u8], patience: Duration) -> bool {
    match &log.sink {
        _ if log.is_off => true,
        None => io::stderr().write_all(text).is_ok(),
        Some(sink) => write_on_a_line_of_its_own(sink, &log.ends_in_a_cut_line, text, patience),
    }
}

/// What follows a line that was cut would be lost with it.
fn write_on_a_line_of_its_own(
    sink: &Sink,
    is_cut: &AtomicBool,
    text: &[u8],
    patience: Duration,
) -> bool {
    let apart = is_cut.load(Relaxed).then(|| [b"\n", text].concat());
    let text = apart.as_deref().unwrap_or(text);
    let Written { written, outcome } = sink.write(text, patience);
    let is_complete = matches!(outcome, Outcome::Complete);
    if let Some(last) = text[..written].last() {
        is_cut.store(!is_complete && *last != b'\n', Relaxed);
    }
    is_complete
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use super::*;

    fn log_to(error: LogTarget) -> Log {
        let log = crate::config::test_config("").log;
        Log { error, ..log }
    }

    #[test]
    fn what_follows_a_cut_line_begins_a_line() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let sink = Sink::from_descriptor(writer.into(), &LogTarget::Stderr, None).unwrap();
        let is_cut = AtomicBool::new(false);
        let write = |text: &[u8]| write_on_a_line_of_its_own(&sink, &is_cut, text, Duration::ZERO);
        assert!(!write(&[b'x'; 4 << 20]), "nobody reads");
        assert!(!write(b"lost\n"));
        let mut taken = vec![0; 8 << 20];
        reader.set_nonblocking(true).unwrap();
        while reader.read(&mut taken).is_ok() {}
        assert!(write(b"next\n") && write(b"begun, ") && write(b"ended\n"));
        let length = reader.read(&mut taken).unwrap();
        assert_eq!(&taken[..length], b"\nnext\nbegun, ended\n");
    }

    /// The log is one per process, and so is its test. Lines of other tests may come between.
    #[test]
    fn the_log_of_the_process_obeys_its_level_and_survives_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let moved = directory.path().join("error.log.1");
        let log = log_to(LogTarget::File(path.clone()));
        init(&log, None).unwrap();
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
        set_level(LogLevel::Info);

        let told = |path| -> Vec<String> {
            let text = fs::read_to_string(path).unwrap();
            let ours = text.lines().filter(|line| line.contains("rotation-test"));
            ours.map(|line| line.rsplit("] ").next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(told(moved), ["rotation-test 2"]);
        let descriptor_path = format!("/proc/self/fd/{}", number.unwrap());
        assert_eq!(
            told(descriptor_path.into()),
            ["rotation-test 4", "rotation-test 5", "rotation-test below"]
        );
        init(&log_to(LogTarget::Stderr), None).unwrap();
    }
}
