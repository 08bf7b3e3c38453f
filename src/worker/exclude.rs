//! Paths whose requests are not worth a line of the access log: `log.exclude`.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use globset::{Glob, GlobSet};

#[derive(Debug)]
pub struct Excluded(Option<GlobSet>);

impl Excluded {
    /// `*` crosses slashes. An error: one is no pattern; `config` has looked at them.
    pub fn new(patterns: &[String]) -> Result<Self, globset::Error> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let mut set = GlobSet::builder();
        for pattern in patterns {
            set.add(Glob::new(pattern)?);
        }
        Ok(Self(Some(set.build()?)))
    }

    /// Whether a request of this path, as received, needs no line. What went wrong needs one.
    #[inline]
    pub(super) fn covers(&self, path: &[u8], status: u16) -> bool {
        match &self.0 {
            None => false,
            Some(set) => status < 400 && set.is_match(OsStr::from_bytes(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_well_on_a_path_that_matches_is_left_out() {
        let patterns = ["/healthz", "/static/*", "*.map"].map(str::to_owned);
        let excluded = Excluded::new(&patterns).unwrap();
        for path in ["/healthz", "/static/a/b.css", "/js/app.map"] {
            assert!(excluded.covers(path.as_bytes(), 200), "{path}");
        }
        for path in ["/healthz/", "/Healthz", "/static", "/", "", "/%68ealthz"] {
            assert!(!excluded.covers(path.as_bytes(), 200), "{path}");
        }
        assert!(excluded.covers(b"/healthz", 399));
        assert!(!excluded.covers(b"/healthz", 400));
        assert!(excluded.covers(b"/static/\xff", 200));
        assert!(!Excluded::new(&[]).unwrap().covers(b"/healthz", 200));
    }
}
