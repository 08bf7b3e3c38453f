//! Sockets that the service manager opened and passed (sd_listen_fds(3)).

use std::env;

/// What the service manager, or this process before it executed itself anew, tells it by the environment. Not for the app: a child that believed it would speak
/// in our name, or take descriptors for sockets, and the token is the operator's.
pub const VARIABLES: [&str; 10] = [
    "RGUNICORN_ADMIN_TOKEN",
    super::upgrade::STATE_VARIABLE,
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "FDSTORE",
];
/// The number of the first one (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub number: i32,
    /// `FileDescriptorName=` of its unit: the unit's own name unless it says another.
    pub name: String,
}

/// What was passed to this process, by its environment.
pub fn passed() -> Vec<Passed> {
    parse(std::process::id(), |name| env::var(name).ok())
}

fn parse(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Vec<Passed> {
    let number = |name| variable(name)?.parse::<u32>().ok();
    // Meant for another process, from which we inherited the variables only.
    if number("LISTEN_PID") != Some(pid) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    (FIRST..)
        .take(count as usize)
        .map(|number| Passed {
            number,
            name: names.next().unwrap_or_default().to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(variables: &[(&str, &str)]) -> Vec<(i32, String)> {
        let variable = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        let passed = parse(7, variable).into_iter();
        passed.map(|one| (one.number, one.name)).collect()
    }

    #[test]
    fn sockets_are_numbered_from_three_and_have_names_as_far_as_given() {
        let passed = parsed(&[
            ("LISTEN_PID", "7"),
            ("LISTEN_FDS", "3"),
            ("LISTEN_FDNAMES", "web:admin"),
        ]);
        assert_eq!(
            passed,
            [
                (3, "web".to_owned()),
                (4, "admin".to_owned()),
                (5, String::new())
            ]
        );
    }

    #[test]
    fn what_was_passed_to_another_process_is_not_ours() {
        assert_eq!(parsed(&[("LISTEN_PID", "6"), ("LISTEN_FDS", "1")]), []);
        assert_eq!(parsed(&[("LISTEN_FDS", "1")]), []);
        assert_eq!(parsed(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "x")]), []);
    }
}
