//! `[websocket]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Size, Time};

/// WebSockets of ASGI apps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocket {
    /// The longest message that a client may send: 1KiB to 1GiB. A longer one ends the connection with status 1009.
    ///
    /// The default is uvicorn's. A message is in memory as a whole before the app gets it.
    #[schemars(extend("minimum" = 1024, "maximum" = 1_073_741_824), example = &"1MiB")]
    pub message_size: Size,

    /// How long a client may be silent before it is pinged: up to 1d, 0 for never.
    ///
    /// The default keeps connections open through the proxies and routers that drop silent ones.
    #[schemars(example = &"1m")]
    pub ping_interval: Time,

    /// How long the answer to a ping may take before the client counts as gone: 1s to 1d.
    ///
    /// The default is uvicorn's.
    #[schemars(extend("minimum" = 1), example = &"5s")]
    pub ping_timeout: Time,

    /// Compress messages where the client can: permessage-deflate.
    ///
    /// On by default, as in uvicorn. It makes texts much smaller, and costs memory and time for each client that uses it.
    #[schemars(example = false)]
    pub compression: bool,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            message_size: Size::mebibytes(16),
            ping_interval: Time::seconds(20),
            ping_timeout: Time::seconds(20),
            compression: true,
        }
    }
}
