//! The configuration in force as people read it: each value with the place that set it. Secrets are not in it.

use serde::{Deserialize, Serialize};

use super::{Apply, Config, Origins, change};

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveValue {
    /// As in the file: `timeouts.keepalive`.
    pub key: String,
    /// As it would be written; `(hidden)` for a secret, `(unset)` for what has no value.
    pub value: String,
    /// Where it was set; `None` is the default.
    pub origin: Option<String>,
    /// How a change of it is applied.
    pub apply: Apply,
}

/// All keys, in the order of the manual.
pub fn effective(config: &Config, origins: &Origins) -> Vec<EffectiveValue> {
    let values = change::values(config).into_iter();
    values
        .map(|(key, value, apply)| EffectiveValue {
            origin: origin(&key, origins),
            key,
            value,
            apply,
        })
        .collect()
}

/// Of the key, else of something in it: a list's items and a table's entries have origins of their own.
fn origin(key: &str, origins: &Origins) -> Option<String> {
    let inner = format!("{key}.");
    let found = origins.get(key).or_else(|| {
        let mut below = origins.range(inner.clone()..);
        let (first, origin) = below.next()?;
        first.starts_with(&inner).then_some(origin)
    });
    found.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Setting, Sources, load, machine::test_machine};

    fn setting(key: &str, value: &str) -> Setting {
        Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            lead: format!("--{key}"),
        }
    }

    #[test]
    fn each_value_names_its_origin_and_secrets_stay_secret() {
        let sources = Sources {
            flags: vec![
                setting("app", "app"),
                setting("workers", "3"),
                setting("admin.token", "hush-hush-hush-hush"),
                setting("env.PASSWORD", "hush"),
            ],
            ..Sources::default()
        };
        let loaded = load(&sources, &test_machine(2)).unwrap();
        let all = effective(&loaded.config, &loaded.origins);
        let find = |key: &str| all.iter().find(|one| one.key == key).unwrap();
        assert_eq!(find("workers").value, "3");
        assert!(find("workers").origin.is_some());
        assert_eq!(find("timeouts.keepalive").origin, None);
        assert_eq!(find("env.PASSWORD").value, "(hidden)");
        assert!(find("env.PASSWORD").origin.is_some());
        assert!(!format!("{all:?}").contains("hush"));
    }
}
