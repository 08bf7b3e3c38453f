//! How many files a worker may have open: as many as its connections and its app may take, where the machine lets it.

use crate::{config::Limits, sys, warning};

/// Raises the limit of this process, which what the app starts inherits. That the hard limit is too low is for the arbiter to
/// say, once for all workers.
pub fn make_room(limits: &Limits) {
    if let Err(error) = sys::allow_open_files(limits.open_files()) {
        warning!("the limit of open files stays as it is: {error}");
    }
}
