//! Open files: room for the arbiter's own, and whether the machine lets workers have what their configuration asks for.
//!
//! The limit of a worker is its own to raise; the hard limit is the same for all, so what is wrong with it is said here, once.

use crate::{
    config::{Limits, Loaded, Origin},
    sys, warning,
};

/// The key that asks for open files.
pub(super) const KEY: &str = "limits.connections";

/// Of the arbiter, for each worker: its pidfd and its stack sheet.
const FOR_A_WORKER: u64 = 2;
/// Of the arbiter, beside those: listeners, generations, the admin interface, logs, what it watches.
const OTHER_FILES: u64 = 512;

/// Makes room for one more worker than there are.
pub(super) fn make_room(workers: usize) {
    let wanted = OTHER_FILES + FOR_A_WORKER * (workers as u64 + 1);
    if let Err(error) = sys::allow_open_files(wanted) {
        warning!("the limit of open files stays as it is: {error}");
    }
}

/// What there is to say about a hard limit that is too low for the configuration.
pub(super) fn shortage(loaded: &Loaded) -> Option<String> {
    let most = sys::open_files_max().ok()?;
    told(&loaded.config.limits, most, loaded.origins.get(KEY))
}

fn told(limits: &Limits, most: u64, origin: Option<&Origin>) -> Option<String> {
    let fitting = Limits::connections_within(most);
    if u64::from(limits.connections) <= fitting {
        return None;
    }
    let (connections, wanted) = (limits.connections, limits.open_files());
    let place = origin.map_or(String::new(), |origin| format!(" ({origin})"));
    Some(format!(
        "`{KEY}` is {connections}{place}, which takes {wanted} open files in a worker, with those of the app, and the hard limit is \
         {most}: connections may have to wait, and the app may fail to open files; raise the limit (`LimitNOFILE=` of a systemd unit, \
         `--ulimit nofile=` of a container, `ulimit -Hn` of a shell), or lower `{KEY}` to {fitting}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_with(connections: u32, most: u64) -> Option<String> {
        let mut limits = crate::config::test_config("").limits;
        limits.connections = connections;
        let origin = Origin::Flag("--worker-connections".to_owned());
        told(&limits, most, Some(&origin))
    }

    #[test]
    fn a_hard_limit_that_is_too_low_is_told_with_its_remedies() {
        assert_eq!(
            told_with(1000, 600).unwrap(),
            "`limits.connections` is 1000 (--worker-connections on the command line), which takes 2024 open files in a worker, with \
             those of the app, and the hard limit is 600: connections may have to wait, and the app may fail to open files; raise the \
             limit (`LimitNOFILE=` of a systemd unit, `--ulimit nofile=` of a container, `ulimit -Hn` of a shell), or lower \
             `limits.connections` to 300"
        );
    }

    #[test]
    fn who_follows_the_advice_hears_no_more() {
        for (connections, most) in [(300, 600), (512, 1024), (1000, 2024), (3072, 4096)] {
            assert_eq!(
                told_with(connections, most),
                None,
                "{connections} of {most}"
            );
            assert!(
                told_with(connections + 100, most).is_some(),
                "{connections} of {most}"
            );
        }
        assert_eq!(told_with(65_536, u64::MAX), None, "unlimited");
    }
}
