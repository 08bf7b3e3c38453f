//! Settings from the environment: `RGUNICORN_…` for every key, and the three variables of Gunicorn that platforms set.

use std::collections::BTreeMap;

use super::{
    Origin, hint,
    layer::{Layer, Setting},
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
    let ours = environment
        .keys()
        .filter(|variable| !NOT_SETTINGS.contains(&variable.as_str()))
        .filter_map(|variable| {
            let name = variable.strip_prefix(PREFIX)?;
            let value = set(environment, variable)?;
            Some(setting(variable, name, value))
        });
    gunicorn.chain(ours).collect()
}

fn set<'e>(environment: &'e BTreeMap<String, String>, variable: &str) -> Option<&'e str> {
    environment
        .get(variable)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn setting(variable: &str, name: &str, value: &str) -> Result<Layer, Problem> {
    let lowercase = name.to_ascii_lowercase();
    let lead = format!("{variable}=");
    match schema::keys()
        .iter()
        .find(|key| key.replace('.', "_") == lowercase)
    {
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
