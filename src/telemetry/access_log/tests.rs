use std::{
    fs,
    io::{PipeReader, Read},
    path::PathBuf,
};

use super::*;
use crate::config::{LogFormat, LogTarget, Template};

fn push(log: &AccessLog, path: &[u8], now: Instant) {
    let nothing = |_: &str| None;
    let record = AccessRecord {
        remote_address: None,
        peer: None,
        method: b"GET",
        line: path,
        path,
        query: b"",
        protocol: "HTTP/1.1",
        status: 200,
        bytes: 0,
        request_id: b"",
        duration: Duration::ZERO,
        finished_us: 0,
        request_header: &nothing,
        response_header: &nothing,
        environ: &nothing,
    };
    log.push(&record, || now);
}

fn format(template: &str) -> AccessFormat {
    AccessFormat::of(&LogFormat::Atoms(Template::parse(template).unwrap()))
}

fn paths() -> AccessFormat {
    format("%(U)s")
}

fn into_a_pipe() -> (AccessLog, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let sink = Sink::from_descriptor(writer.into(), &LogTarget::Stdout, None).unwrap();
    (AccessLog::new(Some(sink), paths()), reader)
}

fn into_a_file() -> (AccessLog, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let sink = Sink::open(&LogTarget::File(path.clone()), None).unwrap();
    (AccessLog::new(sink, paths()), path, directory)
}

#[test]
fn lines_wait_for_company_but_not_for_long() {
    let (log, path, _directory) = into_a_file();
    let now = Instant::now();
    assert!(!log.should_flush(now) && log.due().is_none());
    push(&log, b"/a", now);
    push(&log, b"/b", now + BATCH_AGE_MAX / 2);
    assert!(!log.should_flush(now + BATCH_AGE_MAX / 2));
    assert!(log.should_flush(now + BATCH_AGE_MAX));
    log.flush(now + BATCH_AGE_MAX);
    assert!(log.due().is_none());
    assert_eq!(fs::read_to_string(path).unwrap(), "/a\n/b\n");
}

#[test]
fn a_full_batch_is_written_at_once() {
    let (log, path, _directory) = into_a_file();
    let now = Instant::now();
    push(&log, &[b'x'; FILE_BATCH_BYTES - 2], now);
    assert!(!log.should_flush(now));
    push(&log, b"y", now);
    assert!(log.should_flush(now));
    log.flush(now);
    assert_eq!(fs::read(path).unwrap().len(), FILE_BATCH_BYTES - 1 + 2);
}

#[test]
fn a_reader_that_does_not_read_stops_nothing_and_loses_only_what_is_beyond_the_bound() {
    let (log, mut reader) = into_a_pipe();
    let mut now = Instant::now();
    let line = [b'x'; 1023];
    let mut pushed = 0;
    while lock(&log.pending).lines_dropped == 0 {
        push(&log, &line, now);
        log.flush(now);
        pushed += 1;
        now += BATCH_AGE_MAX;
    }
    {
        let pending = lock(&log.pending);
        assert!(pending.left_over + pending.lines.len() <= WAITING_BYTES_MAX);
    }
    assert!(
        !log.should_flush(now - BATCH_AGE_MAX),
        "a held-up log is tried on time, not in a loop"
    );

    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        text
    });
    while log.due().is_some() {
        std::thread::yield_now();
        log.flush(now);
    }
    assert_eq!(lock(&log.pending).lines_dropped, 0, "told once drained");
    assert!(lock(&log.pending).lines.capacity() <= ROOM_KEPT_BYTES);
    drop(log);
    let text = reading.join().unwrap();
    assert_eq!(text.len(), (pushed - 1) * 1024);
    assert!(text.chunks(1024).all(|written| written[..1023] == line));
}

#[test]
fn a_worker_that_leaves_does_not_wait_for_ever() {
    let (log, _reader) = into_a_pipe();
    let now = Instant::now();
    for _ in 0..100 {
        push(&log, &[b'x'; 1023], now);
    }
    log.finish(now);
    assert!(log.due().is_none() && now.elapsed() < 10 * FINISH_PATIENCE);
}

#[test]
fn threads_push_while_another_writes() {
    let (log, path, _directory) = into_a_file();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for count in 0..2000 {
                    push(&log, b"/line", Instant::now());
                    if count % 10 == 0 {
                        log.flush(Instant::now());
                    }
                }
            });
        }
    });
    log.flush(Instant::now());
    assert_eq!(fs::read_to_string(path).unwrap(), "/line\n".repeat(8000));
    assert!(log.due().is_none());
}

#[test]
fn workers_that_share_a_pipe_do_not_mix_their_lines() {
    let (reader, writer) = std::io::pipe().unwrap();
    let writers: Vec<_> = (b'a'..=b'd')
        .map(|letter| {
            let writer = writer.try_clone().unwrap().into();
            std::thread::spawn(move || {
                let sink = Sink::from_descriptor(writer, &LogTarget::Stdout, None).unwrap();
                let log = AccessLog::new(Some(sink), paths());
                for count in 0..2000 {
                    push(&log, &vec![letter; 1 + count % 200], Instant::now());
                    if count % 50 == 0 {
                        log.flush(Instant::now());
                    }
                }
                while log.due().is_some() {
                    std::thread::yield_now();
                    log.flush(Instant::now());
                }
            })
        })
        .collect();
    drop(writer);
    let text = std::io::read_to_string(reader).unwrap();
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    assert_eq!(text.lines().count(), 4 * 2000);
    assert!(
        text.lines()
            .all(|line| line.chars().all(|c| line.starts_with(c)))
    );
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file() {
    let (log, path, directory) = into_a_file();
    let now = Instant::now();
    push(&log, b"/before", now);
    let moved = directory.path().join("access.log.1");
    fs::rename(&path, &moved).unwrap();
    log.reopen(now);
    push(&log, b"/after", now);
    log.flush(now);
    assert_eq!(fs::read_to_string(moved).unwrap(), "/before\n");
    assert_eq!(fs::read_to_string(path).unwrap(), "/after\n");
}

#[test]
fn lines_go_where_the_log_was_when_they_were_pushed() {
    let (log, path, directory) = into_a_file();
    let now = Instant::now();
    push(&log, b"/old", now);
    let moved = directory.path().join("moved.log");
    let target = LogTarget::File(moved.clone());
    log.redirect(Sink::open(&target, None).unwrap(), now);
    push(&log, b"/new", now);
    log.redirect(None, now);
    push(&log, b"/nowhere", now);
    assert!(!log.is_on() && log.due().is_none());
    log.redirect(Sink::open(&target, None).unwrap(), now);
    push(&log, b"/again", now);
    log.flush(now);
    assert_eq!(fs::read_to_string(path).unwrap(), "/old\n");
    assert_eq!(fs::read_to_string(moved).unwrap(), "/new\n/again\n");
}

#[test]
fn a_log_that_moves_away_from_a_full_pipe_takes_along_what_the_pipe_did_not_take() {
    let (log, mut reader) = into_a_pipe();
    let now = Instant::now();
    for _ in 0..200 {
        push(&log, &[b'x'; 1023], now);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = LogTarget::File(file.path().to_owned());
    log.redirect(Sink::open(&target, None).unwrap(), now);
    log.flush(now);
    let mut piped = Vec::new();
    reader.read_to_end(&mut piped).unwrap();
    let written = fs::read(file.path()).unwrap().len() + piped.len();
    assert!(!piped.is_empty() && written == 200 * 1024, "{written}");
}

#[test]
fn another_format_is_for_lines_to_come() {
    let (log, path, _directory) = into_a_file();
    let now = Instant::now();
    let edition = log.edition();
    push(&log, b"/a", now);
    log.set_format(format("%(m)s %({X}e)s"));
    assert_ne!(log.edition(), edition);
    assert_eq!(log.environ(), ["X"]);
    push(&log, b"/b", now);
    log.flush(now);
    assert_eq!(fs::read_to_string(path).unwrap(), "/a\nGET -\n");
}

#[test]
fn a_file_that_cannot_be_reopened_stays_in_use() {
    let (log, path, directory) = into_a_file();
    let moved = directory.path().join("access.log.1");
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    let now = Instant::now();
    log.reopen(now);
    push(&log, b"/still", now);
    log.flush(now);
    assert_eq!(fs::read_to_string(moved).unwrap(), "/still\n");
}

#[test]
fn a_write_that_fails_is_tried_again_and_not_in_a_loop() {
    let full = LogTarget::File("/dev/full".into());
    let log = AccessLog::new(Sink::open(&full, None).unwrap(), paths());
    let now = Instant::now();
    push(&log, b"/a", now);
    log.flush(now);
    assert!(!log.should_flush(now + BATCH_AGE_MAX));
    assert!(log.should_flush(now + RETRY_AFTER_FAILURE));
}

#[test]
fn a_line_that_was_cut_by_a_full_disk_is_written_anew() {
    let sink = Sink::open(&LogTarget::File("/dev/full".into()), None).unwrap();
    let mut output = Output::new(sink.unwrap());
    let rest = |output: &mut Output, written| {
        output.written = written;
        output.begin_cut_line_anew();
        String::from_utf8(output.unwritten().to_vec()).unwrap()
    };
    output.batch = b"/one\n/two\n".to_vec();
    assert_eq!(rest(&mut output, 5), "/two\n");
    assert_eq!(rest(&mut output, 7), "\n/two\n");
    // The line end that stands before was taken, and no more.
    assert_eq!(rest(&mut output, 5), "/two\n");
    assert_eq!(rest(&mut output, 2), "\n/one\n/two\n");
    assert_eq!(rest(&mut output, 3), "\n/one\n/two\n");
}

#[test]
fn an_access_log_that_is_off_keeps_nothing() {
    let log = AccessLog::new(None, paths());
    push(&log, b"/a", Instant::now());
    assert!(!log.is_on() && lock(&log.pending).lines.is_empty() && log.due().is_none());
}
