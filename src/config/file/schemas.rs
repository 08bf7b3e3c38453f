//! For `#[schemars(schema_with = …)]`: the shape of a key where its type alone does not tell it.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::EXPECTED;

pub(super) fn bind(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^(unix:.+|fd://[0-9]+|systemd:.+|\[[0-9A-Fa-f:.]+(%[^\]]+)?\]:[0-9]{1,5}|[^:/\[\]\s]*:[0-9]{1,5})$";
    json_schema!({
        "type": ["string", "array"],
        "pattern": pattern,
        "items": { "type": "string", "pattern": pattern, EXPECTED: BIND },
        "minItems": 1,
        EXPECTED: BIND,
    })
}

const BIND: &str = "\"host:port\", \"[ipv6]:port\", \"unix:path\", \"fd://number\" or \"systemd:name\", or a list of these";

pub(super) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "array"],
        "items": { "type": "string", "minLength": 1 },
        "minLength": 1,
        EXPECTED: "a string or a list of strings",
    })
}

pub(super) fn workers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "oneOf": [
            { "const": "auto", "description": "As many as the processors call for." },
            { "type": "integer", "minimum": 1, "maximum": 256 },
        ],
        EXPECTED: "a whole number from 1 to 256, or \"auto\"",
    })
}

pub(super) fn surge(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 256,
        "pattern": "^[0-9]{1,3}%$",
        EXPECTED: "a whole number from 1 to 256, or per cent such as \"25%\"",
    })
}

pub(super) fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "array"],
        "items": { "type": "string", "minLength": 1, EXPECTED: NETWORK },
        "minLength": 1,
        EXPECTED: NETWORK,
    })
}

const NETWORK: &str = "an address, a network such as \"10.0.0.0/8\", \"*\", or a list of these";

pub(super) fn log_target(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "const": "stdout", "description": "The standard output." },
            { "const": "stderr", "description": "The standard error output." },
            { "const": "off", "description": "Nowhere." },
            { "const": "syslog", "description": "The syslog daemon of this machine." },
            { "const": "journald", "description": "systemd's journal." },
            { "type": "string", "pattern": "^syslog:", "description": "Another syslog: a socket's path, or udp://host:port." },
            { "type": "string", "minLength": 1, "description": "A file." },
        ],
        EXPECTED: "\"stdout\", \"stderr\", \"off\", \"syslog\", \"journald\" or the path of a file",
    })
}

pub(super) fn log_format(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "const": "combined", "description": "Apache's combined log format: common, referer and user agent." },
            { "const": "common", "description": "The NCSA common log format." },
            { "const": "json", "description": "One JSON object on each line." },
            { "type": "string", "pattern": r"%\(", "description": "A template of Gunicorn's atoms." },
        ],
        EXPECTED: "\"combined\", \"common\", \"json\" or a template such as \"%(h)s %(r)s %(s)s\"",
    })
}

pub(super) fn hook(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        EXPECTED: "\"module:function\"",
    })
}

pub(super) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["array", "string"],
        "items": { "type": "string", "minLength": 1 },
        "minItems": 1,
        "minLength": 1,
        EXPECTED: "a list of a program and its arguments, such as [\"touch\", \"/run/mysite/ready\"]",
    })
}
pub(super) fn statsd_host(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^(unix:.+|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?|[^:/\[\]\s]+(:[0-9]{1,5})?)$",
        EXPECTED: "\"host\", \"host:port\", \"[ipv6]:port\" or \"unix:path\"",
    })
}

pub(super) fn statsd_tags(_: &mut SchemaGenerator) -> Schema {
    let pattern = r"^[^\s,|#]+$";
    json_schema!({
        "type": ["string", "array"],
        "pattern": pattern,
        "items": { "type": "string", "pattern": pattern, EXPECTED: STATSD_TAG },
        EXPECTED: STATSD_TAG,
    })
}

const STATSD_TAG: &str = "a tag such as \"env:production\", or a list of these";
pub(super) fn admin_socket(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "const": "auto", "description": "A path with the process id, made by the server." },
            { "const": "off", "description": "No UNIX socket." },
            { "type": "string", "minLength": 1, "description": "A path." },
        ],
        EXPECTED: "\"auto\", \"off\" or a path",
    })
}

pub(super) fn admin_address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]*|localhost):[0-9]{1,5}$",
        EXPECTED: "\"address:port\" with a number for the address",
    })
}

pub(super) fn admin_paths(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "array"],
        "pattern": "^/",
        "items": { "type": "string", "pattern": "^/", EXPECTED: ADMIN_PATH },
        EXPECTED: ADMIN_PATH,
    })
}

const ADMIN_PATH: &str = "a path such as \"/metrics\", or a list of these";
