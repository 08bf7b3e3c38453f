//! The new file as a whole: what was given, and what goes without saying in Gunicorn and not here.

use std::path::Path;

use super::{
    Draft, Layer,
    gather::{COMMAND_LINE, Gathered},
    places::{Places, relative},
    request_head,
    syslog::Syslog,
    translate::{title, translate},
    values::{is_default, switch},
};

/// The first lines of the file.
pub(super) fn head(origins: &[String]) -> Vec<String> {
    vec![
        "#:schema rgunicorn.schema.json".to_owned(),
        format!("# Made by `rgunicorn migrate` from {}.", enumerated(origins)),
        "# Each comment says what was there before. `rgunicorn check --app` tries the file and the app out.".to_owned(),
    ]
}

fn enumerated(origins: &[String]) -> String {
    let named = |origin: &String| match origin.as_str() {
        COMMAND_LINE => format!("the {origin}"),
        _ => origin.clone(),
    };
    let mut names: Vec<String> = origins.iter().map(named).collect();
    names.dedup();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

pub(super) fn draft(gathered: Gathered) -> Draft {
    let mut draft = Draft::default();
    for remark in gathered.remarks {
        draft.remarks.push(vec![remark]);
    }
    let mut layer = gathered.layer;
    if layer.gives("proc_name") {
        layer.take("default_proc_name");
    }
    leave_without_effect(&mut layer, &mut draft);
    let syslog = Syslog::take(&mut layer);
    let has_access_log =
        layer.gives("accesslog") || syslog.as_ref().is_some_and(Syslog::has_access);
    draft
        .remarks
        .extend(remark_on_defaults(&layer, has_access_log));
    let has_workers = layer.gives("workers");
    for given in layer {
        let unread_by_shell = gathered.unread_by_shell.contains(&given.origin);
        translate(given, unread_by_shell, &gathered.places, &mut draft);
    }
    if let Some(syslog) = syslog {
        syslog.translate(&gathered.unread_by_shell, &mut draft);
    }
    settle_class(&mut draft);
    request_head::bound(&mut draft);
    if gathered.has_web_concurrency
        && let Some(workers) = draft.get_mut("workers")
    {
        workers.comments.push(WEB_CONCURRENCY.to_owned());
    }
    if !has_workers {
        draft.set("workers", 1, vec![ONE_WORKER.to_owned()]);
    }
    if gathered.places.has_unix_socket && !draft.has("socket_mode") {
        draft.set("socket_mode", "666", vec![OPEN_SOCKET.to_owned()]);
    }
    say_where(&mut draft, &gathered.places, gathered.python.as_deref());
    draft
}

/// Takes out what had no effect in Gunicorn, given what else was set.
fn leave_without_effect(layer: &mut Layer, draft: &mut Draft) {
    for (name, is_idle, reason) in IDLE {
        if layer.gives(name)
            && is_idle(layer)
            && let Some(given) = layer.take(name)
            && !is_default(&given)
        {
            draft.leave(title(&given), *reason);
        }
    }
}

fn is_on(layer: &Layer, name: &str) -> bool {
    layer
        .get(name)
        .is_some_and(|given| switch(given) == Ok(true))
}

/// A setting, when it had no effect, and why.
type Idle = (&'static str, fn(&Layer) -> bool, &'static str);

const IDLE: &[Idle] = &[
    (
        "reload_extra_files",
        |layer| !is_on(layer, "reload"),
        "Without `reload` it had no effect.",
    ),
    (
        "syslog_addr",
        |layer| !is_on(layer, "syslog"),
        "Without `syslog` it had no effect.",
    ),
    (
        "disable_redirect_access_to_syslog",
        |layer| !is_on(layer, "syslog"),
        "Without `syslog` it had no effect.",
    ),
    (
        "logconfig",
        |layer| layer.gives("logconfig_json") || layer.gives("logconfig_dict"),
        "`logconfig_dict` and `logconfig_json` came before it, and it had no effect.",
    ),
    (
        "logconfig_json",
        |layer| layer.gives("logconfig_dict"),
        "`logconfig_dict` came before it, and it had no effect.",
    ),
];

/// The directory and the interpreter, which Gunicorn got from whoever started it.
fn say_where(draft: &mut Draft, places: &Places, python: Option<&Path>) {
    if !draft.has("chdir")
        && let Some(project) = relative(&places.project, &places.file)
    {
        let comment = "Where Gunicorn was started.".to_owned();
        draft.set("chdir", project, vec![comment]);
    }
    let Some(python) = python else {
        return;
    };
    let root = draft
        .get_mut("chdir")
        .and_then(|entry| entry.value.as_str());
    let shown = relative(python, &places.file.join(root.unwrap_or("")));
    let shown = shown.unwrap_or_else(|| python.display().to_string());
    let comment = "The environment that Gunicorn ran in.".to_owned();
    draft.set("python", shown, vec![comment]);
}

fn remark_on_defaults(layer: &Layer, has_access_log: bool) -> Option<Vec<String>> {
    let unset = UNSET.iter().filter(|unset| match unset.setting {
        "accesslog" => !has_access_log,
        "limit_request_fields" => {
            !is_changed(layer, &["limit_request_fields", "limit_request_field_size"])
        }
        setting => !layer.gives(setting),
    });
    let lines: Vec<String> = unset.map(|unset| format!("- {}", unset.remark)).collect();
    let lead = "Not set before, and another default here:".to_owned();
    (!lines.is_empty()).then(|| [lead].into_iter().chain(lines).collect())
}

fn is_changed(layer: &Layer, settings: &[&str]) -> bool {
    let mut given = settings.iter().filter_map(|setting| layer.get(setting));
    given.any(|given| !is_default(given))
}

/// Gunicorn's `sync` worker with threads is another class; in classes without threads it minds no such number.
fn settle_class(draft: &mut Draft) {
    let threads = draft
        .entries
        .iter()
        .position(|entry| entry.key == "threads");
    let has_more = |position: usize| draft.entries[position].value.as_integer() > Some(1);
    let Some(position) = threads.filter(|position| has_more(*position)) else {
        return;
    };
    let Some(class) = draft.get_mut("worker_class") else {
        return;
    };
    match class.value.as_str() {
        Some("sync") => {
            class.value = "gthread".into();
            class.comments.push(
                "With more than one thread, Gunicorn made a gthread worker of it.".to_owned(),
            );
        }
        Some("asgi" | "gevent" | "eventlet") => {
            let class = class.value.clone();
            let threads = draft.entries.remove(position);
            let given = threads.comments.into_iter().next().unwrap_or_default();
            draft.leave(
                given,
                format!("A worker of the class {class} has one thread, in Gunicorn too."),
            );
        }
        _ => {}
    }
}

const WEB_CONCURRENCY: &str = "Where WEB_CONCURRENCY is set, as platforms do, it counts more here than this line; in Gunicorn it \
    counted less.";

const ONE_WORKER: &str = "Gunicorn's default, kept because an app may hold things in memory that a second worker would \
    not see. If yours does not: \"auto\".";

const OPEN_SOCKET: &str = "As Gunicorn's UNIX sockets, to which every user of the machine can connect. Better: \"660\", with the \
    proxy's user in this server's group.";

/// A default that is another here, and that nobody set.
struct Unset {
    setting: &'static str,
    remark: &'static str,
}

/// In the words of a comment. `workers` and the mode of UNIX sockets are written out, because apps depend on them.
const UNSET: &[Unset] = &[
    Unset {
        setting: "timeout",
        remark: "`[timeouts] worker` is 60s (Gunicorn's `timeout`: 30). \
            The start of a worker has its own, `boot`.",
    },
    Unset {
        setting: "keepalive",
        remark: "`[timeouts] keepalive` is 75s (Gunicorn: 2), so that no load \
            balancer meets a closed connection. Idle connections cost no thread.",
    },
    Unset {
        setting: "accesslog",
        remark: "The access log goes to the standard output (Gunicorn: none). \
            `[log] access = \"off\"` turns it off.",
    },
    Unset {
        setting: "limit_request_fields",
        remark: "`[limits] head` is 64KiB: request line and header lines together (Gunicorn: some 800KiB).",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::default_text;

    #[test]
    fn the_defaults_in_the_remarks_are_the_defaults() {
        let defaults = [
            ("timeouts.worker", "60s"),
            ("timeouts.keepalive", "75s"),
            ("log.access", "stdout"),
            ("limits.head", "64KiB"),
        ];
        for (unset, (key, default)) in UNSET.iter().zip(defaults) {
            assert_eq!(default_text(key).as_deref(), Some(default), "{key}");
            let name = key.rsplit_once('.').unwrap().1;
            assert!(unset.remark.contains(name), "{key}");
        }
    }

    #[test]
    fn origins_are_enumerated() {
        let names = |names: &[&str]| {
            enumerated(
                &names
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(&["a"]), "a");
        assert_eq!(names(&["a", "b", "c"]), "a, b and c");
    }
}
