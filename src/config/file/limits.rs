//! `[limits]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::Size;

/// How much is accepted, and when a worker has served its time. Sizes are bytes, or strings such as `"64k"`, `"10MiB"`;
/// every prefix counts in powers of 1024. A request that has begun when one of these is changed keeps the one it began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request line (method, path and query): 64 bytes to 64KiB. A longer one is answered with 414.
    ///
    /// The default is the most that Gunicorn and Apache allow; browsers and proxies rarely carry more.
    #[schemars(extend("minimum" = 64, "maximum" = 65_536), example = &"4k")]
    pub request_line: Size,

    /// The most header fields of a request: 1 to 512. More are answered with 431.
    ///
    /// The default is Gunicorn's; browsers send about twenty.
    #[schemars(range(min = 1, max = 512), example = 50)]
    pub headers: u32,

    /// The longest single header line: 64 bytes to 64KiB. A longer one is answered with 431.
    ///
    /// The default is Gunicorn's. Raise it for large cookies or Kerberos tickets.
    #[schemars(extend("minimum" = 64, "maximum" = 65_536), example = &"16k")]
    pub header_size: Size,

    /// The largest request head (request line and all header lines together): 8KiB to 1MiB. A larger one is answered with 431.
    ///
    /// The default has room for many large cookies or one very large ticket, and bounds what a stranger can have each
    /// connection hold before a request is refused: `headers` lines of `header_size` would be 800KiB. nginx allows some 32KiB,
    /// Node 16KiB, Apache and Gunicorn bound the single lines alone. Neither `request_line` nor `header_size` may be larger.
    #[schemars(extend("minimum" = 8192, "maximum" = 1_048_576), example = &"16k")]
    pub head: Size,

    /// The largest request body: up to 1024TiB, 0 for no limit. A larger one is answered with 413.
    ///
    /// The default lets a phone's video through (it is what the large CDNs allow) and bounds what a stranger can
    /// make the server store: a body is kept in memory, then in a temporary file, before the app is called.
    #[schemars(example = &"10MiB")]
    pub body: Size,

    /// Open connections of one worker: 1 to 65536. At the bound those that idle longest make room; where none does, new ones wait.
    ///
    /// Idle is who waits for no answer and asked nothing for a second: while others wait to be let in, a 64th of the bound is closed at a
    /// time, as `timeouts.keepalive` would do it later. So clients that only hold connections open keep nobody out. Where too few
    /// idle, new ones wait in the backlog.
    ///
    /// The default is Gunicorn's. An idle connection costs a few KiB and one file descriptor. In a worker of greenlets and in
    /// an event loop this also bounds the requests that run at once. The log tells when a worker is full, once a minute at most.
    ///
    /// A worker raises its limit of open files (the soft one, `ulimit -Sn`) to this number and 1024 for the app, as far as the hard
    /// one lets it; where that leaves too little, the log says so at the start and at an edit. Processes that the app starts inherit
    /// the raised limit. `select()` knows no descriptor above 1023: for an app that calls it, 500 connections are enough.
    #[schemars(range(min = 1, max = 65_536), example = 4000)]
    pub connections: u32,

    /// Requests after which a worker is replaced, its successor first; 0 for never.
    ///
    /// Never by default: it is a remedy for an app that leaks memory, and `worker_memory` is the more exact one.
    #[schemars(range(max = 4_294_967_295_u64), example = 10_000)]
    pub max_requests: u64,

    /// Up to this many requests are added to `max_requests`, drawn anew for each worker; 0 for none.
    ///
    /// None by default. It keeps workers that started together from leaving together: a tenth of `max_requests` is usual.
    #[schemars(range(max = 4_294_967_295_u64), example = 1000)]
    pub max_requests_jitter: u64,

    /// Resident memory after which a worker is replaced, its successor first: 16MiB to 1024TiB, or 0 for no limit.
    ///
    /// Off by default, because how much is too much depends on the app. Set it below the container's limit divided
    /// by `workers` and as many more as boot beside them (one, in a reload `reload.surge`), and the kernel has to kill none amid a
    /// request.
    #[schemars(example = &"512MiB")]
    pub worker_memory: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: Size(8190),
            headers: 100,
            header_size: Size(8190),
            head: Size::kibibytes(64),
            body: Size::mebibytes(100),
            connections: 1000,
            max_requests: 0,
            max_requests_jitter: 0,
            worker_memory: Size(0),
        }
    }
}
