//! One of Gunicorn's settings becomes a key, with a comment that says what it was.

use serde_json::Value as Json;
use toml::Value;

use super::{
    Draft, Given, Written, environment,
    places::{Places, relative},
    reload,
    values::{Obstacle, is_default, number, switch, text, words},
    variables::{expand_defaults, variable_of},
};
use crate::config::{
    bounds,
    gunicorn::{Fate, Form, find, worker_class},
};

/// `unread_by_shell`: variables in the value still wait for the shell that would have put something in their place.
pub(super) fn translate(
    mut given: Given,
    unread_by_shell: bool,
    places: &Places,
    draft: &mut Draft,
) {
    if given.is_nothing() {
        return;
    }
    if given.setting.form == Form::Variables {
        return environment::translate(&given, unread_by_shell, draft);
    }
    let mut comments = vec![title(&given)];
    if unread_by_shell && let Err(reason) = expand_defaults(&mut given, &mut comments) {
        return draft.leave(title(&given), reason);
    }
    comments.extend(remark_on_computed(&given));
    if given.provenance.has_port && given.setting.form == Form::Bind {
        match is_every_address_with_a_port(&given) {
            // The file would win over `PORT`.
            true => return draft.leave(title(&given), PORT),
            false => comments.push(NOT_PORT.to_owned()),
        }
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

/// The expression says nothing new of a function, and nothing at all where there is no key.
fn remark_on_computed(given: &Given) -> Vec<String> {
    let is_told = !matches!(given.setting.form, Form::Nothing | Form::Hook);
    let key = given.setting.key().filter(|_| is_told);
    let (Some(expression), Some(key)) = (&given.provenance.computed, key) else {
        return Vec::new();
    };
    let mut remarks = vec![format!(
        "Computed, so the value is of this machine and moment: {expression}"
    )];
    if given.provenance.has_environment && !given.provenance.has_port {
        remarks.push(format!(
            "A variable went into it. Here {} counts more than this line.",
            variable_of(key)
        ));
    }
    remarks
}

const PORT: &str = "It is made from the variable PORT, which counts here without being named, as 0.0.0.0 with that port. Where \
    PORT is not set, the address is 127.0.0.1:8000; another one may be set as RGUNICORN_BIND.";

const NOT_PORT: &str = "It is made from the variable PORT, which counts less here than this line. Where the port is not always \
    this one, take the line out and set RGUNICORN_BIND.";

/// What the variable `PORT` means here.
fn is_every_address_with_a_port(given: &Given) -> bool {
    let [address] = &words(given).unwrap_or_default()[..] else {
        return false;
    };
    let host = address.rsplit_once(':').map(|(host, _)| host);
    matches!(host, Some("0.0.0.0" | ""))
}

/// The remark is about how the value is written, which the line below shows.
fn says_it_itself(form: Form) -> bool {
    matches!(
        form,
        Form::LogTarget | Form::AccessFormat | Form::HeaderMap | Form::SocketOff
    )
}

pub(super) fn title(given: &Given) -> String {
    format!("{}: {}", given.origin, given.shown())
}

/// With a capital and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().filter(|_| !text.starts_with('`'));
    match first {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => format!("{text}."),
    }
}

fn carry_over(
    given: &Given,
    mut comments: Vec<String>,
    places: &Places,
    draft: &mut Draft,
) -> Result<(), Obstacle> {
    let key = match (given.setting.fate, given.setting.key()) {
        (_, Some(key)) => key,
        (Fate::Gone(reason), None) if !is_default(given) => return Err(reason.to_owned()),
        (_, None) => return Ok(()),
    };
    let value = match given.setting.form {
        // Variables have become entries of their own.
        Form::Nothing | Form::Variables => return Ok(()),
        Form::Text | Form::App => text(given)?.into(),
        Form::Number => Value::from(number(given)?),
        Form::Workers => workers(given, &mut comments)?,
        Form::Seconds => seconds(given, &mut comments)?,
        Form::Switch => Value::from(switch(given)?),
        Form::Words if given.says_nobody() => Value::Array(Vec::new()),
        Form::Words => list(words(given)?),
        Form::Bind => list(words(given)?.iter().map(|text| address(text)).collect()),
        Form::WorkerClass => class(given, &mut comments)?.into(),
        Form::Directory => match directory(given, places, &mut comments)? {
            Some(directory) => directory.into(),
            None => return Ok(()),
        },
        Form::Umask => return umask(given, comments, places, draft),
        Form::Headers => headers(given)?,
        Form::HeaderMap => match text(given)?.as_str() {
            "dangerous" => "keep".into(),
            other => other.into(),
        },
        Form::LimitOrNone => limit(key, number(given)?, &mut comments),
        Form::Level => text(given)?.to_lowercase().into(),
        Form::Hook => hook(given, key)?.into(),
        Form::ProxyProtocol => match switch(given) {
            Ok(false) => return Ok(()),
            Ok(true) => "auto".into(),
            Err(_) => text(given)?.to_lowercase().into(),
        },
        Form::StatsdHost => address_of_statsd(&text(given)?).into(),
        Form::SocketOff if !switch(given)? => return Ok(()),
        Form::SocketOff => {
            draft.entries.retain(|entry| entry.key != key);
            "off".into()
        }
        Form::LogTarget => target(key, &text(given)?).into(),
        Form::AccessFormat => access_format(text(given)?).into(),
        Form::ReloadCode if !switch(given)? => return Ok(()),
        Form::ReloadCode => {
            reload::add_code(draft, vec!["**/*.py".to_owned()], comments);
            return Ok(());
        }
        Form::ReloadFiles => return reload::extra_files(given, comments, places, draft),
    };
    // `default_proc_name` gives way to `proc_name`.
    if !draft.has(key) {
        draft.set(key, value, comments);
    }
    Ok(())
}

/// A number that was made from the processors of a machine, and from nothing else, is `"auto"`.
fn workers(given: &Given, comments: &mut Vec<String>) -> Result<Value, Obstacle> {
    if given.provenance.counts_processors {
        comments.push(
            "It counted processors; so does \"auto\", which also sees a container's share of them."
                .to_owned(),
        );
        return Ok("auto".into());
    }
    if given.provenance.computed.is_some() && !given.provenance.has_environment {
        comments.push("Where it is another number, set RGUNICORN_WORKERS.".to_owned());
    }
    comments.push("Better where nothing depends on the number: \"auto\".".to_owned());
    number(given).map(Value::from)
}

fn seconds(given: &Given, comments: &mut Vec<String>) -> Result<Value, Obstacle> {
    let seconds = number(given)?;
    if seconds > DAY {
        comments.push("A day is the longest here.".to_owned());
        return Ok("1d".into());
    }
    if given.setting.name == "keepalive" && (1..60).contains(&seconds) {
        comments.push(
            "Behind a load balancer, leave the line out: were a connection closed before the balancer lets it go \
             (after 60s, most often), a request would now and then be lost with a 502."
                .to_owned(),
        );
    }
    Ok(format!("{seconds}s").into())
}

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

fn address_of_statsd(text: &str) -> String {
    match text.strip_prefix("unix://") {
        Some(path) => format!("unix:{path}"),
        None => text.to_owned(),
    }
}

/// `module:function` of a function that has a module, or of Gunicorn's `module.function`.
fn hook(given: &Given, key: &str) -> Result<String, Obstacle> {
    let name = given.setting.name;
    match &given.written {
        Written::Function(function) => function.path().ok_or_else(|| {
            format!(
                "nothing can import it from where it stands. Move it into a module of the project, such as `hooks.py`, \
                 and write `{key} = \"hooks:{name}\"`"
            )
        }),
        _ => {
            let path = text(given)?;
            let (module, function) = path
                .rsplit_once('.')
                .ok_or_else(|| "it names no function in a module".to_owned())?;
            Ok(format!("{module}:{function}"))
        }
    }
}

/// One text where there is only one.
pub(super) fn list(mut items: Vec<String>) -> Value {
    match items.len() {
        1 => items.remove(0).into(),
        _ => items.into(),
    }
}

/// An address as we write it, made from what Gunicorn understands.
pub(super) fn address(text: &str) -> String {
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

fn class(given: &Given, comments: &mut Vec<String>) -> Result<String, Obstacle> {
    let path = text(given)?;
    if path.contains("geventwebsocket") {
        comments.push(WEBSOCKETS.to_owned());
        return Ok("gevent".to_owned());
    }
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

const WEBSOCKETS: &str = "There is no `wsgi.websocket`: use simple-websocket or flask-sock in place of gevent-websocket. Flask-SocketIO does so by \
    itself once gevent-websocket is uninstalled, and needs `workers = 1` or sticky sessions, as before.";

/// Relative to the new file, and nothing where it is the new file's own.
fn directory(
    given: &Given,
    places: &Places,
    comments: &mut Vec<String>,
) -> Result<Option<String>, Obstacle> {
    let absolute = places.project.join(text(given)?);
    comments.push("Other relative paths start there.".to_owned());
    Ok(relative(&absolute, &places.file))
}

/// Gunicorn's umask is for its UNIX sockets alone.
fn umask(
    given: &Given,
    comments: Vec<String>,
    places: &Places,
    draft: &mut Draft,
) -> Result<(), Obstacle> {
    let bits = number(given)?;
    if !places.has_unix_socket {
        return Err("in Gunicorn it is for UNIX sockets alone, and there is none".to_owned());
    }
    draft.set("socket_mode", format!("{:03o}", SOCKET & !bits), comments);
    Ok(())
}

/// What everybody may do with a socket: connect.
const SOCKET: i64 = 0o666;

fn headers(given: &Given) -> Result<Value, Obstacle> {
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
        (number, Some((_, most))) if number > most => {
            comments.push("This is the largest limit here.".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_gevent_websocket_becomes_gevents_own() {
        let path = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker";
        let given = Given::plain(find("worker_class").unwrap(), path, "conf.py");
        let mut comments = Vec::new();
        assert_eq!(class(&given, &mut comments).unwrap(), "gevent");
        assert_eq!(comments, [WEBSOCKETS]);
    }

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
}
