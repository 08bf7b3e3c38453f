//! `rgunicorn` and `rgunicorn run`: serve.

use std::io::{self, Write as _};

use clap::ArgMatches;

use super::{ConfigSource, FAILED};
use crate::arbiter;

pub(super) fn run(typed: &[&ArgMatches]) -> u8 {
    match ConfigSource::find(typed) {
        Ok(source) => arbiter::run(Box::new(source)),
        Err(error) => {
            // There is no log yet, and without a terminal nobody to tell.
            let _ = writeln!(io::stderr(), "error: cannot start: {error}");
            FAILED
        }
    }
}
