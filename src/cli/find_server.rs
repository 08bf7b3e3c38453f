//! Which server a command is about.

use std::path::Path;

use crate::arbiter::running::{self, Running};

/// The one server that runs with this file, or has this pid and runs with it; else why there is none.
pub(super) fn find_server(path: &Path, pid: Option<u32>) -> Result<Running, String> {
    let mut found = running::find(path);
    found.retain(|running| pid.is_none_or(|pid| running.pid == pid));
    match (found.pop(), found.as_slice()) {
        (Some(running), []) => Ok(running),
        (Some(running), others) => {
            let pids: Vec<String> = others
                .iter()
                .chain([&running])
                .map(|running| running.pid.to_string())
                .collect();
            Err(format!(
                "several servers run with `{}`\n  = help: name one of them with `--pid`: {}",
                path.display(),
                pids.join(", ")
            ))
        }
        (None, _) => Err(nobody(path)),
    }
}

/// Why no server was found, as far as it can be known.
fn nobody(path: &Path) -> String {
    let shown = path.display();
    if !path.exists() {
        return format!(
            "no server runs with `{shown}`, and there is no such file\n  \
             = help: name the server's file with `-c`, or the server itself with `--pid`"
        );
    }
    if nix::unistd::geteuid().is_root() {
        return format!(
            "no server runs with `{shown}`\n  \
             = help: to look at a file alone, there is `rgunicorn check`"
        );
    }
    format!(
        "no server runs with `{shown}`, or it is not yours to look into\n  \
         = help: run this as the server's user or as root; to look at a file alone, there is `rgunicorn check`"
    )
}
