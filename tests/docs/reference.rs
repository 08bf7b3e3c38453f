//! `docs/reference.md`: every key, from the schema.

use std::fmt::Write as _;

use rgunicorn::config::{schema_text, takes};
use serde_json::Value;

const HEAD: &str = "\
# Reference: every key of rgunicorn.toml

This page is made from the configuration's schema, as are the editor's hints and `rgunicorn run --help`. Each key can be set by
the environment and on the command line too: `timeouts.keepalive` is `RGUNICORN_TIMEOUTS_KEEPALIVE` and
`--set timeouts.keepalive=75s`. Layers: defaults < file < environment < command line.

A change of a key in the file of a running server is applied in one of these ways, with no request lost in any:

| applied | what happens |
|---|---|
| live | in force at once; no process is replaced |
| scale | workers are added, or finish and leave |
| roll | a new generation of workers is started, proven, and takes over worker by worker |
| rebind | as roll, after the new addresses were opened; the old ones close last |

Durations: a number counts seconds; a string has units, `\"1m30s\"`, `\"500ms\"`. Sizes: a number counts bytes; a string has units in
powers of 1024, `\"64k\"`, `\"10MiB\"`.
";

#[test]
fn the_reference_is_made_from_the_schema() {
    let schema: Value = serde_json::from_str(&schema_text()).unwrap();
    let mut index = String::from("\n| key | default | applied |\n|---|---|---|\n");
    let mut body = String::new();
    table(&schema, "", &mut index, &mut body);
    super::compare("docs/reference.md", &format!("{HEAD}{index}{body}"));
}

/// The keys of a table, then the tables in it.
fn table(node: &Value, name: &str, index: &mut String, body: &mut String) {
    let heading = match name {
        "" => "Top level".to_owned(),
        name => format!("`[{name}]`"),
    };
    writeln!(body, "\n## {heading}").unwrap();
    if !name.is_empty() {
        writeln!(
            body,
            "\n{}",
            node["description"].as_str().unwrap_or_default()
        )
        .unwrap();
    }
    let full = |inner: &str| match name {
        "" => inner.to_owned(),
        name => format!("{name}.{inner}"),
    };
    let properties = node["properties"].as_object().unwrap();
    let (tables, keys): (Vec<_>, Vec<_>) = properties
        .iter()
        .partition(|(_, inner)| inner.get("properties").is_some());
    for (inner, node) in keys {
        key(&full(inner), node, index, body);
    }
    for (inner, node) in tables {
        table(node, &full(inner), index, body);
    }
}

fn key(name: &str, node: &Value, index: &mut String, body: &mut String) {
    let default = match node.get("default") {
        Some(value) => format!("`{value}`"),
        None => "none".to_owned(),
    };
    let applied = node["x-rgunicorn-apply"].as_str().unwrap();
    let anchor = name.replace('.', "").to_lowercase();
    writeln!(
        index,
        "| [`{name}`](#{anchor}) | {} | {applied} |",
        default.replace('|', "\\|")
    )
    .unwrap();
    writeln!(body, "\n### `{name}`\n").unwrap();
    writeln!(body, "{}\n", node["description"].as_str().unwrap()).unwrap();
    writeln!(body, "- takes: {}", takes(name).unwrap()).unwrap();
    writeln!(body, "- default: {default}").unwrap();
    if let Some(unit) = node.get("x-rgunicorn-unit").and_then(Value::as_str) {
        writeln!(body, "- a number counts: {unit}").unwrap();
    }
    writeln!(body, "- applied: {applied}").unwrap();
    let short = name.rsplit('.').next().unwrap();
    for example in node
        .get("examples")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let value: toml::Value = serde_json::from_value(example.clone()).unwrap();
        writeln!(body, "- example: `{short} = {value}`").unwrap();
    }
}
