//! `rgunicorn schema`: the JSON schema of the file, for editors and other tools.

use std::io::{self, Write as _};

use super::{FAILED, OK};
use crate::config::schema_text;

pub(super) fn schema() -> u8 {
    match io::stdout().write_all(schema_text().as_bytes()) {
        Ok(()) => OK,
        Err(_) => FAILED,
    }
}
