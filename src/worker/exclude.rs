//! Paths whose requests are not worth a line of the access log: `log.exclude`.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use globset::{Glob, GlobSet};

use crate::config::Log;

#[derive(Debug, Default)]
pub struct Excluded {
    /// Without one, no lock is taken.
    has_patterns: AtomicBool,
    set: RwLock<GlobSet>,
}

impl Excluded {
    /// `*` crosses slashes. An error: one is no pattern; `config` has looked at them.
    pub(super) fn go_by(&self, log: &Log) -> Result<(), globset::Error> {
        let mut set = GlobSet::builder();
        for pattern in &log.exclude {
            set.add(Glob::new(pattern)?);
        }
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = set.build()?;
        self.has_patterns.store(!log.exclude.is_empty(), Relaxed);
        Ok(())
    }

    /// Whether a request of this path, as received, needs no line. What went wrong needs one.
    #[inline]
    pub(super) fn covers(&self, path: &[u8], status: u16) -> bool {
        self.has_patterns.load(Relaxed)
            && status < 400
            && (self.set.read())
                .unwrap_or_else(PoisonError::into_inner)
                .is_match(OsStr::from_bytes(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LiveConfig;

    fn excluded(patterns: &[&str]) -> Excluded {
        let mut log = LiveConfig::of_defaults().log;
        log.exclude = patterns.iter().map(ToString::to_string).collect();
        let excluded = Excluded::default();
        excluded.go_by(&log).unwrap();
        excluded
    }

    #[test]
    fn what_went_well_on_a_path_that_matches_is_left_out() {
        let some = excluded(&["/healthz", "/static/*", "*.map"]);
        for path in ["/healthz", "/static/a/b.css", "/js/app.map"] {
            assert!(some.covers(path.as_bytes(), 200), "{path}");
        }
        for path in ["/healthz/", "/Healthz", "/static", "/", "", "/%68ealthz"] {
            assert!(!some.covers(path.as_bytes(), 200), "{path}");
        }
        assert!(some.covers(b"/healthz", 399));
        assert!(!some.covers(b"/healthz", 400));
        assert!(some.covers(b"/static/\xff", 200));
        assert!(!excluded(&[]).covers(b"/healthz", 200));
    }
}
