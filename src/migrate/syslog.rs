//! Gunicorn sends its logs to syslog beside the files that they have; here that is where a log goes.

use super::{
    Draft, Given, Layer,
    translate::{sentence, title},
    values::{Obstacle, switch, text},
    variables::expand_defaults,
};
use crate::config::gunicorn::find;

/// The settings, taken out of all that was given.
#[derive(Debug)]
pub(super) struct Syslog {
    wanted: Given,
    address: Option<Given>,
    without_access: Option<Given>,
}

impl Syslog {
    /// `None` where nothing goes to syslog; what was said of it nevertheless has no effect, and stays.
    pub(super) fn take(layer: &mut Layer) -> Option<Self> {
        if !layer.get("syslog").is_some_and(is_on) {
            return None;
        }
        Some(Self {
            wanted: layer.take("syslog")?,
            address: layer.take("syslog_addr"),
            without_access: layer.take("disable_redirect_access_to_syslog"),
        })
    }

    /// Whether the access log goes there, even where none was asked for.
    pub(super) fn has_access(&self) -> bool {
        !self.without_access.as_ref().is_some_and(is_on)
    }

    /// Makes syslog the target of the logs. `unread_by_shell` are the origins whose variables no shell has put in yet.
    pub(super) fn translate(mut self, unread_by_shell: &[String], draft: &mut Draft) {
        let mut comments = vec![title(&self.wanted)];
        comments.extend(self.address.iter().map(title));
        if let Some(address) = &mut self.address
            && unread_by_shell.contains(&address.origin)
            && let Err(reason) = expand_defaults(address, &mut comments)
        {
            return draft.leave(comments.join(", "), reason);
        }
        let target = match target(self.address.as_ref()) {
            Ok(target) => target,
            Err(reason) => return draft.leave(comments.join(", "), sentence(&reason)),
        };
        let has_access = self.has_access();
        comments.extend(self.without_access.iter().map(title));
        send("log.error", &target, comments.clone(), draft);
        if has_access {
            send("log.access", &target, comments, draft);
        }
    }
}

fn is_on(given: &Given) -> bool {
    switch(given) == Ok(true)
}

/// A log that had a file goes there no more.
fn send(key: &str, target: &str, comments: Vec<String>, draft: &mut Draft) {
    let Some(entry) = draft.get_mut(key) else {
        return draft.set(key, target, comments);
    };
    entry.comments.extend(comments);
    if entry.value.as_str() != Some("off") {
        entry.comments.push(BOTH.to_owned());
    }
    entry.value = target.into();
}

const BOTH: &str =
    "Gunicorn wrote to both; a log has one target here, and the daemon can write files.";

/// As we write the address, made from what Gunicorn understands.
fn target(address: Option<&Given>) -> Result<String, Obstacle> {
    let address = match address.filter(|given| !given.is_nothing()) {
        Some(given) => text(given)?,
        None => find("syslog_addr")
            .map_or("", |setting| setting.default)
            .trim_matches('\'')
            .to_owned(),
    };
    if let Some(path) = address.strip_prefix("unix://") {
        return match path.split_once('#').unwrap_or((path, "dgram")) {
            ("/dev/log", "dgram") => Ok("syslog".to_owned()),
            (path, "dgram") => Ok(format!("syslog:{path}")),
            _ => Err("only datagrams are sent to a daemon's socket here".to_owned()),
        };
    }
    match address.starts_with("udp://") {
        true => Ok(format!("syslog:{address}")),
        false => Err(
            "syslog is reached by a UNIX socket or UDP here; a daemon on this machine can pass it on by TCP"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(name: &str, value: serde_json::Value) -> Given {
        Given::plain(find(name).unwrap(), value, "conf.py")
    }

    #[test]
    fn addresses_are_written_as_ours() {
        let ours = |gunicorn: &str| target(Some(&given("syslog_addr", gunicorn.into())));
        assert_eq!(target(None).unwrap(), "syslog:udp://localhost:514");
        assert_eq!(ours("unix:///dev/log").unwrap(), "syslog");
        assert_eq!(ours("unix:///run/log#dgram").unwrap(), "syslog:/run/log");
        assert_eq!(ours("udp://loghost").unwrap(), "syslog:udp://loghost");
        assert!(ours("unix:///dev/log#stream").is_err());
        assert!(ours("tcp://loghost:601").is_err());
    }

    #[test]
    fn both_logs_go_there_unless_the_access_log_is_kept_out() {
        let keys = |without_access: bool| {
            let mut layer = Layer::default();
            layer.set(given("syslog", json!(true)));
            layer.set(given(
                "disable_redirect_access_to_syslog",
                json!(without_access),
            ));
            let mut draft = Draft::default();
            Syslog::take(&mut layer).unwrap().translate(&[], &mut draft);
            assert!(layer.into_iter().next().is_none());
            let keys = draft.entries.into_iter().map(|entry| entry.key);
            keys.collect::<Vec<_>>()
        };
        assert_eq!(keys(false), ["log.error", "log.access"]);
        assert_eq!(keys(true), ["log.error"]);
        let mut layer = Layer::default();
        layer.set(given("syslog", json!(false)));
        layer.set(given("syslog_addr", json!("udp://loghost")));
        assert!(Syslog::take(&mut layer).is_none());
    }
}
