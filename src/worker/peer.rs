//! Who is at the other end of a connection: its socket's address, and the one that the PROXY protocol told.

use std::net::{IpAddr, SocketAddr};

use crate::{http::proxy_protocol::Speaker, sys::net::PeerAddress};

/// Where a connection came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Index of the listener in the worker's table.
    pub listener: usize,
    /// Of the socket: a client, or the load balancer that speaks for it.
    pub socket: PeerAddress,
    pub introduction: Introduction,
    /// Whom the app takes for the peer: as introduced, else as the socket says.
    pub address: PeerAddress,
    /// Its forwarding headers are believed: `proxy.forwarded_allow_ips`.
    pub trusted: bool,
}

/// What the PROXY protocol says about a connection, for as long as that lasts; it goes with the connection to the next worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduction {
    /// The protocol is not spoken here, or the load balancer speaks for itself.
    None,
    /// Its header is to come before the first request.
    Awaited,
    /// The load balancer speaks for this client.
    Client(SocketAddr),
    /// It speaks for a client that it does not tell, and who is trusted with nothing.
    Unknown,
}

impl From<Speaker> for Introduction {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::LoadBalancer => Self::None,
            Speaker::Client(address) => Self::Client(address),
            Speaker::UnknownClient => Self::Unknown,
        }
    }
}

/// Bytes of an [`Introduction`] on its way: kind, port and address.
pub(super) const INTRODUCTION_BYTES: usize = 1 + 2 + 16;

impl Introduction {
    pub(super) fn to_bytes(self) -> [u8; INTRODUCTION_BYTES] {
        let (kind, address) = match self {
            Self::None => (0, None),
            Self::Awaited => (1, None),
            Self::Unknown => (2, None),
            Self::Client(address) if address.is_ipv4() => (4, Some(address)),
            Self::Client(address) => (6, Some(address)),
        };
        let mut bytes = [0; INTRODUCTION_BYTES];
        bytes[0] = kind;
        if let Some(address) = address {
            bytes[1..3].copy_from_slice(&address.port().to_be_bytes());
            match address.ip() {
                IpAddr::V4(ip) => bytes[3..7].copy_from_slice(&ip.octets()),
                IpAddr::V6(ip) => bytes[3..].copy_from_slice(&ip.octets()),
            }
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; INTRODUCTION_BYTES]) -> Option<Self> {
        let [kind, high, low, ip @ ..] = bytes;
        let client =
            |ip: IpAddr| Self::Client(SocketAddr::new(ip, u16::from_be_bytes([high, low])));
        Some(match kind {
            0 => Self::None,
            1 => Self::Awaited,
            2 => Self::Unknown,
            4 => client([ip[0], ip[1], ip[2], ip[3]].into()),
            6 => client(ip.into()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_survives_the_way_to_another_worker() {
        for introduction in [
            Introduction::None,
            Introduction::Awaited,
            Introduction::Unknown,
            Introduction::Client("192.0.2.1:65535".parse().unwrap()),
            Introduction::Client("[2001:db8::1]:80".parse().unwrap()),
            Introduction::Client("[::ffff:192.0.2.1]:80".parse().unwrap()),
        ] {
            let arrived = Introduction::from_bytes(introduction.to_bytes());
            assert_eq!(arrived, Some(introduction));
        }
        assert_eq!(Introduction::from_bytes([3; INTRODUCTION_BYTES]), None);
    }
}
