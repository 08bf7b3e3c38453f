//! `[proxy]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::resolved::HeaderMap;

use super::{Texts, schemas};

/// Whom to believe about the client behind a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Peers whose word is taken for the scheme and `SCRIPT_NAME`: addresses, networks such as `"10.0.0.0/8"`, or `"*"` for everyone.
    ///
    /// The default trusts a proxy on this machine, which no stranger can be. Peers on a UNIX socket are always
    /// trusted. Use `"*"` only where nothing but the proxy can reach the server.
    #[schemars(schema_with = "schemas::networks", example = ["10.0.0.0/8", "fd00::/8"], example = &"*")]
    pub forwarded_allow_ips: Texts,

    /// Headers, and the value of each, by which a trusted peer says that its client used https.
    ///
    /// The default knows the three in common use. A table given here takes the place of the default.
    #[schemars(example = serde_json::json!({ "X-Forwarded-Proto": "https" }))]
    pub scheme_headers: BTreeMap<String, String>,

    /// What happens to headers whose name has an underscore, which the app could not tell from one with a hyphen.
    ///
    /// The default drops them, so that no client can forge a header that a proxy sets.
    #[schemars(example = &"refuse")]
    pub header_map: HeaderMap,
}

impl Default for Proxy {
    fn default() -> Self {
        let scheme_headers = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Protocol", "ssl"),
            ("X-Forwarded-Ssl", "on"),
        ];
        Self {
            forwarded_allow_ips: Texts(vec!["127.0.0.1".to_owned(), "::1".to_owned()]),
            scheme_headers: scheme_headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            header_map: HeaderMap::Drop,
        }
    }
}
