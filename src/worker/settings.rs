//! The part of the configuration that the reactor acts on, in the units it computes with.

use std::time::Duration;

use super::{
    connection::Connection,
    forwarding::Forwarding,
    peer::{Introduction, Peer},
};
use crate::{
    config::{Config, Limits, ProxyProtocol, Trusted},
    http::{HeadLimits, forwarded::Node, proxy_protocol::Versions},
    sys::{self, net::PeerAddress},
};

/// A worker that leaves ends its WebSockets after a quarter of `timeouts.graceful`, and after this long at the latest.
const WEBSOCKET_GRACE_MAX: Duration = Duration::from_secs(5);

pub struct Settings {
    pub limits: HeadLimits,
    pub connections_max: usize,
    pub keepalive_ms: u64,
    pub header_ms: u64,
    pub body_ms: u64,
    pub write_ms: u64,
    /// How long the app's WebSockets may go on when the worker leaves.
    pub websocket_grace_ms: u64,
    /// Zero: a worker that stands still is not replaced.
    pub stall_ms: u64,
    /// Requests go to the app when their head is complete, and the events of their connections with them.
    pub streams: bool,
    /// The PROXY protocol that connections begin with, if they do.
    pub proxy_protocol: Option<Versions>,
    introducers: Trusted,
    trusted: Trusted,
    forwarding: Forwarding,
}

impl Settings {
    pub fn of(config: &Config) -> Self {
        let timeouts = &config.timeouts;
        Self {
            limits: HeadLimits {
                request_line: config.limits.request_line as usize,
                headers: config.limits.headers as usize,
                header_size: config.limits.header_size as usize,
                head: config.limits.head as usize,
                body: config.limits.body,
            },
            connections_max: config.limits.connections as usize,
            keepalive_ms: milliseconds(timeouts.keepalive),
            header_ms: milliseconds(timeouts.header),
            body_ms: milliseconds(timeouts.body),
            write_ms: milliseconds(timeouts.write),
            websocket_grace_ms: milliseconds(websocket_grace(timeouts.graceful)),
            stall_ms: milliseconds(timeouts.worker),
            streams: false,
            proxy_protocol: match config.proxy.protocol {
                ProxyProtocol::Off => None,
                ProxyProtocol::V1 => Some(Versions::One),
                ProxyProtocol::V2 => Some(Versions::Two),
                ProxyProtocol::Auto => Some(Versions::Both),
            },
            introducers: config.proxy.protocol_allow_ips.clone(),
            trusted: config.proxy.forwarded_allow_ips.clone(),
            forwarding: Forwarding::of(&config.proxy),
        }
    }

    /// The same where the app receives bodies as they arrive.
    pub fn streaming(self) -> Self {
        Self {
            streams: true,
            ..self
        }
    }

    /// How a connection that was just accepted is introduced.
    pub fn first_introduction(&self) -> Introduction {
        match self.proxy_protocol {
            Some(_) => Introduction::Awaited,
            None => Introduction::None,
        }
    }

    /// Whether this peer may speak the PROXY protocol.
    pub fn may_introduce(&self, socket: PeerAddress) -> bool {
        includes(&self.introducers, socket)
    }

    pub fn peer(&self, listener: usize, socket: PeerAddress, introduction: Introduction) -> Peer {
        let (address, is_known) = match introduction {
            Introduction::None | Introduction::Awaited => (socket, true),
            Introduction::Client(client) => (PeerAddress::Ip(client), true),
            Introduction::Unknown => (socket, false),
        };
        Peer {
            listener,
            socket,
            introduction,
            address,
            trusted: is_known && includes(&self.trusted, address),
        }
    }

    /// The client of a request that never reaches the app, as a trusted proxy told it. The request's head must have been read,
    /// or refused.
    pub fn told_client(&self, connection: &Connection) -> Option<Node> {
        match connection.peer.trusted {
            true => self.forwarding.read(connection).ok()?.client,
            false => None,
        }
    }
}

/// Who may open our UNIX socket is trusted by its permissions.
fn includes(trusted: &Trusted, peer: PeerAddress) -> bool {
    match peer {
        PeerAddress::Unix => true,
        PeerAddress::Ip(address) => trusted.includes(address.ip()),
    }
}

/// `limits.max_requests` and a random part of its jitter, so that workers do not retire all at once. Zero: never.
pub(super) fn requests_max(limits: &Limits) -> u64 {
    match limits.max_requests {
        0 => 0,
        most => most + sys::monotonic_ns() % (limits.max_requests_jitter + 1),
    }
}

/// How long WebSockets may go on in a worker that leaves: their clients come back, to workers that stay.
pub fn websocket_grace(graceful: Duration) -> Duration {
    (graceful / 4).min(WEBSOCKET_GRACE_MAX)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
