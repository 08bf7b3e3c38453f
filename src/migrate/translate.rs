//! One of Gunicorn's settings becomes a key, with a comment that says what it was.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::Value;

use super::{
    Draft, Given, Written,
    variables::{Expanded, expand, is_only},
};
use crate::config::{
    bounds,
    gunicorn::{Fate, Form, find, worker_class},
};

/// Where things lie.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Where Gunicorn was started.
    pub(super) project: PathBuf,
    /// The directory of the new file; absolute.
    pub(super) file: PathBuf,
    /// Some address is a UNIX socket with a path.
    pub(super) has_unix_socket: bool,
}

/// Why a value cannot be carried over, in a sentence's words.
type Refusal = String;

/// `is_shell` says that no shell has read the value yet.
pub(super) fn translate(mut given: Given, is_shell: bool, places: &Places, draft: &mut Draft) {
    if given.is_nothing() {
        return;
    }
    let mut comments = vec![format!("{}: {}", given.origin, given.shown())];
    if is_shell && let Err(reason) = expand_variables(&mut given, &mut comments) {
        return draft.leave(title(&given), reason);
    }
    if let Some(expression) = &given.computed
        && given.setting.form != Form::Nothing
    {
        comments.push(format!(
            "Computed, so the value is of this machine and moment: {expression}"
        ));
    }
    if let Fate::Better(_, remark) = given.setting.fate
        && !says_it_itself(given.setting.form)
    {
        comments.push(sentence(remark));
    }
    if let Err(reason) = carry_over(&given, comments, places, draft) {
        draft.leave(title(&given), sentence(&reason));
    }
}

/// The remark is about how the value is written, which the line below shows.
fn says_it_itself(form: Form) -> bool {
    matches!(
        form,
        Form::LogTarget | Form::AccessFormat | Form::HeaderMap | Form::Variables
    )
}

fn title(given: &Given) -> String {
    format!("{}: {}", given.origin, given.shown())
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().filter(|_| !text.starts_with('`'));
    match first {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => format!("{text}."),
    }
}

/// In commands that were not read by a shell. The error is a whole sentence.
fn expand_variables(given: &mut Given, comments: &mut Vec<String>) -> Result<(), String> {
    let Written::Plain(value) = &mut given.written else {
        return Ok(());
    };
    let texts: Vec<&mut Json> = match value {
        Json::Array(items) => items.iter_mut().collect(),
        one => vec![one],
    };
    for value in texts {
        let Json::String(text) = value else { continue };
        match expand(text) {
            Expanded::AsItIs => {}
            // `PORT` counts for less than the file.
            Expanded::ByDefaults(_) if given.setting.form == Form::Bind => {
                return Err(unread(given));
            }
            Expanded::ByDefaults(expanded) => {
                comments.push(BY_DEFAULT.to_owned());
                *text = expanded;
            }
            Expanded::Unknown if is_of_platform(given.setting.name, text) => {
                return Err(
                    "Where the variable is set, it counts without being named here.".to_owned(),
                );
            }
            Expanded::Unknown => return Err(unread(given)),
        }
    }
    Ok(())
}

const BY_DEFAULT: &str = "The default that the command gave. Each key has a variable of its own that counts more, such as \
    RGUNICORN_WORKERS; WEB_CONCURRENCY does, too.";

/// What rgunicorn itself reads from the environment.
fn is_of_platform(name: &str, text: &str) -> bool {
    match name {
        "bind" => text
            .strip_prefix("0.0.0.0:")
            .is_some_and(|port| is_only(port, "PORT")),
        "workers" => is_only(text, "WEB_CONCURRENCY"),
        _ => false,
    }
}

/// Where to say what only a shell or systemd can read.
fn unread(given: &Given) -> String {
    let Some(key) = given.setting.key() else {
        return "There is no key for it, and no shell reads this file.".to_owned();
    };
    let variable = format!("RGUNICORN_{}", key.replace('.', "_").to_uppercase());
    let mut values = words(given).unwrap_or_default();
    if given.setting.form == Form::Bind {
        values.iter_mut().for_each(|value| *value = address(value));
    }
    let value = values.join(",");
    if value.contains("${%") {
        let value = value.replace("${%", "%").replace('}', "");
        return format!(
            "No specifier means anything here. In the unit: Environment=\"{variable}={value}\"."
        );
    }
    format!("No shell reads this file. In the command: {variable}=\"{value}\".")
}

fn carry_over(
    given: &Given,
    mut comments: Vec<String>,
    places: &Places,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let key = match (given.setting.fate, given.setting.key()) {
        (_, Some(key)) => key,
        (Fate::Gone(reason), None) if !is_default(given) => return Err(reason.to_owned()),
        (_, None) => return Ok(()),
    };
    let value = match given.setting.form {
        Form::Nothing => return Ok(()),
        Form::Text | Form::App => text(given)?.into(),
        Form::Number => Value::from(number(given)?),
        Form::Workers => workers(given, &mut comments)?,
        Form::Seconds => seconds(given, &mut comments)?,
        Form::Switch => Value::from(switch(given)?),
        Form::Words => list(words(given)?),
        Form::Bind => list(words(given)?.iter().map(|text| address(text)).collect()),
        Form::WorkerClass => class(given)?.into(),
        Form::Directory => match directory(given, places, &mut comments)? {
            Some(directory) => directory.into(),
            None => return Ok(()),
        },
        Form::Umask => return umask(given, comments, places, draft),
        Form::Variables => return variables(given, draft),
        Form::Headers => headers(given)?,
        Form::HeaderMap => match text(given)?.as_str() {
            "dangerous" => "keep".into(),
            other => other.into(),
        },
        Form::LimitOrNone => limit(key, number(given)?, &mut comments),
        Form::Level => text(given)?.to_lowercase().into(),
        Form::LogTarget => target(key, &text(given)?).into(),
        Form::AccessFormat => access_format(text(given)?).into(),
        Form::ReloadCode if !switch(given)? => return Ok(()),
        Form::ReloadCode => {
            add_code(draft, vec!["**/*.py".to_owned()], comments);
            return Ok(());
        }
        Form::ReloadFiles => {
            add_code(draft, words(given)?, comments);
            return Ok(());
        }
    };
    // `default_proc_name` gives way to `proc_name`.
    if !draft.has(key) {
        draft.set(key, value, comments);
    }
    Ok(())
}

/// What is set to Gunicorn's own default changes nothing, and is not worth a word.
fn is_default(given: &Given) -> bool {
    match &given.written {
        Written::Plain(Json::Bool(value)) => {
            given.setting.default == if *value { "True" } else { "False" }
        }
        Written::Plain(Json::Number(number)) => given.setting.default == number.to_string(),
        Written::Plain(Json::String(text)) => {
            given.setting.default.trim_matches('\'') == text || given.setting.default == text
        }
        _ => false,
    }
}

fn text(given: &Given) -> Result<String, Refusal> {
    match &given.written {
        Written::Plain(Json::String(text)) => Ok(text.trim().to_owned()),
        Written::Plain(Json::Number(number)) => Ok(number.to_string()),
        _ => Err("it is no text".to_owned()),
    }
}

fn number(given: &Given) -> Result<i64, Refusal> {
    let number = match &given.written {
        Written::Plain(Json::Number(number)) => number.as_i64(),
        Written::Plain(Json::Bool(value)) => Some((*value).into()),
        Written::Plain(Json::String(text)) => integer(text.trim()),
        _ => None,
    };
    number.ok_or_else(|| "it is no whole number".to_owned())
}

/// As Python's `int(text, 0)` reads it, and octal with a leading 0 as Gunicorn's `umask` takes it.
fn integer(text: &str) -> Option<i64> {
    let digits = text.replace('_', "").to_lowercase();
    let radix =
        |prefix: &str, radix| Some(i64::from_str_radix(digits.strip_prefix(prefix)?, radix));
    let read = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0", 8).filter(|_| digits.len() > 1))
        .unwrap_or_else(|| digits.parse());
    read.ok()
}

/// A number that was made from the processors of a machine is `"auto"`.
fn workers(given: &Given, comments: &mut Vec<String>) -> Result<Value, Refusal> {
    let counts = |expression: &String| expression.contains("cpu_count");
    if given.computed.as_ref().is_some_and(counts) {
        comments.push(
            "It counted processors; so does \"auto\", which also sees a container's share of them."
                .to_owned(),
        );
        return Ok("auto".into());
    }
    comments.push("Better where nothing depends on the number: \"auto\".".to_owned());
    number(given).map(Value::from)
}

fn seconds(given: &Given, comments: &mut Vec<String>) -> Result<Value, Refusal> {
    let seconds = number(given)?;
    if given.setting.name == "keepalive" && (1..60).contains(&seconds) {
        comments.push(
            "Behind a load balancer, leave the line out: were a connection closed before the balancer lets it go \
             (after 60s, most often), a request would now and then be lost with a 502."
                .to_owned(),
        );
    }
    Ok(format!("{seconds}s").into())
}

fn switch(given: &Given) -> Result<bool, Refusal> {
    match &given.written {
        Written::Plain(Json::Bool(value)) => Ok(*value),
        Written::Plain(Json::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Written::Plain(Json::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("it is neither True nor False".to_owned()),
    }
}

fn words(given: &Given) -> Result<Vec<String>, Refusal> {
    let split = |text: &str| -> Vec<String> {
        let words = text.split(',').map(str::trim);
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    match &given.written {
        Written::Plain(Json::String(text)) => Ok(split(text)),
        Written::Plain(Json::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
            let texts = texts.ok_or_else(|| "it is no list of texts".to_owned())?;
            Ok(texts.into_iter().flat_map(split).collect())
        }
        _ => Err("it is no list of texts".to_owned()),
    }
}

/// One text where there is only one.
fn list(mut items: Vec<String>) -> Value {
    match items.len() {
        1 => items.remove(0).into(),
        _ => items.into(),
    }
}

/// An address as we write it, made from what Gunicorn understands.
fn address(text: &str) -> String {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return format!("unix:{}", path.replacen('\0', "@", 1));
    }
    if text.starts_with("fd://") {
        return text.to_owned();
    }
    let text = text.strip_prefix("tcp://").unwrap_or(text);
    let has_port = match text.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => text.contains(':'),
    };
    match has_port {
        true => text.to_owned(),
        false => format!("{text}:8000"),
    }
}

fn class(given: &Given) -> Result<String, Refusal> {
    let path = text(given)?;
    let last = path.rsplit('.').next().unwrap_or(&path).to_lowercase();
    let known = worker_class(&path).map(str::to_owned);
    known.map_or_else(
        || match path.as_str() {
            "sync" | "gthread" | "gevent" | "eventlet" | "asgi" => Ok(path.clone()),
            _ if last.contains("tornado") || last.contains("aiohttp") => Err(format!(
                "apps of {} bring a server of their own and are neither WSGI nor ASGI",
                if last.contains("tornado") { "Tornado" } else { "aiohttp" }
            )),
            _ if last.contains("uvicorn") || last.contains("asgi") => Ok("asgi".to_owned()),
            _ => Err(
                "worker classes of one's own do not exist here; without a line, the class is chosen by the app"
                    .to_owned(),
            ),
        },
        Ok,
    )
}

/// Relative to the new file, and nothing where it is the new file's own.
fn directory(
    given: &Given,
    places: &Places,
    comments: &mut Vec<String>,
) -> Result<Option<String>, Refusal> {
    let absolute = places.project.join(text(given)?);
    comments.push("Other relative paths start there.".to_owned());
    Ok(relative(&absolute, &places.file))
}

/// `None` where they are the same.
pub(super) fn relative(path: &Path, from: &Path) -> Option<String> {
    let clean: PathBuf = path.components().collect();
    let shown = clean.strip_prefix(from).unwrap_or(&clean);
    (shown != Path::new("")).then(|| shown.display().to_string())
}

/// Gunicorn's umask is for its UNIX sockets alone.
fn umask(
    given: &Given,
    comments: Vec<String>,
    places: &Places,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let bits = number(given)?;
    if !places.has_unix_socket {
        return Err("in Gunicorn it is for UNIX sockets alone, and there is none".to_owned());
    }
    draft.set("socket_mode", format!("{:03o}", SOCKET & !bits), comments);
    Ok(())
}

/// What everybody may do with a socket: connect.
const SOCKET: i64 = 0o666;

fn variables(given: &Given, draft: &mut Draft) -> Result<(), Refusal> {
    // Values may be secrets, so no comment shows them.
    let items = match &given.written {
        Written::Plain(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect(),
        Written::Plain(Json::String(text)) => vec![text.as_str()],
        _ => return Err("it is no list of texts".to_owned()),
    };
    for (number, item) in items.into_iter().enumerate() {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let comment = match number {
            0 => vec![format!("{}: {}", given.origin, given.setting.name)],
            _ => Vec::new(),
        };
        draft.set(&format!("env.{name}"), value, comment);
    }
    Ok(())
}

fn headers(given: &Given) -> Result<Value, Refusal> {
    let Written::Plain(Json::Object(headers)) = &given.written else {
        return Err("it is no table of header names and values".to_owned());
    };
    let entries: Option<toml::Table> = headers
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_str()?.into())))
        .collect();
    let entries = entries.ok_or_else(|| "a value in it is no text".to_owned())?;
    Ok(Value::Table(entries))
}

fn limit(key: &str, number: i64, comments: &mut Vec<String>) -> Value {
    match (number, bounds(key)) {
        (0, Some((_, most))) => {
            comments.push("There is always a limit here; this is the largest.".to_owned());
            most.into()
        }
        _ => number.into(),
    }
}

/// Gunicorn's word for the stream, and the devices that name it.
fn target(key: &str, text: &str) -> String {
    match (key, text) {
        ("log.access", "-") | (_, "/dev/stdout" | "/proc/1/fd/1") => "stdout".to_owned(),
        (_, "-" | "/dev/stderr" | "/proc/1/fd/2") => "stderr".to_owned(),
        (_, "/dev/null") => "off".to_owned(),
        _ => text.to_owned(),
    }
}

fn access_format(template: String) -> String {
    let default = find("access_log_format").map_or("", |setting| setting.default);
    match template == default.trim_matches('\'') {
        true => "combined".to_owned(),
        false => template,
    }
}

fn add_code(draft: &mut Draft, patterns: Vec<String>, comments: Vec<String>) {
    let Some(entry) = draft.get_mut("reload.code") else {
        return draft.set("reload.code", list(patterns), comments);
    };
    let mut all = match &entry.value {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    all.extend(patterns.into_iter().map(Value::from));
    entry.value = Value::Array(all);
    entry.comments.extend(comments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_ours() {
        for (gunicorn, ours) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("0.0.0.0", "0.0.0.0:8000"),
            (":9000", ":9000"),
            ("[::1]", "[::1]:8000"),
            ("tcp://[::]:80", "[::]:80"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("unix:a.sock", "unix:a.sock"),
            ("fd://3", "fd://3"),
        ] {
            assert_eq!(address(gunicorn), ours);
        }
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, number) in [
            ("4", 4),
            ("0x10", 16),
            ("007", 7),
            ("0o22", 18),
            ("0", 0),
            ("1_000", 1000),
        ] {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        assert_eq!(integer("many"), None);
    }

    #[test]
    fn directories_are_relative_to_the_new_file() {
        let from = Path::new("/srv/site");
        assert_eq!(relative(Path::new("/srv/site/"), from), None);
        assert_eq!(
            relative(Path::new("/srv/site/./src"), from).as_deref(),
            Some("src")
        );
        assert_eq!(
            relative(Path::new("/opt/app"), from).as_deref(),
            Some("/opt/app")
        );
    }
}
