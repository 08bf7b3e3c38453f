//! What workers print, where `log.capture_output` wants it in the error log: each worker writes into two pipes of its own,
//! and the generation reads them.
//!
//! The generation and not the worker, so that the last words of one that crashes are read, too. Every process that may write
//! keeps the reading ends open, and a worker that outlives its generation reads for itself: else `print` would fail, or
//! wait for ever for room.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{dup2_stderr, dup2_stdout, getppid, pipe2},
};

use crate::{
    config::LogLevel,
    sys::{self, PidFd},
    telemetry::{self, Lines, Printer},
};

/// Open files of a generation beside these pipes: its own, and those of a preloaded app.
const OTHER_FILES: u64 = 512;
/// Read from one pipe before something else has its turn, bytes: what a pipe holds.
const TURN_BYTES: usize = 64 * 1024;

/// Of the thread that reads, with room for a line and its forms.
const THREAD_STACK_BYTES: usize = 256 * 1024;

/// The two pipes of a process that is about to be forked, or of the generation itself.
#[derive(Debug)]
pub struct OutputPipes {
    readers: [OwnedFd; 2],
    writers: [OwnedFd; 2],
}

impl OutputPipes {
    pub fn create() -> io::Result<Self> {
        let (stdout, stdout_writer) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_writer) = pipe2(OFlag::O_CLOEXEC)?;
        for reader in [&stdout, &stderr] {
            fcntl(reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self {
            readers: [stdout, stderr],
            writers: [stdout_writer, stderr_writer],
        })
    }

    /// From now on what this process prints goes into the pipes. Returns the ends to keep open.
    pub fn become_output(self) -> io::Result<[OwnedFd; 2]> {
        dup2_stdout(&self.writers[0])?;
        dup2_stderr(&self.writers[1])?;
        Ok(self.readers)
    }

    /// In a worker: the same, and a thread reads what the generation, its parent, cannot read any more.
    pub fn become_output_of(self, worker: u64, generation: u32) -> io::Result<()> {
        let readers = self.become_output()?;
        let parent = PidFd::open(generation);
        // Still the parent, so the number is its own; else it is dead already.
        let parent = parent
            .ok()
            .filter(|_| getppid().as_raw() == generation as i32);
        let pid = std::process::id();
        let mut outputs = Outputs::default();
        outputs.add(Printer { pid, worker }, readers);
        let thread = thread::Builder::new()
            .name("rg-output".to_owned())
            .stack_size(THREAD_STACK_BYTES);
        sys::without_signals(|| {
            thread.spawn(move || {
                if let Some(parent) = parent {
                    wait_for([parent.as_fd()]);
                }
                outputs.read_to_the_end();
            })
        })?;
        Ok(())
    }

    /// In the process that reads.
    pub fn into_readers(self) -> [OwnedFd; 2] {
        self.readers
    }
}

#[derive(Debug)]
struct Stream {
    source: &'static str,
    level: LogLevel,
    /// `None` once nobody can write to it any more.
    pipe: Option<OwnedFd>,
    lines: Lines,
}

/// The streams of one process.
#[derive(Debug)]
struct Output {
    printer: Printer,
    streams: [Stream; 2],
}

/// All that is read.
#[derive(Debug, Default)]
pub(super) struct Outputs(Vec<Output>);

impl Outputs {
    pub(super) fn add(&mut self, printer: Printer, readers: [OwnedFd; 2]) {
        let [stdout, stderr] = readers;
        let stream = |source, level, pipe| Stream {
            source,
            level,
            pipe: Some(pipe),
            lines: Lines::default(),
        };
        self.0.push(Output {
            printer,
            streams: [
                stream("stdout", LogLevel::Info, stdout),
                stream("stderr", LogLevel::Warning, stderr),
            ],
        });
        self.make_room();
    }

    /// For the pipes of one more process.
    fn make_room(&self) {
        let wanted = OTHER_FILES + 2 * (self.0.len() as u64 + 1);
        if let Err(error) = sys::allow_open_files(wanted) {
            crate::warning!("the limit of open files stays as it is: {error}");
        }
    }

    /// What is readable when somebody has printed.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = self.0.iter().flat_map(|output| &output.streams);
        streams.filter_map(|stream| stream.pipe.as_ref().map(AsFd::as_fd))
    }

    /// Writes what was printed to the log, as far as its lines are complete.
    pub(super) fn read(&mut self) {
        for output in &mut self.0 {
            for stream in &mut output.streams {
                stream.read(output.printer, TURN_BYTES);
            }
        }
    }

    fn read_to_the_end(&mut self) {
        while self.descriptors().next().is_some() {
            wait_for(self.descriptors());
            self.read();
        }
    }

    /// A process is gone: its last words, complete or not.
    pub(super) fn finish(&mut self, pid: u32) {
        let Some(index) = self.0.iter().position(|output| output.printer.pid == pid) else {
            return;
        };
        let mut output = self.0.swap_remove(index);
        for stream in &mut output.streams {
            // A child of its own may print on; what is there now is enough.
            stream.read(output.printer, TURN_BYTES);
            let (source, level, printer) = (stream.source, stream.level, output.printer);
            stream
                .lines
                .finish(|line| telemetry::printed(level, printer, source, line));
        }
    }
}

/// Until one of them can be read.
fn wait_for<'fd>(descriptors: impl IntoIterator<Item = BorrowedFd<'fd>>) {
    let readable = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
    let mut entries: Vec<PollFd<'_>> = descriptors.into_iter().map(readable).collect();
    while poll(&mut entries, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

impl Stream {
    fn read(&mut self, printer: Printer, mut bytes_max: usize) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = self.pipe.as_ref().filter(|_| bytes_max > 0) {
            let count = match nix::unistd::read(pipe, &mut buffer) {
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return,
                Ok(0) | Err(_) => {
                    // It would be readable for ever.
                    self.pipe = None;
                    return;
                }
                Ok(count) => count,
            };
            bytes_max = bytes_max.saturating_sub(count);
            let (source, level) = (self.source, self.level);
            self.lines.push(&buffer[..count], |line| {
                telemetry::printed(level, printer, source, line);
            });
        }
    }
}
