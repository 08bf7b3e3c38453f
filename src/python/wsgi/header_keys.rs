//! From the name of a request header to its key in the environ and what is to be done with it, cached per seat: the same
//! few names come with every request, and their values often repeat.

use std::sync::Arc;

use pyo3::{prelude::*, types::PyString};

use crate::{
    config::HeaderMap,
    python::{ffi, header_hash::header_hash},
    worker::Forwarding,
};

/// Slots of the cache, a power of two; names beyond it are looked up anew each time.
const SLOTS: usize = 256;
/// Names and values longer than this are not kept.
const KEPT_BYTES_MAX: usize = 512;

/// What a header means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `HTTP_NAME`, or CONTENT_TYPE.
    Plain,
    /// As `Plain`; an absolute request target has the last word.
    Host,
    /// As `Plain`; several are joined with `; `.
    Cookie,
    /// The server sets CONTENT_LENGTH itself: it has the body.
    ContentLength,
    /// The body reaches the app decoded.
    TransferEncoding,
    /// As `Plain`; tells about the client, when it comes from a trusted peer.
    Forwarded,
    /// As `Plain`; the request may ask for a WebSocket.
    Upgrade,
    /// SCRIPT_NAME, when it comes from a trusted peer; dropped otherwise.
    ScriptName,
    /// Has an underscore, which the configuration does not allow.
    Dropped,
    Refused,
}

pub(super) struct Known {
    name: Box<[u8]>,
    pub(super) meaning: Meaning,
    pub(super) key: Py<PyString>,
    value: Vec<u8>,
    value_object: Option<Py<PyString>>,
    /// The request in which it was seen last.
    pub(super) seen_in: u64,
    /// Another name, or another spelling of this one, has the same key.
    pub(super) shares_key: bool,
}

impl Known {
    /// The value as a `str`; the one of last time if it is equal.
    #[inline]
    pub(super) fn value<'py>(&mut self, py: Python<'py>, value: &[u8]) -> Bound<'py, PyString> {
        if let Some(object) = &self.value_object
            && self.value == value
        {
            return object.bind(py).clone();
        }
        let object = ffi::latin1(py, value);
        if value.len() <= KEPT_BYTES_MAX {
            self.value.clear();
            self.value.extend_from_slice(value);
            self.value_object = Some(object.clone().unbind());
        }
        object
    }
}

pub(super) struct HeaderKeys {
    slots: Box<[Option<Known>]>,
    /// The one name that is known without a slot.
    spare: Option<Known>,
    header_map: HeaderMap,
    forwarding: Arc<Forwarding>,
}

impl HeaderKeys {
    pub(super) fn new(header_map: HeaderMap, forwarding: Arc<Forwarding>) -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(SLOTS).collect(),
            spare: None,
            header_map,
            forwarding,
        }
    }

    /// What is known of a name.
    #[inline]
    pub(super) fn look_up(&mut self, py: Python<'_>, name: &[u8]) -> &mut Known {
        let start = header_hash(name) % SLOTS;
        for step in 0..4 {
            let index = (start + step) % SLOTS;
            match &self.slots[index] {
                Some(known) if *known.name == *name => {
                    return self.slots[index].as_mut().expect("just seen");
                }
                Some(_) => {}
                None if name.len() <= KEPT_BYTES_MAX => {
                    let key = PyString::intern(py, &key_of(name));
                    let mut known = self.interpret(name, key);
                    known.shares_key = self.share_key(name);
                    return self.slots[index].insert(known);
                }
                None => break,
            }
        }
        // Not interned: CPython 3.12 keeps such strings for ever, and there is no end to the names that clients can send.
        let key = PyString::new(py, &key_of(name));
        let mut known = self.interpret(name, key);
        self.share_key(name);
        known.shares_key = true;
        self.spare.insert(known)
    }

    /// Notes in the slots that this name has the key of theirs, too; tells whether there was one.
    fn share_key(&mut self, name: &[u8]) -> bool {
        let mut is_shared = false;
        for other in self.slots.iter_mut().flatten() {
            if have_one_key(&other.name, name) {
                other.shares_key = true;
                is_shared = true;
            }
        }
        is_shared
    }

    fn interpret(&self, name: &[u8], key: Bound<'_, PyString>) -> Known {
        let lower = name.to_ascii_lowercase();
        let meaning = match &lower[..] {
            b"cookie" => Meaning::Cookie,
            b"host" => Meaning::Host,
            b"content-length" => Meaning::ContentLength,
            b"transfer-encoding" => Meaning::TransferEncoding,
            b"upgrade" => Meaning::Upgrade,
            b"script_name" => Meaning::ScriptName,
            _ if self.forwarding.concerns(&lower) => Meaning::Forwarded,
            _ if lower.contains(&b'_') => match self.header_map {
                HeaderMap::Drop => Meaning::Dropped,
                HeaderMap::Refuse => Meaning::Refused,
                HeaderMap::Keep => Meaning::Plain,
            },
            _ => Meaning::Plain,
        };
        Known {
            name: name.into(),
            meaning,
            key: key.unbind(),
            value: Vec::new(),
            value_object: None,
            seen_in: 0,
            shares_key: false,
        }
    }
}

/// The key of a header in the environ.
fn key_of(name: &[u8]) -> String {
    if name.eq_ignore_ascii_case(b"content-type") {
        return "CONTENT_TYPE".to_owned();
    }
    let upper = String::from_utf8_lossy(name).to_ascii_uppercase();
    format!("HTTP_{}", upper.replace('-', "_"))
}

/// Whether two names differ in case and underscores alone.
fn have_one_key(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    one.len() == other.len() && one.iter().map(plain).eq(other.iter().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_of_a_name_and_several_names_can_make_it() {
        assert_eq!(key_of(b"X-Forwarded-for"), "HTTP_X_FORWARDED_FOR");
        assert_eq!(key_of(b"Content-TYPE"), "CONTENT_TYPE");
        assert!(have_one_key(b"X-a_B", b"x_A-b"));
        assert!(!have_one_key(b"X-A", b"X-AB"));
        assert!(!have_one_key(b"X-A", b"X.A"));
    }
}
