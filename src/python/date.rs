//! The value of the Date field, formatted once a second.

use crate::{http::date, sys};

#[derive(Default)]
pub(super) struct CachedDate {
    second: u64,
    text: Vec<u8>,
}

impl CachedDate {
    pub(super) fn now(&mut self) -> &[u8] {
        let second = sys::unix_seconds();
        if second != self.second {
            self.second = second;
            self.text = date::format(second).to_vec();
        }
        &self.text
    }
}
