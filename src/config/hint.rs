//! Help for what is wrong: the nearest key, the right table, the value that was probably meant.

use serde_json::Value;

use super::{gunicorn, layer::takes, schema, units::UNIT};

/// Below this two words have little to do with each other.
const LIKENESS_MIN: f64 = 0.8;
/// From here on it is a slip of one letter.
const SLIP_MIN: f64 = 0.95;

/// `table` is `""` at the top level.
pub(super) fn unknown_key(table: &str, name: &str) -> Vec<String> {
    let sibling = |least| {
        nearest(
            name,
            schema::names_in(table).iter().map(String::as_str),
            least,
        )
        .map(|near| format!("did you mean `{near}`?"))
    };
    if let Some(advice) = gunicorn::advice(name) {
        // `[timeout]` may be either: Gunicorn's key, or `[timeouts]` with a slip.
        return std::iter::once(advice).chain(sibling(SLIP_MIN)).collect();
    }
    // One letter off, or the very word of another table: the writer knows which.
    let likely: Vec<String> = sibling(SLIP_MIN)
        .into_iter()
        .chain(elsewhere(table, name))
        .collect();
    if !likely.is_empty() {
        return likely;
    }
    let guess = sibling(LIKENESS_MIN).or_else(|| nearest_anywhere(name));
    guess.into_iter().collect()
}

/// `value` is of the wrong kind or out of range for `key`; `written` is its text in the source, unless that is secret.
pub(super) fn wrong_value(
    key: &str,
    node: &Value,
    value: &Value,
    written: Option<&str>,
) -> Option<String> {
    if node.get("properties").is_some() {
        return Some(format!(
            "write `[{key}]` on a line of its own and its keys below it"
        ));
    }
    if node.get("additionalProperties").is_some() {
        return Some(format!(
            "write `[{key}]` and below it `NAME = \"value\"`; outside the file, `NAME=value,NAME=value`"
        ));
    }
    match value {
        Value::String(text) => wrong_text(key, node, text),
        Value::Number(_)
            if key != "app" && node.get("type").is_some_and(|kind| kind == "string") =>
        {
            let example = written.map_or(String::new(), |written| format!(": `\"{written}\"`"));
            Some(format!("put it in quotes{example}"))
        }
        Value::Number(number) if key == "bind" => Some(format!("write `\"127.0.0.1:{number}\"`")),
        Value::Bool(false) if key.starts_with("log.") => Some("write `\"off\"`".to_owned()),
        _ => None,
    }
}

/// For a variable `RGUNICORN_…` that belongs to no key; `name` lacks the prefix.
pub(super) fn unknown_variable(name: &str) -> Option<String> {
    let lowercase = name.to_ascii_lowercase();
    let like = |least| {
        nearest(
            &lowercase,
            schema::keys().iter().map(|key| variable(key)),
            least,
        )
    };
    let last = |key: &&String| key.rsplit('.').next() == Some(lowercase.as_str());
    let meant = gunicorn::key(&lowercase)
        .map(variable)
        .or_else(|| like(SLIP_MIN))
        .or_else(|| schema::keys().iter().find(last).map(|key| variable(key)));
    let question =
        |meant: String| format!("did you mean `RGUNICORN_{}`?", meant.to_ascii_uppercase());
    if ["host", "port"].contains(&lowercase.as_str()) {
        return Some("host and port are one: `RGUNICORN_BIND=127.0.0.1:8000`".to_owned());
    }
    meant
        .map(question)
        .or_else(|| gunicorn::advice(&lowercase))
        .or_else(|| like(LIKENESS_MIN).map(question))
}

/// What follows `RGUNICORN_`, in lowercase.
fn variable(key: &str) -> String {
    key.replace('.', "_")
}

/// `least` is from 0 (nothing in common) to 1 (the same).
fn nearest(
    word: &str,
    candidates: impl IntoIterator<Item = impl AsRef<str>>,
    least: f64,
) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate.as_ref()), candidate))
        .filter(|(likeness, _)| *likeness >= least)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate.as_ref().to_owned())
}

/// The key exists, in another table.
fn elsewhere(table: &str, name: &str) -> Option<String> {
    let key = schema::keys()
        .iter()
        .find(|key| key.rsplit('.').next() == Some(name) || key.replace('.', "_") == name)?;
    match key.split_once('.') {
        Some((home, inner)) => Some(format!("it is written `[{home}] {inner}`")),
        None if table.is_empty() => None,
        None => Some(format!(
            "`{name}` is a top-level key: write it above the first `[table]`"
        )),
    }
}

fn nearest_anywhere(name: &str) -> Option<String> {
    let last = |key: &'static String| key.rsplit('.').next().unwrap_or(key);
    let near = nearest(name, schema::keys().iter().map(last), LIKENESS_MIN)?;
    let key = schema::keys().iter().find(|key| last(key) == near)?;
    Some(format!("did you mean {}?", gunicorn::place(key)))
}

fn wrong_text(key: &str, node: &Value, text: &str) -> Option<String> {
    match key {
        "bind" => return address(text),
        "worker_class" => {
            if let Some(advice) = worker_class(text) {
                return Some(advice);
            }
        }
        "proxy.header_map" if text == "dangerous" => {
            return Some("Gunicorn's `dangerous` is called `keep` here".to_owned());
        }
        _ => {}
    }
    if node.get("type").is_some_and(|kind| kind == "boolean") {
        let yes = matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "yes" | "on" | "1"
        );
        return Some(format!("write `{yes}`, without quotes"));
    }
    if text.parse::<f64>().is_ok() && (node.get(UNIT).is_some() || takes(node, "integer")) {
        return Some(format!("remove the quotes: `{text}`"));
    }
    let choices = ["oneOf", "anyOf"]
        .into_iter()
        .filter_map(|kind| node.get(kind)?.as_array());
    let words = choices
        .flatten()
        .filter_map(|choice| choice.get("const")?.as_str());
    nearest(&text.to_lowercase(), words, LIKENESS_MIN)
        .map(|near| format!("did you mean `\"{near}\"`?"))
}

fn address(text: &str) -> Option<String> {
    let bare = ["tcp://", "http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .map(|rest| rest.trim_end_matches('/'));
    if let Some(bare) = bare {
        return Some(format!("write `\"{bare}\"`"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Some(format!("write `\"127.0.0.1:{text}\"`"));
    }
    if text.contains(',') {
        return Some("write a list: `[\"127.0.0.1:8000\", \"[::1]:8000\"]`".to_owned());
    }
    if text == "unix:" {
        return Some("write the path behind it: `\"unix:/run/app.sock\"`".to_owned());
    }
    if text.starts_with('[') && !text.contains(']') {
        return Some("close the bracket: `\"[::1]:8000\"`".to_owned());
    }
    if text.starts_with('/') || text.ends_with(".sock") {
        return Some(format!("write `\"unix:{text}\"`"));
    }
    let is_bare_ipv6 = text.matches(':').count() > 1 && !text.contains('[');
    if is_bare_ipv6 {
        return Some("write an IPv6 address in brackets: `\"[::1]:8000\"`".to_owned());
    }
    (!text.is_empty() && !text.contains([':', ' '])).then(|| format!("write `\"{text}:8000\"`"))
}

fn worker_class(text: &str) -> Option<String> {
    let last = text.rsplit('.').next().unwrap_or(text).to_ascii_lowercase();
    if let Some(greenlets) = ["gevent", "eventlet"]
        .iter()
        .find(|greenlets| last.contains(**greenlets))
    {
        // Gunicorn's class paths and its other names for the same: `gunicorn.workers.ggevent.GeventWorker`, `gevent_wsgi`.
        let websockets = match last.contains("websocket") {
            true => ", with simple-websocket or flask-sock in place of gevent-websocket",
            false => "",
        };
        return Some(format!(
            "Gunicorn's `{text}` is called `\"{greenlets}\"` here{websockets}"
        ));
    }
    if text.starts_with("aiohttp.") {
        return Some(
            "an aiohttp app is neither WSGI nor ASGI and brings its own server: `aiohttp.web.run_app`".to_owned(),
        );
    }
    if text.starts_with("sanic.") {
        return Some("a Sanic app is ASGI: write `\"asgi\"`, or leave it out".to_owned());
    }
    ["tornado"]
        .iter()
        .find(|foreign| last.contains(**foreign))
        .map(|foreign| {
            format!("`{foreign}` workers are not part of this version; `\"gthread\"` with `threads = 16` suits apps that wait")
        })
}
