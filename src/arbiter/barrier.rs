//! What keeps the configured user from running a program, for the message about it.

use std::{io, path::Path};

use nix::errno::Errno;

use crate::{config::Config, sys::Identity};

/// ` as user …` with what keeps that user from it, or nothing.
pub(super) fn barrier(
    config: &Config,
    identity: Option<&Identity>,
    program: &Path,
    problem: &io::Error,
) -> String {
    let (Some(identity), Some(user)) = (identity, &config.user) else {
        return String::new();
    };
    let reason = match problem.raw_os_error().map(Errno::from_raw) {
        // Of setgroups(2), setgid(2) and setuid(2): `--cap-drop ALL`, or a user namespace with `deny` in /proc/self/setgroups.
        Some(Errno::EPERM) => {
            ", for which root lacks the capabilities SETUID and SETGID, or setgroups(2) in its user namespace; \
             start the server as that user instead"
                .to_owned()
        }
        Some(Errno::EINVAL) => ", whose ids this user namespace does not have".to_owned(),
        _ => {
            let mut ways = [config.chdir.as_path(), program].into_iter();
            let closed = ways.find_map(|way| identity.barrier(way));
            closed.map_or(String::new(), |folder| {
                format!(", who may not enter `{}`", folder.display())
            })
        }
    };
    format!(" as user `{user}`{reason}")
}
