//! The grammar of `Forwarded`, RFC 7239 section 4: `1#( pair *( ";" [ pair ] ) )`, a pair being `token "=" value` and a value
//! a token or a quoted string.

use crate::http::field::{is_token_byte, trim};

/// What one proxy told of the request that it received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element<'b> {
    /// `for`
    pub(super) client: Option<Value<'b>>,
    /// `proto`
    pub(super) scheme: Option<Value<'b>>,
    pub(super) host: Option<Value<'b>>,
}

/// A value without its quotation marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'b> {
    text: &'b [u8],
    has_escapes: bool,
}

impl<'b> Value<'b> {
    /// `None` for one that has a backslash in it: no address, scheme or host needs any.
    pub(super) fn plain(&self) -> Option<&'b [u8]> {
        (!self.has_escapes).then_some(self.text)
    }
}

/// The elements of one field, from left to right; empty ones are skipped. `None` where the text breaks the grammar, and
/// then no more: where the next element begins is not known.
pub(super) struct Elements<'b> {
    rest: &'b [u8],
    is_over: bool,
}

impl<'b> Elements<'b> {
    pub(super) fn of(value: &'b [u8]) -> Self {
        Self {
            rest: value,
            is_over: false,
        }
    }

    fn read(&mut self) -> Option<Element<'b>> {
        let mut element = Element::default();
        loop {
            self.rest = trim(self.rest);
            if !matches!(self.rest, [] | [b';' | b',', ..]) {
                self.pair(&mut element)?;
                self.rest = trim(self.rest);
            }
            match self.rest {
                [] => {
                    self.is_over = true;
                    return Some(element);
                }
                [b';', rest @ ..] => self.rest = rest,
                [b',', rest @ ..] => {
                    self.rest = rest;
                    return Some(element);
                }
                _ => return None,
            }
        }
    }

    fn pair(&mut self, element: &mut Element<'b>) -> Option<()> {
        let name = self.token()?;
        self.rest = self.rest.strip_prefix(b"=")?;
        let value = match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.quoted()?
            }
            _ => Value {
                text: self.token()?,
                has_escapes: false,
            },
        };
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => &mut element.client,
            b"proto" => &mut element.scheme,
            b"host" => &mut element.host,
            _ => return Some(()),
        };
        // "Each parameter MUST NOT occur more than once per field-value."
        place.replace(value).is_none().then_some(())
    }

    /// Addresses are often written without the quotation marks that a colon and brackets call for, so those pass too.
    fn token(&mut self) -> Option<&'b [u8]> {
        let is_lenient = |byte: u8| is_token_byte(byte) || b":[]".contains(&byte);
        let end = self.rest.iter().position(|byte| !is_lenient(*byte));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    fn quoted(&mut self) -> Option<Value<'b>> {
        let mut has_escapes = false;
        let mut at = 0;
        loop {
            match self.rest.get(at)? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        let text = &self.rest[..at];
        self.rest = &self.rest[at + 1..];
        Some(Value { text, has_escapes })
    }
}

impl<'b> Iterator for Elements<'b> {
    type Item = Option<Element<'b>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [b',' | b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.is_over || self.rest.is_empty() {
            return None;
        }
        let element = self.read();
        self.is_over |= element.is_none();
        Some(element)
    }
}
