//! The text of the file as JSON, with the place of every key.

use std::{ops::Range, path::Path, sync::Arc};

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{
    Origin,
    layer::{Layer, Places, escape},
    problem::{Excerpt, Place, Problem, Text},
};

struct Reader<'t> {
    path: &'t Path,
    text: &'t Arc<Text>,
    places: Places,
}

/// A syntax error is alone: those after it are most often its consequences.
pub(super) fn read(path: &Path, content: &str) -> Result<Layer, Problem> {
    let text = Arc::new(Text {
        name: path.display().to_string(),
        content: content.to_owned(),
    });
    let (document, errors) = DeTable::parse_recoverable(content);
    let start = |error: &&toml::de::Error| error.span().map_or(0, |span| span.start);
    if let Some(error) = errors.iter().min_by_key(start) {
        let span = error.span().unwrap_or(0..0);
        return Err(
            Problem::new(format!("this is not TOML: {}", error.message())).at(Some(Excerpt {
                span: visible(span, content),
                text,
            })),
        );
    }
    let mut reader = Reader {
        path,
        text: &text,
        places: Places::default(),
    };
    let value = reader.table(document.get_ref(), "");
    Ok(Layer {
        value,
        places: reader.places,
    })
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Value {
        let mut entries = Map::new();
        for (key, value) in table {
            let pointer = format!("{pointer}/{}", escape(key.get_ref()));
            self.places
                .insert(pointer.clone(), self.place(key.span(), value.span()));
            entries.insert(key.get_ref().to_string(), self.value(value, &pointer));
        }
        Value::Object(entries)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, pointer: &str) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(integer) => number(integer),
            DeValue::Float(float) => fraction(float.as_str()),
            DeValue::Boolean(yes) => Value::Bool(*yes),
            // No key takes a date: null fits nothing, so the schema refuses it.
            DeValue::Datetime(_) => Value::Null,
            DeValue::Table(table) => self.table(table, pointer),
            DeValue::Array(items) => {
                let read = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
                    let pointer = format!("{pointer}/{index}");
                    self.places
                        .insert(pointer.clone(), self.place(item.span(), item.span()));
                    self.value(item, &pointer)
                };
                items.iter().enumerate().map(read).collect()
            }
        }
    }

    fn place(&self, key: Range<usize>, value: Range<usize>) -> Place {
        let line = 1 + self.text.content[..key.start].matches('\n').count();
        let origin = Origin::File {
            path: self.path.to_owned(),
            line,
        };
        Place {
            text: Arc::clone(self.text),
            key,
            value,
            origin,
        }
    }
}

/// A number beyond 64 bits becomes the nearest fraction, which is out of every range.
fn number(integer: &DeInteger<'_>) -> Value {
    match i64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) => number.into(),
        Err(_) => f64::MAX.into(),
    }
}

/// `4.0` is as good as `4`. What is no number (`nan`, `inf`) becomes null, which fits nothing.
fn fraction(text: &str) -> Value {
    let value: f64 = text.parse().unwrap_or(f64::NAN);
    if value.fract() == 0.0 && value.abs() < (1_u64 << 53) as f64 {
        return (value as i64).into();
    }
    Number::from_f64(value).into()
}

/// The end of the file or of a line has no width: mark the character before it.
fn visible(span: Range<usize>, content: &str) -> Range<usize> {
    let end = span.end.min(content.len());
    let start = span.start.min(end);
    if start < end {
        return start..end;
    }
    let before = content[..start]
        .chars()
        .next_back()
        .filter(|letter| *letter != '\n');
    start - before.map_or(0, char::len_utf8)..end
}
