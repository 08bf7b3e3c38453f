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
    schema,
    secret::{cover, is_secret},
};

struct Reader<'t> {
    path: &'t Path,
    text: &'t Arc<Text>,
    places: Places,
}

/// A syntax error is alone: those after it are most often its consequences.
pub(super) fn read(path: &Path, content: &str) -> Result<Layer, Problem> {
    let text = |content| {
        let name = path.display().to_string();
        Arc::new(Text { name, content })
    };
    let (document, errors) = DeTable::parse_recoverable(content);
    let start = |error: &&toml::de::Error| error.span().map_or(0, |span| span.start);
    if let Some(error) = errors.iter().min_by_key(start) {
        let span = visible(error.span().unwrap_or(0..0), content);
        let is_shown = !may_hold_secrets(content, &span);
        let excerpt = Excerpt {
            text: text(content.to_owned()),
            span,
            is_shown,
        };
        let title = format!("this is not TOML: {}", error.message());
        let help = (!is_shown).then(|| "the line is not shown, as it may hold a secret".to_owned());
        return Err(Problem::new(title).at(Some(excerpt)).help(help));
    }
    let mut content = content.to_owned();
    cover_secrets(document.get_ref(), "", &mut content);
    let mut reader = Reader {
        path,
        text: &text(content),
        places: Places::default(),
    };
    let value = reader.table(document.get_ref(), "");
    Ok(Layer {
        value,
        places: reader.places,
    })
}

/// Whatever a problem quotes later, secrets are not in it.
fn cover_secrets(table: &DeTable<'_>, pointer: &str, content: &mut String) {
    for (key, value) in table {
        let pointer = format!("{pointer}/{}", escape(key.get_ref()));
        cover_secrets_in(value, &pointer, content);
    }
}

fn cover_secrets_in(value: &Spanned<DeValue<'_>>, pointer: &str, content: &mut String) {
    match value.get_ref() {
        DeValue::Table(table) => cover_secrets(table, pointer, content),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                cover_secrets_in(item, &format!("{pointer}/{index}"), content);
            }
        }
        _ if is_secret(pointer) => cover(content, value.span()),
        _ => {}
    }
}

/// Whether lines of a text that is not TOML belong to `env` or `admin`: those after such a name, until another one of the
/// top level begins a line.
fn may_hold_secrets(content: &str, span: &Range<usize>) -> bool {
    let known = schema::names_in("");
    let (mut is_secret, mut is_below_header) = (false, false);
    let mut end = 0;
    for line in content.split_inclusive('\n') {
        if end > span.end {
            break;
        }
        end += line.len();
        let is_header = line.trim_start().starts_with('[');
        is_below_header |= is_header;
        let name = first_word(line);
        if ["env", "raw_env", "admin"].contains(&name) {
            is_secret = true;
        } else if known.iter().any(|known| known == name) && (is_header || !is_below_header) {
            is_secret = false;
        }
        if is_secret && (end > span.start || end == content.len()) {
            return true;
        }
    }
    false
}

fn first_word(line: &str) -> &str {
    let line = line.trim_start_matches(['[', ' ', '\t', '"', '\'']);
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let end = line.find(|letter| !is_of_word(letter));
    &line[..end.unwrap_or(line.len())]
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
