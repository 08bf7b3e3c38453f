//! Settings from the environment: `RGUNICORN_…` for every key, and the three variables of Gunicorn that platforms set.

use std::collections::BTreeMap;

use super::{
    LogLevel, Note, Origin, hint,
    layer::{Layer, Places, Setting},
    problem::{ENVIRONMENT, Problem},
    schema,
};

const PREFIX: &str = "RGUNICORN_";

/// Set by our own tests, for themselves; a server they start sees it too.
const NOT_SETTINGS: &[&str] = &["RGUNICORN_BLESS"];

/// `PORT` says where to listen on platforms such as Heroku, unless something else does: below the file.
pub(super) fn below_file(environment: &BTreeMap<String, String>) -> Vec<Result<Layer, Problem>> {
    let port = set(environment, "PORT");
    port.map(|port| match port.trim().parse::<u16>() {
        Ok(number) => layer("bind", &format!("0.0.0.0:{number}"), "PORT", "PORT="),
        Err(_) => Err(Problem::new("`PORT` must be a number from 0 to 65535")
            .at(Some(Setting::excerpt(&format!("PORT={port}"), ENVIRONMENT)))),
    })
    .into_iter()
    .collect()
}

/// That `PORT` is there and does not count: whoever set it expects the server to listen there.
pub(super) fn hidden_port(environment: &BTreeMap<String, String>, places: &Places) -> Option<Note> {
    let port = set(environment, "PORT")?;
    let origin = &places.find("/bind")?.origin;
    let counts = *origin == Origin::Environment("PORT".to_owned());
    (!counts).then(|| Note {
        key: "bind",
        level: LogLevel::Info,
        text: format!(
            "`PORT={}` does not count, because `bind` is set: {origin}",
            port.trim()
        ),
    })
}

/// Above the file. A variable that is set to nothing is not set, as in `RGUNICORN_WORKERS=${WORKERS:-}`.
pub(super) fn above_file(environment: &BTreeMap<String, String>) -> Vec<Result<Layer, Problem>> {
    let gunicorn = [
        ("WEB_CONCURRENCY", "workers"),
        ("FORWARDED_ALLOW_IPS", "proxy.forwarded_allow_ips"),
    ];
    let gunicorn = gunicorn.into_iter().filter_map(|(variable, key)| {
        let value = set(environment, variable)?;
        Some(layer(key, value, variable, &format!("{variable}=")))
    });
    let ours = ours(environment)
        .filter(|(_, name, value)| !is_link(name, value) && !is_foreign(name))
        .map(|(variable, name, value)| setting(variable, name, value));
    gunicorn.chain(ours).collect()
}

/// What is to be said of variables that have our prefix and are not for us. Nobody wrote those of Kubernetes, so only
/// who looks for them is told; of the others somebody may hope that they do something.
pub(super) fn ignored(environment: &BTreeMap<String, String>) -> Vec<Note> {
    let (links, others): (Vec<_>, Vec<_>) = ours(environment)
        .filter(|(_, name, value)| is_link(name, value) || is_foreign(name))
        .partition(|(_, name, value)| is_link(name, value));
    let note = |variables: Vec<(&str, _, _)>, level, remark| {
        let names: Vec<String> = variables
            .iter()
            .map(|(variable, ..)| format!("`{variable}`"))
            .collect();
        (!names.is_empty()).then(|| Note {
            key: "environment",
            level,
            text: format!(
                "not read from the environment, {remark}: {}",
                names.join(", ")
            ),
        })
    };
    let links = note(
        links,
        LogLevel::Debug,
        "because they are Kubernetes' about a Service",
    );
    let others = note(others, LogLevel::Warning, "because they belong to no key");
    links.into_iter().chain(others).collect()
}

/// Each with our prefix: the variable, its name without that, and its value.
fn ours(environment: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str, &str)> {
    environment
        .keys()
        .filter(|variable| !NOT_SETTINGS.contains(&variable.as_str()))
        .filter_map(|variable| {
            let name = variable.strip_prefix(PREFIX)?;
            Some((variable.as_str(), name, set(environment, variable)?))
        })
}

/// Whether Kubernetes made it. A pod gets the addresses of all Services of its namespace, as Docker's links had them; of one
/// named `rgunicorn` or `rgunicorn-…` they begin with our prefix:
/// kubernetes.io/docs/concepts/services-networking/service/#environment-variables
fn is_link(name: &str, value: &str) -> bool {
    let name = format!("_{name}");
    let is_port = |rest: &str| {
        let (number, protocol) = rest.split_once('_').unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number
            && ["TCP", "UDP", "SCTP"]
                .iter()
                .any(|known| protocol.starts_with(known))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name.split("_PORT_").skip(1).any(is_port)
}

/// Whether it is plainly no misspelt key, such as the `RGUNICORN_VERSION` of a Dockerfile: no key and no table is like it.
fn is_foreign(name: &str) -> bool {
    let lowercase = name.to_ascii_lowercase();
    let first = lowercase.split('_').next().unwrap_or_default();
    let is_known = key(&lowercase).is_some() || schema::names_in("").iter().any(|it| it == first);
    !is_known && hint::unknown_variable(name).is_none()
}

fn key(lowercase: &str) -> Option<&'static String> {
    schema::keys()
        .iter()
        .find(|key| key.replace('.', "_") == lowercase)
}

fn set<'e>(environment: &'e BTreeMap<String, String>, variable: &str) -> Option<&'e str> {
    environment
        .get(variable)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn setting(variable: &str, name: &str, value: &str) -> Result<Layer, Problem> {
    let lead = format!("{variable}=");
    match key(&name.to_ascii_lowercase()) {
        Some(key) => layer(key, value, variable, &lead),
        None => Err(Problem::new(format!("`{variable}` belongs to no key"))
            .at(Some(Setting::excerpt(variable, ENVIRONMENT)))
            .help(hint::unknown_variable(name))),
    }
}

fn layer(key: &str, value: &str, variable: &str, lead: &str) -> Result<Layer, Problem> {
    let setting = Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        lead: lead.to_owned(),
    };
    Layer::from_setting(
        &setting,
        ENVIRONMENT,
        Origin::Environment(variable.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(variables: &[(&str, &str)]) -> Result<serde_json::Value, Problem> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = variables.iter().map(owned).collect();
        let mut merged = Layer::empty();
        for layer in below_file(&environment)
            .into_iter()
            .chain(above_file(&environment))
        {
            merged.cover_with(layer?);
        }
        Ok(merged.value)
    }

    #[test]
    fn every_kind_of_value_is_understood() {
        let value = merged(&[
            ("RGUNICORN_WORKERS", "4"),
            ("RGUNICORN_PRELOAD", "yes"),
            ("RGUNICORN_BIND", "127.0.0.1:1, [::1]:2"),
            ("RGUNICORN_UMASK", "022"),
            ("RGUNICORN_ENV", "A=1,B=x=y"),
            ("RGUNICORN_TIMEOUTS_KEEPALIVE", "0.5"),
            ("RGUNICORN_LIMITS_BODY", "10MiB"),
            ("HOME", "/root"),
        ]);
        assert_eq!(
            value.unwrap(),
            serde_json::json!({
                "workers": 4,
                "preload": true,
                "bind": ["127.0.0.1:1", "[::1]:2"],
                "umask": "022",
                "env": { "A": "1", "B": "x=y" },
                "timeouts": { "keepalive": 0.5 },
                "limits": { "body": "10MiB" },
            })
        );
    }

    #[test]
    fn what_is_no_table_is_left_for_the_schema_to_refuse() {
        let value = merged(&[("RGUNICORN_ENV", "A=1,B")]);
        assert_eq!(value.unwrap(), serde_json::json!({ "env": "A=1,B" }));
    }

    #[test]
    fn gunicorns_variables_count_where_ours_do_not_speak() {
        let value = merged(&[
            ("PORT", "80"),
            ("WEB_CONCURRENCY", "3"),
            ("RGUNICORN_WORKERS", "5"),
        ]);
        assert_eq!(
            value.unwrap(),
            serde_json::json!({ "bind": "0.0.0.0:80", "workers": 5 })
        );
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let value = merged(&[
            ("PORT", ""),
            ("WEB_CONCURRENCY", ""),
            ("RGUNICORN_WORKERS", ""),
        ]);
        assert_eq!(value.unwrap(), serde_json::json!({}));
    }

    #[test]
    fn what_kubernetes_tells_of_a_service_is_no_setting() {
        for (name, value) in [
            ("RGUNICORN_SERVICE_HOST", "10.0.0.1"),
            ("RGUNICORN_SERVICE_PORT", "80"),
            ("RGUNICORN_SERVICE_PORT_HTTP", "80"),
            ("RGUNICORN_PORT", "tcp://10.0.0.1:80"),
            ("RGUNICORN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("RGUNICORN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("RGUNICORN_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("RGUNICORN_LOG_PORT_53_UDP_PROTO", "udp"),
        ] {
            assert_eq!(merged(&[(name, value)]).unwrap(), serde_json::json!({}));
            let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let notes = ignored(&environment);
            assert_eq!((notes.len(), notes[0].level), (1, LogLevel::Debug));
            assert!(notes[0].text.ends_with(&format!(": `{name}`")), "{notes:?}");
        }
    }

    #[test]
    fn what_is_like_no_key_is_not_meant_for_us() {
        for name in [
            "VERSION",
            "HOME",
            "IMAGE",
            "SHA256",
            "BUILD_DATE",
            "GIT_COMMIT",
        ] {
            let name = format!("RGUNICORN_{name}");
            assert_eq!(
                merged(&[(&name, "1")]).unwrap(),
                serde_json::json!({}),
                "{name}"
            );
            let notes = ignored(&BTreeMap::from([(name, "1".to_owned())]));
            assert_eq!((notes.len(), notes[0].level), (1, LogLevel::Warning));
        }
    }

    #[test]
    fn a_name_that_is_like_a_key_or_begins_with_a_table_is_a_problem() {
        for name in [
            "PORT",
            "HOST",
            "TIMEOUTS_XYZ",
            "ADMINTOKEN",
            "TOKEN",
            "ENV_DEBUG",
            "CONFIG",
            "CERTFILE",
            "THREAD",
        ] {
            let name = format!("RGUNICORN_{name}");
            assert!(merged(&[(&name, "1")]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_no_key_is_a_problem() {
        let help = |name| merged(&[(name, "1")]).unwrap_err().help;
        assert_eq!(
            help("RGUNICORN_WORKER"),
            ["did you mean `RGUNICORN_WORKERS`?"]
        );
        assert_eq!(
            help("RGUNICORN_KEEPALIVE"),
            ["did you mean `RGUNICORN_TIMEOUTS_KEEPALIVE`?"]
        );
        assert_eq!(
            help("RGUNICORN_ACCESSLOG"),
            ["did you mean `RGUNICORN_LOG_ACCESS`?"]
        );
    }
}
