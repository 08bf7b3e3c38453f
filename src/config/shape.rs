//! A layer against the schema: unknown keys, wrong kinds, values out of range. All of them.

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::{
    hint,
    layer::{Layer, dotted, escape, steps},
    problem::{Excerpt, Place, Problem},
    schema,
    secret::is_secret,
    units::{Size, Time, UNIT},
};

struct Fault {
    pointer: String,
    problem: Problem,
}

/// One fault for each place. Takes everything wrong out of the layer and says what it was, in the order of the text.
pub(super) fn check(layer: &mut Layer) -> Vec<Problem> {
    let mut faults = schema_faults(layer);
    text_range_faults(&layer.value, "", layer, &mut faults);
    let mut seen = BTreeSet::new();
    faults.retain(|fault| seen.insert(fault.pointer.clone()));
    faults.sort_by_key(|fault| {
        fault
            .problem
            .excerpt
            .as_ref()
            .map(|excerpt| excerpt.span.start)
    });
    for fault in &faults {
        layer.remove(&fault.pointer);
    }
    faults.into_iter().map(|fault| fault.problem).collect()
}

fn schema_faults(layer: &Layer) -> Vec<Fault> {
    let mut faults = Vec::new();
    // Not kept: a server reads its file seldom, and is idle in between. An error only if the derived schema were no schema,
    // which a test excludes; the types still refuse what is wrong then.
    let validator = jsonschema::draft7::new(&schema::schema()).ok();
    let errors = validator
        .iter()
        .flat_map(|validator| validator.iter_errors(&layer.value));
    for error in errors {
        let pointer = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let unknown = unexpected
                    .iter()
                    .map(|name| unknown_key(layer, pointer, name));
                faults.extend(unknown);
            }
            kind => faults.push(wrong_value(
                layer,
                pointer,
                error.instance(),
                label(kind, error.instance()),
            )),
        }
    }
    faults
}

fn unknown_key(layer: &Layer, table: &str, name: &str) -> Fault {
    let pointer = format!("{table}/{}", escape(name));
    let table = dotted(table);
    let place = match table.as_str() {
        "" => String::new(),
        table => format!(" in `[{table}]`"),
    };
    Fault {
        problem: Problem::new(format!("unknown key `{name}`{place}"))
            .at(layer.places.find(&pointer).map(Place::at_key))
            .help(hint::unknown_key(&table, name)),
        pointer,
    }
}

fn wrong_value(layer: &Layer, pointer: &str, value: &Value, label: String) -> Fault {
    let key = key_of(layer, pointer);
    let schema = schema::schema();
    let node =
        schema::node(&schema, steps(pointer).iter().map(String::as_str)).unwrap_or(&Value::Null);
    let excerpt = layer.places.find(pointer).map(Place::at_value);
    let written = excerpt.as_ref().map_or("", Excerpt::piece);
    let written = (!is_secret(pointer)).then_some(written);
    Fault {
        pointer: pointer.to_owned(),
        problem: Problem::new(format!("`{key}` must be {}", schema::expected(node)))
            .label(label)
            .help(hint::wrong_value(&key, node, value, written))
            .at(excerpt),
    }
}

/// The schema measures numbers; texts such as `"2d"` are measured here, against the same bounds.
fn text_range_faults(value: &Value, pointer: &str, layer: &Layer, faults: &mut Vec<Fault>) {
    match value {
        Value::Object(table) => {
            for (name, inner) in table {
                text_range_faults(inner, &format!("{pointer}/{}", escape(name)), layer, faults);
            }
        }
        Value::String(text) => {
            let path = steps(pointer);
            let schema = schema::schema();
            let Some(node) = schema::node(&schema, path.iter().map(String::as_str)) else {
                return;
            };
            let measured = match node.get(UNIT).and_then(Value::as_str) {
                Some("seconds") => Time::parse(text).map(|time| time.0.as_secs_f64()),
                Some(_) => Size::parse(text).map(|size| size.0 as f64),
                None => return,
            };
            let bound = |name| node.get(name).and_then(Value::as_f64);
            let label = match measured {
                Some(amount) if bound("minimum").is_some_and(|least| amount < least) => {
                    "too little"
                }
                Some(amount) if bound("maximum").is_some_and(|most| amount > most) => "too much",
                Some(_) => return,
                // Most often refused by the pattern already; else it is beyond counting.
                None => "",
            };
            faults.push(wrong_value(layer, pointer, value, label.to_owned()));
        }
        _ => {}
    }
}

fn label(kind: &Kind, value: &Value) -> String {
    match kind {
        Kind::Minimum { .. } | Kind::MinItems { .. } | Kind::MinLength { .. } => {
            "too little".to_owned()
        }
        Kind::Maximum { .. } | Kind::MaxLength { .. } => "too much".to_owned(),
        Kind::Type { .. } => format!("this is {}", kind_of(value)),
        _ => String::new(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing that any key takes",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The key of a value; an item of a list goes by the list's.
fn key_of(layer: &Layer, pointer: &str) -> String {
    match pointer.rsplit_once('/') {
        Some((list, _)) if layer.value.pointer(list).is_some_and(Value::is_array) => dotted(list),
        _ => dotted(pointer),
    }
}
