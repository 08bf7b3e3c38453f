//! What would have an edit rejected, as far as it can be seen without doing anything. What a configuration names and the
//! machine does not have (users, directories) was found when it was loaded.

use super::{
    causes::with_causes,
    interpreter,
    listeners::obstacles as listener_obstacles,
    reading::{Unfit, check_room},
};
use crate::{
    config::{Config, LogTarget},
    sys::Identity,
};

/// In the words of the log; none: the server would try it.
pub fn obstacles(running: &Config, wanted: &Config) -> Vec<String> {
    let mut found: Vec<Unfit> = Vec::new();
    found.extend(check_room(wanted).err());
    // Without a name it depends on the environment, and ours is not the server's.
    if wanted.python.is_some() && wanted.python != running.python {
        // Who may not become that user asks for themselves.
        let identity = Identity::resolve(wanted.user.as_deref(), wanted.group.as_deref());
        let identity = identity.unwrap_or_default();
        let sought = interpreter::find(wanted, identity.as_ref());
        found.extend(sought.err().map(Unfit::from));
    }
    let log = &wanted.log;
    found.extend(is_folder("log.access", &log.access));
    found.extend(is_folder("log.error", &log.error));
    let listeners = listener_obstacles(running, wanted);
    found.extend(listeners.into_iter().map(Unfit::from));
    found.iter().map(|unfit| with_causes(unfit)).collect()
}

fn is_folder(key: &'static str, target: &LogTarget) -> Option<Unfit> {
    match target {
        LogTarget::File(path) if path.is_dir() => Some(Unfit::Log {
            key,
            path: path.clone(),
            source: std::io::ErrorKind::IsADirectory.into(),
        }),
        _ => None,
    }
}
