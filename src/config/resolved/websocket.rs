//! `[websocket]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// WebSockets of ASGI apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSocket {
    /// Bytes of the longest message.
    pub message_size: u64,
    /// How long a client may be silent before it is pinged. Zero: it is never.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub ping_timeout: Duration,
    /// Whether permessage-deflate is agreed to.
    pub compression: bool,
}
