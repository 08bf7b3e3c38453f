//! `[proxy]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::resolved::{ForwardedBy, HeaderMap, ProxyProtocol};

use super::{Texts, schemas};

/// Whom to believe about the client behind a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Peers whose word is taken for the client's address, the scheme and `SCRIPT_NAME`: addresses, networks such as `"10.0.0.0/8"`, or `"*"` for everyone.
    ///
    /// The default trusts a proxy on this machine, which no stranger can be. Peers on a UNIX socket are always
    /// trusted. Use `"*"` only where nothing but the proxy can reach the server: of the addresses that it tells, only the one
    /// that it added itself is believed then. Name the networks of all proxies where several stand in a row.
    #[schemars(schema_with = "schemas::networks", example = ["10.0.0.0/8", "fd00::/8"], example = &"*")]
    pub forwarded_allow_ips: Texts,

    /// The header from which a trusted peer's word about the client's address is taken, into `REMOTE_ADDR` and ASGI's `client`.
    ///
    /// It is read from right to left: addresses in `forwarded_allow_ips` are proxies, the first other one is the client.
    /// The default is what nearly all proxies write. Only one header is ever believed, because a proxy that writes one
    /// passes the other on as its client sent it: with `"forwarded"`, `X-Forwarded-*` and `scheme_headers` count for
    /// nothing. With `"off"`, Gunicorn's behaviour, `REMOTE_ADDR` is the proxy, and only the scheme is taken.
    #[schemars(example = &"forwarded")]
    pub forwarded: ForwardedBy,

    /// Whether `X-Forwarded-Host` and `X-Forwarded-Port`, or `host=` in `Forwarded`, take the place of the request's `Host`.
    ///
    /// Off by default: most proxies pass `Host` on and do not touch these, so that a client could set them.
    #[schemars(example = true)]
    pub forwarded_host: bool,

    /// Headers, and the value of each, by which a trusted peer says that its client used https.
    ///
    /// The default knows the three in common use. A table given here takes the place of the default. Where a list is
    /// told, the entry counts that the proxy next to the client added. Headers that contradict each other are refused.
    #[schemars(example = serde_json::json!({ "X-Forwarded-Proto": "https" }))]
    pub scheme_headers: BTreeMap<String, String>,

    /// What happens to headers whose name has an underscore, which the app could not tell from one with a hyphen.
    ///
    /// The default drops them, so that no client can forge a header that a proxy sets; where a trusted peer sent one, the log tells its
    /// name, once a minute at most. A trusted peer's `SCRIPT_NAME` reaches WSGI apps whatever this says.
    #[schemars(example = &"refuse")]
    pub header_map: HeaderMap,

    /// Whether connections begin with the PROXY protocol, by which a load balancer for TCP tells whom it speaks for.
    ///
    /// Off by default. When it is on, a connection that does not begin so is answered with 400 and closed: a client that
    /// reaches the server by another way could pass for anyone. The address counts for the whole connection; it takes the
    /// place of the peer, in `forwarded_allow_ips` too, which therefore cannot be `"*"`.
    #[schemars(example = &"v2")]
    pub protocol: ProxyProtocol,

    /// Peers that may speak the PROXY protocol: addresses, networks, or `"*"` for everyone.
    ///
    /// The default is this machine; peers on a UNIX socket always may. Others are answered with 403 and closed.
    #[schemars(schema_with = "schemas::networks", example = ["10.0.0.0/8", "fd00::/8"], example = &"*")]
    pub protocol_allow_ips: Texts,
}

impl Default for Proxy {
    fn default() -> Self {
        let scheme_headers = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Protocol", "ssl"),
            ("X-Forwarded-Ssl", "on"),
        ];
        let this_machine = Texts(vec!["127.0.0.1".to_owned(), "::1".to_owned()]);
        Self {
            forwarded_allow_ips: this_machine.clone(),
            forwarded: ForwardedBy::XForwardedFor,
            forwarded_host: false,
            scheme_headers: scheme_headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            header_map: HeaderMap::Drop,
            protocol: ProxyProtocol::Off,
            protocol_allow_ips: this_machine,
        }
    }
}
