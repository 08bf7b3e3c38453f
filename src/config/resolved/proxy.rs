//! `[proxy]`.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose word is taken about the client, and how it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    pub forwarded_allow_ips: Trusted,
    pub forwarded: ForwardedBy,
    /// The host and port that the proxy tells take the place of the request's.
    pub forwarded_host: bool,
    /// A header that says `https`, from a trusted peer.
    pub scheme_headers: Vec<SchemeHeader>,
    pub header_map: HeaderMap,
    pub protocol: ProxyProtocol,
    pub protocol_allow_ips: Trusted,
}

/// The header that tells the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ForwardedBy {
    /// The one that nearly all proxies write; each adds to the right the address that it was called from.
    XForwardedFor,
    /// The standard one, RFC 7239, which tells the scheme too.
    Forwarded,
    /// None: the client's address is the proxy's.
    Off,
}

/// Versions of the PROXY protocol that a connection may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ProxyProtocol {
    /// It is not spoken.
    Off,
    /// A readable line.
    V1,
    /// A binary header.
    V2,
    /// Either.
    Auto,
}

/// Whose word is taken. That of UNIX-socket peers always is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trusted {
    Everyone,
    Networks(Vec<IpNet>),
}

impl Trusted {
    /// Whether a peer with this address is trusted; one of IPv4 may come in IPv6's clothes.
    pub fn includes(&self, address: IpAddr) -> bool {
        matches!(self, Self::Everyone) || self.names(address)
    }

    /// Whether this address is in a network that is written down. Where everyone is trusted, none is.
    pub fn names(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Everyone => false,
            Self::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

/// A header by which a proxy says that its client came over https.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemeHeader {
    /// As it appears on the wire, compared without case.
    pub name: String,
    /// The value that means https, compared without case.
    pub value: String,
}

/// What happens to header names that contain an underscore and so could pass for another in the environ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum HeaderMap {
    /// The header does not reach the app.
    Drop,
    /// The request is answered with 400.
    Refuse,
    /// The header reaches the app. Safe only where nobody but a proxy that filters them can connect.
    Keep,
}
