//! Whom a gateway believes about the client of a request: `[proxy]` in terms of HTTP.

use super::connection::Connection;
use crate::{
    config::{ForwardedBy, Proxy, SchemeHeader, Trusted},
    http::{
        Refusal,
        forwarded::{Belief, Dialect, SchemeField, Told},
    },
};

pub struct Forwarding {
    belief: Belief,
    proxies: Trusted,
}

impl Forwarding {
    pub fn of(proxy: &Proxy) -> Self {
        let dialect = match proxy.forwarded {
            ForwardedBy::XForwardedFor => Dialect::XForwarded,
            ForwardedBy::Forwarded => Dialect::Forwarded,
            ForwardedBy::Off => Dialect::None,
        };
        let scheme_field = |header: &SchemeHeader| SchemeField {
            name: header.name.clone(),
            https: header.value.clone(),
        };
        let scheme_fields = proxy.scheme_headers.iter().map(scheme_field).collect();
        Self {
            belief: Belief::new(dialect, proxy.forwarded_host, scheme_fields),
            proxies: proxy.forwarded_allow_ips.clone(),
        }
    }

    /// Whether a header of this name tells about the client, when it comes from a trusted peer.
    #[inline]
    pub fn concerns(&self, name: &[u8]) -> bool {
        self.belief.concerns(name)
    }

    /// What the headers of a trusted peer tell about the client of the connection's request. A refusal: they contradict each
    /// other.
    pub fn read<'c>(&self, connection: &'c Connection) -> Result<Told<'c>, Refusal> {
        let fields = connection.head().fields(connection.request_bytes());
        self.belief
            .read(fields, |address| self.proxies.names(address))
    }
}
