//! `[timeouts]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Zero means "no limit" where the key's documentation allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From fork to ready.
    pub boot: Duration,
    /// A worker whose threads are all in a call and which completed nothing for this long is replaced. Zero: never.
    pub worker: Duration,
    /// The longest an app call may take before it is interrupted and answered 504. Zero: no limit.
    pub request: Duration,
    /// What a draining worker may take.
    pub graceful: Duration,
    /// Idle time on a kept-alive connection. Zero: no keep-alive.
    pub keepalive: Duration,
    /// From the first byte (or the accept) to the end of the head.
    pub header: Duration,
    /// The longest pause between two reads of a body.
    pub body: Duration,
    /// The longest a response may make no progress because the client does not read.
    pub write: Duration,
}
