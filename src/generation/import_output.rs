//! What a preloaded app prints while it is imported. Nobody reads a pipe meanwhile, and nothing bounds what an import prints:
//! so it goes into memory, and to the error log when the import is over.

use std::{
    fs::File,
    io::{self, Read, Seek},
};

use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::{
    config::LogLevel,
    sys,
    telemetry::{self, Lines, Printer},
};

/// As much as is told of each stream, bytes.
const TOLD_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub struct ImportOutput {
    stdout: File,
    stderr: File,
}

impl ImportOutput {
    /// From now on what this process prints goes into memory.
    pub fn begin() -> io::Result<Self> {
        let stdout = File::from(sys::memory_file("rgunicorn-stdout", &[])?);
        let stderr = File::from(sys::memory_file("rgunicorn-stderr", &[])?);
        dup2_stdout(&stdout)?;
        dup2_stderr(&stderr)?;
        Ok(Self { stdout, stderr })
    }

    /// Tells what was printed. The process prints into memory still: the caller gives it somewhere else to print to.
    pub fn tell(self, printer: Printer) -> io::Result<()> {
        for (mut file, level, source) in [
            (self.stdout, LogLevel::Info, "stdout"),
            (self.stderr, LogLevel::Warning, "stderr"),
        ] {
            let mut text = Vec::new();
            file.rewind()?;
            file.take(TOLD_BYTES_MAX).read_to_end(&mut text)?;
            let tell = |line: &str| telemetry::printed(level, printer, source, line);
            let mut lines = Lines::default();
            lines.push(&text, tell);
            lines.finish(tell);
        }
        Ok(())
    }
}
