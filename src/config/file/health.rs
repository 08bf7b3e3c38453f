//! `reload.health_check`: a path, or a table that says more.

use std::fmt;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::EXPECTED;
use crate::config::units::Time;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HealthCheck {
    pub path: String,
    /// The `Host` header.
    pub host: String,
    pub status: Option<u16>,
    pub tries: u16,
    /// For each try.
    pub timeout: Time,
}

impl HealthCheck {
    fn of(path: String) -> Self {
        Self {
            path,
            host: "localhost".to_owned(),
            status: None,
            tries: 3,
            timeout: Time::seconds(5),
        }
    }

    pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut timeout = generator.subschema_for::<Time>();
        timeout.insert("minimum".to_owned(), 0.1.into());
        timeout.insert("maximum".to_owned(), 3600.into());
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": PATH },
                {
                    "type": "object",
                    "properties": {
                        "path": { "type": "string", "pattern": PATH },
                        "host": { "type": "string", "pattern": "^[!-~]{1,255}$" },
                        "status": { "type": "integer", "minimum": 100, "maximum": 599 },
                        "tries": { "type": "integer", "minimum": 1, "maximum": 100 },
                        "timeout": timeout,
                    },
                    "required": ["path"],
                    "additionalProperties": false,
                },
            ],
            EXPECTED: "a path such as \"/healthz\", or a table with `path` and, where they are wanted, `host`, `status`, `tries` and `timeout`",
        })
    }
}

/// As it stands in a request line.
const PATH: &str = "^/[!-~]{0,2047}$";

impl<'de> Deserialize<'de> for HealthCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes)
    }
}

struct Shapes;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: String,
    host: Option<String>,
    status: Option<u16>,
    tries: Option<u16>,
    timeout: Option<Time>,
}

impl<'de> de::Visitor<'de> for Shapes {
    type Value = HealthCheck;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or a table")
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<HealthCheck, E> {
        Ok(HealthCheck::of(path.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, table: A) -> Result<HealthCheck, A::Error> {
        let table = Table::deserialize(de::value::MapAccessDeserializer::new(table))?;
        let default = HealthCheck::of(table.path);
        Ok(HealthCheck {
            host: table.host.unwrap_or(default.host),
            status: table.status,
            tries: table.tries.unwrap_or(default.tries),
            timeout: table.timeout.unwrap_or(default.timeout),
            path: default.path,
        })
    }
}
