//! What a worker is doing now, in its slot of the scoreboard.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Gone with the worker, where [`Counters`](super::Counters) stay.
#[repr(C, align(64))]
pub struct Gauges {
    /// That run the app; 0 where it runs inside an event loop.
    pub threads: AtomicU32,
    /// Requests and open WebSockets that are with the app.
    pub in_app: AtomicU32,
    /// Complete requests that wait for a thread.
    pub waiting: AtomicU32,
    /// Connections between requests.
    pub idle: AtomicU32,
    /// Connections whose request is being received.
    pub reading: AtomicU32,
    /// Connections whose response is complete but not all sent.
    pub writing: AtomicU32,
    /// Connections that we closed and whose last bytes we read away.
    pub closing: AtomicU32,
    /// Open WebSockets.
    pub websockets: AtomicU32,
}

impl Gauges {
    pub(super) fn clear(&self) {
        for gauge in self.all() {
            gauge.store(0, Relaxed);
        }
    }

    fn all(&self) -> [&AtomicU32; 8] {
        [
            &self.threads,
            &self.in_app,
            &self.waiting,
            &self.idle,
            &self.reading,
            &self.writing,
            &self.closing,
            &self.websockets,
        ]
    }
}
