//! `[admin]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Texts, schemas};

/// Where the server can be asked how it is and be told what to do, over HTTP. A change is in force at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The UNIX socket for `rgunicorn status`, `reload` and the others: `"auto"`, `"off"` or a path, relative to `chdir`.
    ///
    /// Only the server's user and root can use it. The default makes a path with the process id, which no other instance
    /// has, in `$XDG_RUNTIME_DIR`, else in `/run/rgunicorn`, else in a private directory of the temporary one; the commands find it by
    /// themselves. In a path of your own `{pid}` stands for the process id. When the socket cannot be made, the log says
    /// so and the server serves.
    #[schemars(schema_with = "schemas::admin_socket", example = &"/run/mysite/admin-{pid}.sock", example = &"off")]
    pub socket: String,

    /// A TCP address for the same, such as `127.0.0.1:9000`. None by default.
    ///
    /// A number and not a name, but `localhost`; without a host every IPv4 address. Everything but `/healthz` and
    /// `/readyz` needs the token. There is no encryption: across machines, put a proxy with TLS before it.
    #[schemars(schema_with = "schemas::admin_address", example = &"127.0.0.1:9000", example = &":9000")]
    pub address: Option<String>,

    /// The secret that requests to `address` have to bring, as `Authorization: Bearer …`: 16 characters or more.
    ///
    /// Better kept out of this file: in `token_file`, or in the environment as `RGUNICORN_ADMIN_TOKEN`. The UNIX socket
    /// needs none.
    #[schemars(extend("minLength" = 16, "x-rgunicorn-expected" = "a string of 16 characters or more"), example = &"3f9c1c7a52e84b0d")]
    pub token: Option<String>,

    /// A file that holds the token, relative to `chdir`; read again at each reload. Space around it does not count.
    #[schemars(extend("minLength" = 1), example = &"/run/secrets/rgunicorn-token")]
    pub token_file: Option<String>,

    /// Paths that may be read from `address` without the token: one or a list.
    ///
    /// Empty by default. For Prometheus write `"/metrics"`. What changes something always needs the token.
    #[schemars(schema_with = "schemas::admin_paths", example = &"/metrics")]
    pub open: Texts,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            socket: "auto".to_owned(),
            address: None,
            token: None,
            token_file: None,
            open: Texts(Vec::new()),
        }
    }
}
