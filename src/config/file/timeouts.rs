//! `[timeouts]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::Time;

/// How long things may take. A number counts seconds; a string has units: `"30s"`, `"1m30s"`, `"500ms"`. A deadline that
/// runs when one of these is changed keeps its length; the next one has the new length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From the start of a worker to its being ready, the import of the app included: 1s to 1d.
    ///
    /// A worker that takes longer is ended, and a reload that waits for it is given up. A minute is ample for a large
    /// Django project on a busy machine, and short enough to notice a hung import.
    #[schemars(extend("minimum" = 1), example = &"2m")]
    pub boot: Time,

    /// A worker whose threads are all in a call, of which for this long none ended or sent anything, is replaced, after its
    /// Python stacks went to the error log: 1s to 1d, or 0 for never.
    ///
    /// The default is as long as load balancers wait (60s): after that nobody wants the answer. Waiting for clients
    /// does not count, and a response that is streamed, such as server-sent events, is alive with each part. So is a worker in which a WSGI app has
    /// a WebSocket open. A worker of greenlets or with an event loop is replaced when the app lets nothing else run for so long.
    #[schemars(example = &"5m")]
    pub worker: Time,

    /// The longest one call of the app may take before it is interrupted and answered with 504: up to 1d, 0 for no limit.
    ///
    /// Off by default: the interruption is an exception that can strike anywhere in the app's code, so it is the
    /// app's author who should want it. The worker goes on. An ASGI app's WebSocket is under this limit until it is accepted
    /// or denied, a WSGI app's until the app first uses `gunicorn.socket`, and no longer then.
    #[schemars(example = &"20s")]
    pub request: Time,

    /// What a worker may take to finish its requests when it is told to leave: up to 1d.
    ///
    /// The default is Gunicorn's, and what Kubernetes grants a pod. What is not finished by then is cut off. When the server
    /// stops, the requests that wait already are among those to finish.
    #[schemars(example = &"10s")]
    pub graceful: Time,

    /// How long a connection may idle between two requests: up to 1d, 0 for no keep-alive.
    ///
    /// The default outlasts the 60s of the usual load balancers. Were it shorter, the balancer would now and then
    /// send a request on a connection that just closed, and answer 502. Idle connections cost no thread.
    #[schemars(example = &"5s")]
    pub keepalive: Time,

    /// From the first byte of a request, or the opening of the connection, to the end of its headers: 1s to 1d.
    ///
    /// The default is long for the slowest of phones and short for those who send one byte at a time on purpose. A
    /// slow client costs no thread.
    #[schemars(extend("minimum" = 1), example = &"30s")]
    pub header: Time,

    /// The longest pause while a request's body arrives: 1s to 1d.
    ///
    /// It counts from one piece to the next, so a large upload over a slow line is never cut while it moves.
    #[schemars(extend("minimum" = 1), example = &"1m")]
    pub body: Time,

    /// The longest a response may stand still because the client does not read: 1s to 1d.
    ///
    /// The default is nginx's `send_timeout`.
    #[schemars(extend("minimum" = 1), example = &"30s")]
    pub write: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            boot: Time::seconds(60),
            worker: Time::seconds(60),
            request: Time::seconds(0),
            graceful: Time::seconds(30),
            keepalive: Time::seconds(75),
            header: Time::seconds(15),
            body: Time::seconds(30),
            write: Time::seconds(60),
        }
    }
}
