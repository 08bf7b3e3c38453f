//! The opening handshake, RFC 6455 section 4.2: from a request to an accepted connection or a refusal.

use data_encoding::BASE64;
use sha1_smol::Sha1;

use super::{
    deflate::{Deflate, DeflateSettings},
    offer::Agreement,
};
use crate::http::{Refusal, RequestHead, Version, field, response};

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Sixteen bytes in base64.
const KEY_BYTES: usize = 24;
/// Twenty bytes in base64.
const ACCEPT_BYTES: usize = 28;
const UPGRADE_REQUIRED: u16 = 426;

/// Whether the client wants the connection to become a WebSocket. If not the request is an ordinary one.
///
/// RFC 9110 section 7.8: HTTP/1.0 cannot ask for it.
pub fn is_asked_for(head: &RequestHead, buffer: &[u8]) -> bool {
    head.version == Version::Http11
        && elements(head, buffer, b"Upgrade").any(|name| name.eq_ignore_ascii_case(b"websocket"))
        && elements(head, buffer, b"Connection").any(|name| name.eq_ignore_ascii_case(b"upgrade"))
}

/// A request for a WebSocket that keeps all rules. The app decides about it.
#[derive(Debug)]
pub struct Opening {
    accept: [u8; ACCEPT_BYTES],
    /// What the client offers, in its order of preference.
    subprotocols: Vec<String>,
    agreement: Option<Agreement>,
}

/// Why a request for a WebSocket is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error(transparent)]
pub struct Rejection(pub Refusal);

/// Why an app's acceptance cannot be sent: its own mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    #[error("the subprotocol {0:?} was not offered by the client")]
    SubprotocolNotOffered(String),
    #[error("the header {0:?} is not valid")]
    InvalidField(String),
    /// The handshake sets it.
    #[error("the header {0:?} belongs to the handshake")]
    ReservedField(String),
}

impl Opening {
    /// Checks a request that [`is_asked_for`]. `deflate`: what is wanted of compression, `None` for nothing.
    pub fn read(
        head: &RequestHead,
        buffer: &[u8],
        deflate: Option<&DeflateSettings>,
    ) -> Result<Self, Rejection> {
        if head.method(buffer) != b"GET" {
            return Err(Rejection::bad(
                "the method of a WebSocket request is not GET",
            ));
        }
        if !head.framing.is_empty() {
            return Err(Rejection::bad("a WebSocket request has a body"));
        }
        let version = only(head, buffer, b"Sec-WebSocket-Version")
            .map_err(|_| Rejection::bad("more than one Sec-WebSocket-Version"))?;
        if version != Some(b"13") {
            return Err(Rejection::UNKNOWN_VERSION);
        }
        let key = only(head, buffer, b"Sec-WebSocket-Key")
            .map_err(|_| Rejection::bad("more than one Sec-WebSocket-Key"))?
            .ok_or(Rejection::bad("Sec-WebSocket-Key is missing"))?;
        if !is_key(key) {
            return Err(Rejection::bad(
                "Sec-WebSocket-Key is not 16 bytes in base64",
            ));
        }
        let extensions = values(head, buffer, b"Sec-WebSocket-Extensions");
        Ok(Self {
            accept: accept_of(key),
            subprotocols: subprotocols(head, buffer)?,
            agreement: deflate.and_then(|settings| Agreement::reach(extensions, settings)),
        })
    }

    /// What the client offers, in its order of preference.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// What was agreed about compression, for [`super::WebSocket::new`].
    pub fn deflate(&self) -> Option<&Deflate> {
        self.agreement.as_ref().map(|agreement| &agreement.deflate)
    }

    /// Appends the head that accepts the connection, with the fields of the app and without the blank line at its end:
    /// the server may have a field of its own. Nothing is written if there is an error.
    pub fn write_acceptance<'f>(
        &self,
        subprotocol: Option<&str>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), AcceptError> {
        if let Some(chosen) = subprotocol
            && !self.subprotocols.iter().any(|offered| offered == chosen)
        {
            return Err(AcceptError::SubprotocolNotOffered(chosen.to_owned()));
        }
        for (name, value) in fields.clone() {
            check_field(name, value)?;
        }
        response::write_status_line(out, b"101 Switching Protocols");
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        response::write_field(out, b"Sec-WebSocket-Accept", &self.accept);
        if let Some(chosen) = subprotocol {
            response::write_field(out, b"Sec-WebSocket-Protocol", chosen.as_bytes());
        }
        if let Some(agreement) = &self.agreement {
            out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            agreement.write(out);
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in fields {
            response::write_field(out, name, value);
        }
        Ok(())
    }
}

impl Rejection {
    const UNKNOWN_VERSION: Self = Self(Refusal::new(
        UPGRADE_REQUIRED,
        "the version of the WebSocket protocol is not 13",
    ));

    const fn bad(detail: &'static str) -> Self {
        Self(Refusal::new(400, detail))
    }

    /// Appends the whole answer, as [`Refusal::write_answer`] does.
    pub fn write_answer(
        &self,
        out: &mut Vec<u8>,
        date: &[u8],
        is_head: bool,
        write_fields: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        self.0.write_answer(out, date, is_head, |head| {
            if self.0.status == UPGRADE_REQUIRED {
                // RFC 6455 section 4.4 and RFC 9110 section 15.5.22: the answer says what would have been right. Section 7.8:
                // Upgrade has to be an option of Connection, too, which is a list.
                head.extend_from_slice(
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                );
            }
            write_fields(head);
        })
    }
}

/// The values of all fields of this name.
fn values<'b>(
    head: &RequestHead,
    buffer: &'b [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'b [u8]> {
    head.fields(buffer)
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The elements of the lists in all fields of this name, RFC 9110 section 5.6.1.
fn elements<'b>(
    head: &RequestHead,
    buffer: &'b [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'b [u8]> {
    values(head, buffer, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

struct IsGivenTwice;

/// The value of a field that may be given once.
fn only<'b>(
    head: &RequestHead,
    buffer: &'b [u8],
    name: &'static [u8],
) -> Result<Option<&'b [u8]>, IsGivenTwice> {
    let mut values = values(head, buffer, name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(IsGivenTwice),
    }
}

/// Sixteen bytes take 22 digits and two signs that fill up. What the last digit has beyond them does not matter to us.
fn is_key(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    value.len() == KEY_BYTES
        && value[KEY_BYTES - 2..] == *b"=="
        && value[..KEY_BYTES - 2].iter().all(is_digit)
}

fn accept_of(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update(GUID);
    let mut accept = [0; ACCEPT_BYTES];
    BASE64.encode_mut(&digest.digest().bytes(), &mut accept);
    accept
}

/// RFC 6455 section 4.1: tokens, each of them once.
fn subprotocols(head: &RequestHead, buffer: &[u8]) -> Result<Vec<String>, Rejection> {
    let mut found: Vec<String> = Vec::new();
    for name in elements(head, buffer, b"Sec-WebSocket-Protocol") {
        let name = match std::str::from_utf8(name) {
            Ok(text) if field::is_token(name) => text,
            _ => return Err(Rejection::bad("a subprotocol is not a token")),
        };
        if found.iter().any(|other| other == name) {
            return Err(Rejection::bad("a subprotocol is offered twice"));
        }
        found.push(name.to_owned());
    }
    Ok(found)
}

/// An answer with status 101 has neither body nor other upgrade, and what the handshake says the app must not say otherwise.
fn check_field(name: &[u8], value: &[u8]) -> Result<(), AcceptError> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    let is_of_handshake = name
        .get(..SEC_WEBSOCKET.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SEC_WEBSOCKET));
    if is_of_handshake || field::is_hop_by_hop(name) || is(b"Content-Length") {
        Err(AcceptError::ReservedField(shown()))
    } else if !field::is_token(name) || !field::is_field_value(value) {
        Err(AcceptError::InvalidField(shown()))
    } else {
        Ok(())
    }
}

const SEC_WEBSOCKET: &[u8] = b"Sec-WebSocket-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadLimits, Progress};

    const LIMITS: HeadLimits = HeadLimits {
        request_line: 4094,
        headers: 100,
        header_size: 8190,
        head: 65_536,
        body: 0,
    };

    /// The example of RFC 6455 section 1.3, with these lines changed or added.
    fn request(changes: &[&str]) -> Vec<u8> {
        let mut lines = vec![
            "GET /chat HTTP/1.1",
            "Host: server.example.com",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Origin: http://example.com",
            "Sec-WebSocket-Version: 13",
        ];
        let name_of = |line: &str| line.split([':', ' ']).next().unwrap_or_default().to_owned();
        for change in changes {
            let added = change.strip_prefix('+');
            match lines
                .iter()
                .position(|line| name_of(line) == name_of(change))
            {
                Some(place) if added.is_none() => lines[place] = change,
                _ => lines.push(added.unwrap_or(change)),
            }
        }
        // A name alone is a field left out.
        lines.retain(|line| line.contains([':', ' ']));
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    fn head_of(request: &[u8]) -> RequestHead {
        let mut head = RequestHead::new();
        assert_eq!(head.parse(request, &LIMITS), Ok(Progress::Complete));
        head
    }

    /// The status and detail of the refusal, or the answer.
    fn answer(changes: &[&str], subprotocol: Option<&str>) -> String {
        let request = request(changes);
        let head = head_of(&request);
        if !is_asked_for(&head, &request) {
            return "ordinary".to_owned();
        }
        match Opening::read(&head, &request, Some(&DeflateSettings::default())) {
            Err(rejection) => rejection.to_string(),
            Ok(opening) => {
                let mut out = Vec::new();
                let fields = [(&b"X-App"[..], &b"1"[..])];
                match opening.write_acceptance(subprotocol, fields.into_iter(), &mut out) {
                    Ok(()) => {
                        response::write_head_end(&mut out);
                        String::from_utf8(out).unwrap()
                    }
                    Err(error) => error.to_string(),
                }
            }
        }
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(
            answer(&[], None),
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             X-App: 1\r\n\r\n"
        );
    }

    #[test]
    fn the_app_chooses_among_what_is_offered() {
        let offered = [
            "Sec-WebSocket-Protocol: chat, superchat",
            "+Sec-WebSocket-Protocol: v2",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ];
        let accepted = answer(&offered, Some("v2"));
        assert!(
            accepted.contains("\r\nSec-WebSocket-Protocol: v2\r\n"),
            "{accepted}"
        );
        assert!(
            accepted.contains(
                "\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12; \
                 client_max_window_bits=12\r\n"
            ),
            "{accepted}"
        );
        assert!(!answer(&offered, None).contains("Protocol:"));
        assert_eq!(
            answer(&offered, Some("other")),
            "the subprotocol \"other\" was not offered by the client"
        );
    }

    #[test]
    fn names_are_compared_without_case_and_lists_are_lists() {
        for changes in [
            &["Upgrade: WebSocket"][..],
            &["Upgrade: foo, websocket"],
            &["Connection: keep-alive, Upgrade"],
            &["Connection: keep-alive", "+Connection: upgrade"],
        ] {
            assert!(
                answer(changes, None).starts_with("HTTP/1.1 101 "),
                "{changes:?}"
            );
        }
    }

    #[test]
    fn other_requests_are_ordinary() {
        for changes in [
            &["Upgrade"][..],
            &["Upgrade: h2c"],
            &["Upgrade: websocket2"],
            &["Connection: keep-alive"],
            &["GET /chat HTTP/1.0"],
        ] {
            assert_eq!(answer(changes, None), "ordinary", "{changes:?}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for (changes, expected) in [
            (
                &["Sec-WebSocket-Version: 8"][..],
                "426 Upgrade Required: the version of the WebSocket protocol is not 13",
            ),
            (
                &["Sec-WebSocket-Version"],
                "426 Upgrade Required: the version of the WebSocket protocol is not 13",
            ),
            (
                &["+Sec-WebSocket-Version: 13"],
                "400 Bad Request: more than one Sec-WebSocket-Version",
            ),
            (
                &["Sec-WebSocket-Key"],
                "400 Bad Request: Sec-WebSocket-Key is missing",
            ),
            (
                &["+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
                "400 Bad Request: more than one Sec-WebSocket-Key",
            ),
            (
                &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="],
                "400 Bad Request: Sec-WebSocket-Key is not 16 bytes in base64",
            ),
            (
                &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q=="],
                "400 Bad Request: Sec-WebSocket-Key is not 16 bytes in base64",
            ),
            (
                &["Content-Length: 3"],
                "400 Bad Request: a WebSocket request has a body",
            ),
            (
                &["Sec-WebSocket-Protocol: a b"],
                "400 Bad Request: a subprotocol is not a token",
            ),
            (
                &["Sec-WebSocket-Protocol: a, b, a"],
                "400 Bad Request: a subprotocol is offered twice",
            ),
        ] {
            assert_eq!(answer(changes, None), expected, "{changes:?}");
        }
        let post = answer(&["Content-Length: 0"], None);
        assert!(post.starts_with("HTTP/1.1 101 "), "an empty body is none");
    }

    #[test]
    fn another_method_is_refused() {
        let mut request = request(&[]);
        request.splice(..3, *b"PUT");
        let head = head_of(&request);
        assert!(is_asked_for(&head, &request));
        assert_eq!(
            Opening::read(&head, &request, None)
                .unwrap_err()
                .to_string(),
            "400 Bad Request: the method of a WebSocket request is not GET"
        );
    }

    #[test]
    fn a_refused_version_is_told_which_one_is_right() {
        let mut out = b"before\r\n".to_vec();
        Rejection::UNKNOWN_VERSION.write_answer(&mut out, b"now", false, |_| {});
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(
                "before\r\nHTTP/1.1 426 Upgrade Required\r\nDate: now\r\nConnection: close\r\n"
            ) && text.contains(
                "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn an_app_cannot_set_what_the_handshake_says() {
        for (name, value, expected) in [
            (
                "Sec-WebSocket-Accept",
                "x",
                "the header \"Sec-WebSocket-Accept\" belongs to the handshake",
            ),
            (
                "upgrade",
                "h2c",
                "the header \"upgrade\" belongs to the handshake",
            ),
            (
                "Content-Length",
                "0",
                "the header \"Content-Length\" belongs to the handshake",
            ),
            ("X Y", "0", "the header \"X Y\" is not valid"),
            ("X", "a\r\nb", "the header \"X\" is not valid"),
        ] {
            assert_eq!(
                check_field(name.as_bytes(), value.as_bytes())
                    .unwrap_err()
                    .to_string(),
                expected
            );
        }
        assert_eq!(check_field(b"Set-Cookie", b"a=b"), Ok(()));
    }
}
