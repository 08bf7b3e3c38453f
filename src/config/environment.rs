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
    port.map(|port| layer("bind", &format!("0.0.0.0:{port}"), "PORT", "PORT="))
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
