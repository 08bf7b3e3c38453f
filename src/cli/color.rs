//! Whether what a person reads may have colours.

use std::{
    env,
    io::{self, IsTerminal as _},
};

/// See no-color.org.
pub(super) fn wants_color() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}
