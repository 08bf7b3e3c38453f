//! `[statsd]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Texts, schemas};

/// Metrics for a statsd server, with Gunicorn's names. A change is in force at once.
///
/// Numbers are added up and sent once a second, so that a request costs nothing; see docs/metrics.md for what is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Statsd {
    /// The server's address: `host`, `host:port`, `[ipv6]:port` or `unix:path`. None by default: nothing is sent.
    ///
    /// The port is 8125 unless named. Datagrams are sent without waiting, and nobody notices when they are lost.
    #[schemars(schema_with = "schemas::statsd_host", example = &"localhost:8125", example = &"unix:/var/run/datadog/dsd.socket")]
    pub host: Option<String>,

    /// What the names of all metrics begin with, such as `mysite`; a dot is put behind it. Empty by default.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]*$"), example = &"mysite")]
    pub prefix: String,

    /// Tags for every metric, in DogStatsD's form: one or a list. Empty by default.
    ///
    /// For servers that understand the extension: Datadog's agent, Telegraf, Vector and statsd_exporter.
    #[schemars(schema_with = "schemas::statsd_tags", example = ["env:production", "region:eu"])]
    pub tags: Texts,
}
