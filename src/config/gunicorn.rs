//! What a Gunicorn user wrote, and what to write in its place.

mod settings;

pub use settings::{Fate, Form, SETTINGS, Setting, Takes, find};

use super::schema;

/// The paths by which Gunicorn and uvicorn name worker classes that exist here.
const WORKER_CLASSES: &[(&str, &str)] = &[
    ("gunicorn.workers.sync.SyncWorker", "sync"),
    ("gunicorn.workers.gthread.ThreadWorker", "gthread"),
    ("gunicorn.workers.gasgi.ASGIWorker", "asgi"),
    ("gunicorn.workers.ggevent.GeventWorker", "gevent"),
    ("gunicorn.workers.ggevent.GeventPyWSGIWorker", "gevent"),
    ("gevent_wsgi", "gevent"),
    ("gevent_pywsgi", "gevent"),
    ("gunicorn.workers.geventlet.EventletWorker", "eventlet"),
    ("uvicorn.workers.UvicornWorker", "asgi"),
    ("uvicorn.workers.UvicornH11Worker", "asgi"),
    ("uvicorn_worker.UvicornWorker", "asgi"),
    ("uvicorn_worker.UvicornH11Worker", "asgi"),
];

/// The class of ours that a path means.
pub fn worker_class(path: &str) -> Option<&'static str> {
    let (_, class) = WORKER_CLASSES.iter().find(|(known, _)| *known == path)?;
    Some(class)
}

/// The key that does what Gunicorn's setting of this name did.
pub(super) fn key(name: &str) -> Option<&'static str> {
    find(name)?.key()
}

/// What to tell somebody who wrote Gunicorn's name, in whatever table. Nothing where the name is right here, too.
pub(super) fn advice(name: &str) -> Option<String> {
    match find(name)?.fate {
        Fate::Same(_) => None,
        Fate::Renamed(key) => Some(format!("Gunicorn's `{name}` is {} here", place(key))),
        Fate::Better(key, remark) => Some(format!(
            "Gunicorn's `{name}` is {} here; {remark}",
            place(key)
        )),
        Fate::Gone(reason) => Some(format!("Gunicorn's `{name}` is not here: {reason}")),
    }
}

/// The same for a flag of Gunicorn's command line, such as `--log-config` or `-D`.
pub fn advice_on_flag(flag: &str) -> Option<String> {
    let bare = |name: &str| name.replace(['-', '_'], "");
    let setting = SETTINGS
        .iter()
        .find(|setting| setting.has_flag(flag))
        .or_else(|| {
            SETTINGS
                .iter()
                .find(|setting| bare(setting.name) == bare(flag))
        })?;
    advice(setting.name)
}

/// How a key is written in the file: `[timeouts] keepalive`.
pub fn place(key: &str) -> String {
    match key.split_once('.') {
        Some((table, name)) => format!("`[{table}] {name}`"),
        None if schema::names_in("").iter().any(|name| name == key) => format!("`{key}`"),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_it_points_at_exist() {
        for setting in SETTINGS {
            let known = |key: &str| schema::keys().iter().any(|known| known == key);
            assert!(setting.key().is_none_or(known), "{}", setting.name);
        }
    }

    #[test]
    fn what_has_a_key_has_a_form_and_what_has_none_has_none() {
        for setting in SETTINGS {
            let has_form = setting.form != Form::Nothing;
            assert_eq!(setting.key().is_some(), has_form, "{}", setting.name);
        }
    }

    #[test]
    fn no_name_and_no_flag_is_there_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for setting in SETTINGS {
            for word in setting.flags.split_whitespace().chain([setting.name]) {
                assert!(seen.insert(word), "{word}");
            }
        }
    }

    #[test]
    fn a_flag_is_answered_by_its_letter_too() {
        let daemon = advice_on_flag("-D").unwrap();
        assert!(daemon.contains("`daemon` is not here"), "{daemon}");
        assert!(advice_on_flag("--log-config").is_some());
        assert_eq!(advice_on_flag("--nonsense"), None);
    }
}
