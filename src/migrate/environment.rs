//! `raw_env` becomes the table `[env]`. Values may be secrets: what did not stand in what was read is not written, and no
//! comment shows one.

use serde_json::Value as Json;

use super::{
    Draft, Given, Written,
    translate::title,
    variables::{has_variable, set_outside},
};

/// `unread_by_shell`: variables in the values still wait for the shell that would have put something in their place.
pub(super) fn translate(given: &Given, unread_by_shell: bool, draft: &mut Draft) {
    let items: Vec<&str> = match &given.written {
        Written::Plain(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect(),
        Written::Plain(Json::String(text)) => vec![text],
        _ => return draft.leave(title(given), "It is no list of texts."),
    };
    let mut is_first = true;
    for (number, item) in items.into_iter().enumerate() {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let key = format!("env.{name}");
        let obstacle = if given.provenance.foreign.contains(&number) {
            Some(FOREIGN.to_owned())
        } else {
            (unread_by_shell && has_variable(value)).then(|| set_outside(name, value))
        };
        if let Some(obstacle) = obstacle {
            // The last one counts.
            draft.entries.retain(|entry| entry.key != key);
            draft.leave(format!("{}, {name}", title(given)), obstacle);
        } else if let Some(entry) = draft.get_mut(&key) {
            entry.value = value.into();
        } else {
            let comments = is_first.then(|| title(given)).into_iter().collect();
            draft.set(&key, value, comments);
            is_first = false;
        }
    }
}

const FOREIGN: &str = "The value is made when the file runs, perhaps from a secret, so it is not written down. The app has what the \
    server's own environment has: set it there. If it is no secret, it can stand under `[env]`.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gunicorn::find;

    #[test]
    fn only_what_stood_there_is_written() {
        let items = ["A=1", "TOKEN=hunter2", "B=1", "B=$HOST"];
        let mut given = Given::plain(find("raw_env").unwrap(), &items[..], "conf.py");
        given.provenance.foreign = vec![1];
        let mut draft = Draft::default();
        translate(&given, true, &mut draft);
        let keys: Vec<&str> = draft.entries.iter().map(|entry| &*entry.key).collect();
        assert_eq!(keys, ["env.A"]);
        let left: Vec<&str> = draft.left.iter().map(|left| &*left.given).collect();
        assert_eq!(left, ["conf.py: raw_env, TOKEN", "conf.py: raw_env, B"]);
        assert!(
            draft.left[1]
                .reason
                .ends_with("In the command: B=\"$HOST\".")
        );
        assert!(!draft.render(&[]).0.contains("hunter2"));
    }
}
