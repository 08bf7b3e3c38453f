//! The JSON schema of `rgunicorn.toml`, derived from the types of [`File`]. Editors and the server read the same one.
//!
//! Draft-07 and without references, because that is what the TOML editors (taplo, tombi) handle best.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{
    change::Apply,
    file::{EXPECTED, File},
    units::{self, UNIT},
};

/// How a change of the key is applied.
const APPLY: &str = "x-rgunicorn-apply";

/// `None` until it is needed, and from [`forget_schema`] on until it is needed again.
static SCHEMA: Mutex<Option<Arc<Value>>> = Mutex::new(None);

static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut keys = Vec::new();
    visit(&schema(), "", &mut |key, _| keys.push(key.to_owned()));
    keys
});

/// The schema as it is committed: `schema/rgunicorn.schema.json`.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

pub(super) fn schema() -> Arc<Value> {
    let mut kept = SCHEMA.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(kept.get_or_insert_with(|| Arc::new(generate())))
}

/// Gives the memory of the schema back, 300 KiB, until somebody asks for it again: a server reads its file seldom.
pub fn forget_schema() {
    *SCHEMA.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Every key that can be set, such as `workers` and `timeouts.keepalive`; tables themselves are not among them.
pub fn keys() -> &'static [String] {
    &KEYS
}

/// The manual of a key: its doc comment.
pub fn manual(key: &str) -> Option<String> {
    let schema = schema();
    let node = node(&schema, key.split('.'))?;
    Some(node.get("description")?.as_str()?.to_owned())
}

/// The default of a key as it would be typed on the command line; `None` where it is nothing or off.
pub fn default_text(key: &str) -> Option<String> {
    match node(&schema(), key.split('.'))?.get("default")? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) if !items.is_empty() => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            Some(items.join(","))
        }
        _ => None,
    }
}

/// The least and the most that a number or a size may be.
pub fn bounds(key: &str) -> Option<(i64, i64)> {
    let schema = schema();
    let node = node(&schema, key.split('.'))?;
    let bound = |name| node.get(name).and_then(Value::as_i64);
    Some((bound("minimum")?, bound("maximum")?))
}

/// What a key takes, in words: `a whole number from 1 to 1024`.
pub fn takes(key: &str) -> Option<String> {
    node(&schema(), key.split('.')).map(expected)
}

/// What the schema says of the value at a path; list items and entries of free tables included.
pub(super) fn node<'s, 'k>(
    schema: &'s Value,
    path: impl IntoIterator<Item = &'k str>,
) -> Option<&'s Value> {
    path.into_iter().try_fold(schema, |node, step| {
        node.get("properties")
            .and_then(|properties| properties.get(step))
            .or_else(|| {
                node.get("additionalProperties")
                    .filter(|inner| inner.is_object())
            })
            .or_else(|| node.get("items"))
    })
}

/// The names directly under a table; `""` is the top level.
pub(super) fn names_in(table: &str) -> Vec<String> {
    let schema = schema();
    let node = node(&schema, table.split('.').filter(|step| !step.is_empty()));
    let properties = node.and_then(|node| node.get("properties")?.as_object());
    properties.map_or_else(Vec::new, |properties| properties.keys().cloned().collect())
}

/// What a value has to be, in words that fit after "must be".
pub(super) fn expected(node: &Value) -> String {
    if let Some(words) = node.get(EXPECTED).and_then(Value::as_str) {
        return words.to_owned();
    }
    match node.get(UNIT).and_then(Value::as_str) {
        Some("seconds") => return expected_time(node),
        Some(_) => return expected_size(node),
        None => {}
    }
    if let Some(choices) = node.get("oneOf").and_then(Value::as_array) {
        let choices: Vec<_> = choices
            .iter()
            .filter_map(|choice| choice.get("const"))
            .map(Value::to_string)
            .collect();
        return match choices.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => choices.concat(),
        };
    }
    match node.get("type").and_then(Value::as_str) {
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => expected_integer(node),
        Some("object") => "a table".to_owned(),
        Some("array") => "a list".to_owned(),
        _ => match node.get("maxLength") {
            Some(most) => format!("a string of 1 to {most} characters"),
            None => "a string in quotes".to_owned(),
        },
    }
}

fn expected_time(node: &Value) -> String {
    let bound = |name| node.get(name).and_then(Value::as_f64).unwrap_or_default();
    let shown = |seconds| units::Time(std::time::Duration::from_secs_f64(seconds)).to_string();
    format!(
        "a duration from {} to {}, such as \"30s\", \"1m30s\" or 30 for seconds",
        shown(bound("minimum")),
        shown(bound("maximum"))
    )
}

fn expected_size(node: &Value) -> String {
    let bound = |name| node.get(name).and_then(Value::as_u64).unwrap_or_default();
    format!(
        "a size from {} to {}, such as \"10MiB\", \"64k\" or 8190 for bytes",
        units::Size(bound("minimum")),
        units::Size(bound("maximum"))
    )
}

fn expected_integer(node: &Value) -> String {
    let bound = |name| node.get(name).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
        _ => "a whole number".to_owned(),
    }
}

fn generate() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value();
    polish(&mut schema);
    mark_apply(&mut schema, "");
    schema
}

/// Drops what schemars adds and no reader needs: null defaults and types, defaults of whole tables, formats of Rust.
fn polish(node: &mut Value) {
    let Value::Object(fields) = node else {
        return;
    };
    let needless_default = fields.get("default").is_some_and(|default| {
        default.is_null() || (default.is_object() && fields.contains_key("properties"))
    });
    if needless_default {
        fields.remove("default");
    }
    fields.remove("format");
    drop_null(fields);
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = unwrap_lines(text);
    }
    for (name, inner) in fields.iter_mut() {
        match (name.as_str(), inner) {
            ("properties", Value::Object(properties)) => {
                properties.values_mut().for_each(polish);
            }
            ("items" | "additionalProperties", inner) => polish(inner),
            ("oneOf" | "anyOf", Value::Array(choices)) => choices.iter_mut().for_each(polish),
            _ => {}
        }
    }
}

/// A key that may be absent needs no null: TOML has none.
fn drop_null(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
}

/// Source lines are wrapped; editors wrap by themselves. A blank line still parts paragraphs.
fn unwrap_lines(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| {
            paragraph
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    paragraphs.join("\n\n")
}

fn mark_apply(node: &mut Value, table: &str) {
    let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, inner) in properties {
        let key = join(table, name);
        if inner.get("properties").is_some() {
            mark_apply(inner, &key);
        } else if let (Some(apply), Some(fields)) = (Apply::of(&key), inner.as_object_mut()) {
            fields.insert(APPLY.to_owned(), apply.name().into());
        }
    }
}

/// Calls back with each key that is no table and what the schema says of it.
fn visit(node: &Value, table: &str, found: &mut impl FnMut(&str, &Value)) {
    for (name, inner) in node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let key = join(table, name);
        if inner.get("properties").is_some() {
            visit(inner, &key, found);
        } else {
            found(&key, inner);
        }
    }
}

/// `table.name`, or the name alone at the top level.
pub(super) fn join(table: &str, name: &str) -> String {
    if table.is_empty() {
        name.to_owned()
    } else {
        format!("{table}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_known_again_when_it_is_asked_for() {
        let before = manual("workers");
        forget_schema();
        assert_eq!(manual("workers"), before);
    }

    #[test]
    fn every_key_has_its_manual_a_default_or_none_an_example_and_its_way_of_applying() {
        visit(&schema(), "", &mut |key, node| {
            let described = node.get("description").and_then(Value::as_str);
            assert!(
                described.is_some_and(|text| text.len() > 40),
                "{key}: manual"
            );
            let examples = node.get("examples").and_then(Value::as_array);
            assert!(
                examples.is_some_and(|list| !list.is_empty()),
                "{key}: example"
            );
            let apply = Apply::of(key).map(Apply::name);
            assert!(apply.is_some(), "{key}: apply");
            assert_eq!(node.get(APPLY).and_then(Value::as_str), apply, "{key}");
        });
    }

    #[test]
    fn defaults_and_examples_keep_to_the_schema() {
        visit(&schema(), "", &mut |key, node| {
            let examples = node.get("examples").and_then(Value::as_array);
            for value in examples.into_iter().flatten().chain(node.get("default")) {
                assert!(jsonschema::is_valid(node, value), "{key}: {value}");
            }
        });
    }

    #[test]
    fn every_table_refuses_unknown_keys() {
        for table in [
            "",
            "timeouts",
            "limits",
            "log",
            "reload",
            "proxy",
            "websocket",
            "hooks",
            "hooks.commands",
        ] {
            let schema = schema();
            let node = node(&schema, table.split('.').filter(|step| !step.is_empty())).unwrap();
            assert_eq!(node["additionalProperties"], false, "[{table}]");
        }
    }

    #[test]
    fn what_a_key_takes_is_said_in_words() {
        let words = |key: &str| expected(node(&schema(), key.split('.')).unwrap());
        assert_eq!(words("threads"), "a whole number from 1 to 1024");
        assert_eq!(
            words("worker_class"),
            r#""auto", "sync", "gthread", "asgi", "gevent" or "eventlet""#
        );
        assert_eq!(words("preload"), "true or false");
        assert_eq!(words("chdir"), "a string in quotes");
        assert!(words("timeouts.boot").starts_with("a duration from 1s to 1d"));
        assert!(words("limits.request_line").starts_with("a size from 64B to 64KiB"));
    }
}
