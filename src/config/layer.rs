//! One source of settings as JSON, with the place of each value. Layers lie on each other; the upper one wins.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Origin, hint,
    problem::{Excerpt, Place, Problem, Text},
    schema,
    secret::{cover, is_secret},
};

/// A value for one key, from outside the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Such as `timeouts.keepalive` or `env.DEBUG`.
    pub key: String,
    /// As a person typed it; lists have commas, or are written as in the file.
    pub value: String,
    /// What stands before the value where it was typed: `--workers `, `--set threads=`, `RGUNICORN_WORKERS=`.
    pub lead: String,
}

impl Setting {
    /// Marks all of what was typed.
    pub(super) fn excerpt(typed: &str, name: &str) -> Excerpt {
        Excerpt {
            span: 0..typed.len(),
            is_shown: true,
            text: Arc::new(Text {
                name: name.to_owned(),
                content: typed.to_owned(),
            }),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) value: Value,
    pub(super) places: Places,
}

/// JSON pointer (`/timeouts/keepalive`) to place.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(BTreeMap<String, Place>);

impl Places {
    pub(super) fn insert(&mut self, pointer: String, place: Place) {
        self.0.insert(pointer, place);
    }

    /// The place of the value, else of the nearest thing around it.
    pub(super) fn find(&self, pointer: &str) -> Option<&Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.0.get(pointer) {
                return Some(place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    pub(super) fn origins(&self) -> BTreeMap<String, Origin> {
        self.0
            .iter()
            .map(|(pointer, place)| (dotted(pointer), place.origin.clone()))
            .collect()
    }
}

impl Layer {
    pub(super) fn empty() -> Self {
        Self {
            value: Value::Object(Map::new()),
            places: Places::default(),
        }
    }

    /// A layer that holds one value, or why there is no such key.
    pub(super) fn from_setting(
        setting: &Setting,
        name: &str,
        origin: Origin,
    ) -> Result<Self, Problem> {
        let path = path(&setting.key);
        let pointer = path.as_deref().map(pointer);
        let place = place(setting, pointer.as_deref(), name, origin);
        let (Some(path), Some(pointer)) = (path, pointer) else {
            if let Some(first) = schema::names_in(&setting.key).first() {
                let key = &setting.key;
                return Err(Problem::new(format!("`{key}` is a table"))
                    .at(Some(place.at_key()))
                    .help([format!("name a key in it, such as `{key}.{first}`")]));
            }
            let (table, name) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
            return Err(Problem::new(format!("unknown key `{}`", setting.key))
                .at(Some(place.at_key()))
                .help(hint::unknown_key(table, name)));
        };
        let schema = schema::schema();
        let node = schema::node(&schema, path.iter().copied()).unwrap_or(&Value::Null);
        let value = match path[..] {
            // For the app, which may want the quotes, the spaces and the brackets.
            ["env", _] => setting.value.clone().into(),
            _ => from_text(node, &setting.value),
        };
        let value = path.iter().rev().fold(value, |inner, step| {
            Value::Object(Map::from_iter([((*step).to_owned(), inner)]))
        });
        let mut places = Places::default();
        places.insert(pointer, place);
        Ok(Self { value, places })
    }

    /// Puts another layer on top. Tables are merged, everything else is replaced.
    pub(super) fn cover_with(&mut self, upper: Self) {
        let replaced = |pointer: &str| {
            upper.places.0.keys().any(|above| {
                !upper.value.pointer(above).is_some_and(Value::is_object)
                    && pointer
                        .strip_prefix(above.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            })
        };
        self.places.0.retain(|pointer, _| !replaced(pointer));
        merge(&mut self.value, upper.value);
        self.places.0.extend(upper.places.0);
    }

    /// Takes a value out, so that the rest can still be looked at.
    pub(super) fn remove(&mut self, pointer: &str) {
        let Some((parent, name)) = pointer.rsplit_once('/') else {
            self.value = Value::Object(Map::new());
            return;
        };
        match self.value.pointer_mut(parent) {
            Some(Value::Object(table)) => {
                table.remove(&unescape(name));
            }
            // A list with a hole would mean something else: all of it goes.
            Some(Value::Array(_)) => self.remove(parent),
            _ => {}
        }
    }
}

/// `pointer` is `None` for a key that is unknown, of which nobody knows whether its value may be shown.
fn place(setting: &Setting, pointer: Option<&str>, name: &str, origin: Origin) -> Place {
    let mut content = format!("{}{}", setting.lead, setting.value);
    let value = setting.lead.len()..content.len();
    if pointer.is_none_or(is_secret) {
        cover(&mut content, value.clone());
    }
    Place {
        text: Arc::new(Text {
            name: name.to_owned(),
            content,
        }),
        key: 0..setting.lead.trim_end_matches([' ', '=']).len(),
        value,
        origin,
    }
}

fn pointer(path: &[&str]) -> String {
    path.iter()
        .map(|step| format!("/{}", escape(step)))
        .collect()
}

fn merge(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (name, value) in upper {
                merge(lower.entry(name).or_insert(Value::Null), value);
            }
        }
        (lower, upper) => *lower = upper,
    }
}

/// The steps of a dotted key; what follows the name of a free table is one step, dots included.
fn path(key: &str) -> Option<Vec<&str>> {
    let schema = schema::schema();
    let mut steps = Vec::new();
    let mut rest = key;
    loop {
        let is_free = schema::node(&schema, steps.iter().copied())?
            .get("additionalProperties")
            .is_some_and(Value::is_object);
        let (step, after) = match rest.split_once('.') {
            Some((step, after)) if !is_free => (step, Some(after)),
            _ => (rest, None),
        };
        steps.push(step);
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    let node = schema::node(&schema, steps.iter().copied())?;
    // A table is not one value, and the items of a list have no names.
    (node.get("properties").is_none() && !steps.contains(&"")).then_some(steps)
}

/// What a person typed, as the kind of value the key takes. What fits nothing stays a text, for the schema to refuse.
fn from_text(node: &Value, text: &str) -> Value {
    let takes = |kind: &str| takes(node, kind);
    let text = text.trim();
    let is_text = |value: &Value| value.is_array() && takes("string") && !takes("array");
    if let Some(value) = from_toml(text).filter(|value| !is_text(value)) {
        return value;
    }
    if (takes("integer") || takes("number"))
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if takes("number")
        && let Ok(number) = text.parse::<f64>()
    {
        return number.into();
    }
    if takes("boolean") {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => return true.into(),
            "false" | "no" | "off" | "0" => return false.into(),
            _ => {}
        }
    }
    let items = || {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    if takes("object") {
        let entries: Option<Map<String, Value>> = items()
            .map(|item| item.split_once('='))
            .map(|entry| entry.map(|(name, value)| (name.to_owned(), value.into())))
            .collect();
        return entries.map_or_else(|| text.into(), Value::Object);
    }
    if takes("array") && text.contains(',') {
        return items().collect();
    }
    text.into()
}

/// A text or a list in the notation of the file, `"off"` or `["a", "b"]`: the quotes were not meant as part of it.
fn from_toml(text: &str) -> Option<Value> {
    if !text.starts_with(['"', '\'', '[']) {
        return None;
    }
    let mut document: Map<String, Value> = toml::from_str(&format!("value = {text}")).ok()?;
    document.remove("value").filter(|_| document.is_empty())
}

/// Whether a value of this kind of JSON may stand there.
pub(super) fn takes(node: &Value, kind: &str) -> bool {
    let here = match node.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
        Some(one) => one == kind,
        None => false,
    };
    let choices = node.get("oneOf").and_then(Value::as_array);
    here || choices.is_some_and(|choices| choices.iter().any(|choice| takes(choice, kind)))
}

/// One step of a JSON pointer.
pub(super) fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// `/timeouts/keepalive` as people write it: `timeouts.keepalive`.
pub(super) fn dotted(pointer: &str) -> String {
    steps(pointer).join(".")
}

pub(super) fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(unescape).collect()
}
