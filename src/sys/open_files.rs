//! How many files this process may have open: RLIMIT_NOFILE, which the processes that it starts inherit.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the kernel or an administrator allows at most (the hard limit).
pub fn open_files_max() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(hard)
}

/// Has the kernel allow this process so many open files (the soft limit), or as many as the hard limit lets it. It never takes
/// away what is allowed already.
pub fn allow_open_files(wanted: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let allowed = wanted.min(hard);
    if allowed > soft {
        setrlimit(Resource::RLIMIT_NOFILE, allowed, hard)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The limit is one for all tests of this process; no other changes it.
    #[test]
    fn the_limit_is_raised_as_far_as_allowed_and_never_lowered() {
        let limits = || getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let (soft, hard) = limits();
        for (wanted, allowed) in [(soft - 1, soft), (soft + 1, soft + 1), (soft, soft + 1)] {
            allow_open_files(wanted).unwrap();
            assert_eq!(limits(), (allowed.min(hard), hard), "{wanted}");
        }
    }
}
