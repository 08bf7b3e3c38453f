//! `[limits]`.

use serde::{Deserialize, Serialize};

/// Bounds of what clients may send and workers may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the request line without CRLF.
    pub request_line: u32,
    /// Number of header fields.
    pub headers: u32,
    /// Bytes of one header line.
    pub header_size: u32,
    /// Bytes of the request line and all header lines together, with their ends.
    pub head: u32,
    /// Bytes of a request body. Zero: no limit.
    pub body: u64,
    /// Open connections of one worker.
    pub connections: u32,
    /// Zero: never.
    pub max_requests: u64,
    pub max_requests_jitter: u64,
    /// Resident bytes of a worker after which it is replaced. Zero: no limit.
    pub worker_memory: u64,
}

impl Limits {
    /// Open files of a worker that go to the app, to bodies in temporary files and to the worker itself. As many as most systems
    /// give a process that asks for nothing, so the app has what it had without its connections.
    const OTHER_FILES: u64 = 1024;

    /// How many files a worker should be allowed to have open.
    pub fn open_files(&self) -> u64 {
        u64::from(self.connections) + Self::OTHER_FILES
    }

    /// The most connections with which a worker has enough open files left, where it can have no more than `most`: half of
    /// them, if these are few.
    pub fn connections_within(most: u64) -> u64 {
        most.saturating_sub(Self::OTHER_FILES).max(most / 2)
    }
}
