//! The offer of compression in `Sec-WebSocket-Extensions`, and the answer to it: RFC 7692 sections 5 and 7.1.

use super::deflate::{Deflate, DeflateSettings};

const NAME: &[u8] = b"permessage-deflate";
/// The history without a word about it, as the binary logarithm of bytes.
const WINDOW_BITS_MAX: u8 = 15;
/// The least history that zlib can compress with. The RFC knows 8.
const OUR_WINDOW_BITS_MIN: u8 = 9;

/// What was agreed, and how the answer says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) deflate: Deflate,
}

/// One offer of a client. It may make several, in its order of preference.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)`: the client understands the parameter and asks for nothing.
    client_max_window_bits: Option<Option<u8>>,
}

impl Agreement {
    /// Takes the first offer of these field values that can be met. `None`: there is none, so nothing is compressed.
    pub(super) fn reach<'b>(
        values: impl Iterator<Item = &'b [u8]>,
        settings: &DeflateSettings,
    ) -> Option<Self> {
        // A parameter's value may be quoted but is a token all the same, so no comma or semicolon can be inside quotes.
        values
            .flat_map(|value| value.split(|&byte| byte == b','))
            .filter_map(Offer::parse)
            .find_map(|offer| offer.meet(settings))
    }

    /// Appends the value of the field in the answer.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let deflate = &self.deflate;
        out.extend_from_slice(NAME);
        if deflate.server_no_context_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if deflate.client_no_context_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        for (name, bits) in [
            (
                &b"; server_max_window_bits="[..],
                deflate.server_max_window_bits,
            ),
            (b"; client_max_window_bits=", deflate.client_max_window_bits),
        ] {
            if bits < WINDOW_BITS_MAX {
                out.extend_from_slice(name);
                out.extend_from_slice(itoa::Buffer::new().format(bits).as_bytes());
            }
        }
    }
}

impl Offer {
    /// `None`: another extension, or an offer that must be declined, RFC 7692 section 7.1.
    fn parse(extension: &[u8]) -> Option<Self> {
        let mut parts = extension
            .split(|&byte| byte == b';')
            .map(<[u8]>::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut offer = Self::default();
        for parameter in parts {
            offer.note(parameter)?;
        }
        Some(offer)
    }

    /// `None`: the parameter is unknown, not the first of its name, or its value is none.
    fn note(&mut self, parameter: &[u8]) -> Option<()> {
        let mut halves = parameter
            .splitn(2, |&byte| byte == b'=')
            .map(<[u8]>::trim_ascii);
        let (name, value) = (halves.next()?, halves.next().map(unquoted));
        let is_first = match (name, value) {
            (b"server_no_context_takeover", None) => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            (b"client_no_context_takeover", None) => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            (b"server_max_window_bits", Some(value)) => {
                let bits = window_bits(value)?;
                self.server_max_window_bits.replace(bits).is_none()
            }
            (b"client_max_window_bits", value) => {
                let bits = match value {
                    None => None,
                    Some(value) => Some(window_bits(value)?),
                };
                self.client_max_window_bits.replace(bits).is_none()
            }
            _ => false,
        };
        is_first.then_some(())
    }

    /// `None`: it asks for a history so short that we cannot compress with it.
    fn meet(&self, settings: &DeflateSettings) -> Option<Agreement> {
        let ours = settings
            .window_bits
            .clamp(OUR_WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        let asked = self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        if asked < OUR_WINDOW_BITS_MIN {
            return None;
        }
        let deflate = Deflate {
            server_no_context_takeover: self.server_no_context_takeover
                || !settings.context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || !settings.context_takeover,
            server_max_window_bits: asked.min(ours),
            // RFC 7692 section 7.1.2.2: who did not mention it must not be asked for it.
            client_max_window_bits: match self.client_max_window_bits {
                None => WINDOW_BITS_MAX,
                Some(hint) => hint.unwrap_or(WINDOW_BITS_MAX).min(ours),
            },
            message_bytes_min: settings.message_bytes_min,
        };
        Some(Agreement { deflate })
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

/// A number from 8 to 15 without leading zeros.
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to an offer; empty if it is declined.
    fn answer(offer: &str, settings: &DeflateSettings) -> String {
        let mut out = Vec::new();
        if let Some(agreement) = Agreement::reach([offer.as_bytes()].into_iter(), settings) {
            agreement.write(&mut out);
        }
        String::from_utf8(out).unwrap()
    }

    const LARGE: DeflateSettings = DeflateSettings {
        window_bits: 15,
        context_takeover: true,
        message_bytes_min: 0,
    };

    #[test]
    fn what_is_asked_is_granted() {
        for (offer, expected) in [
            ("permessage-deflate", "permessage-deflate"),
            ("Permessage-Deflate", "permessage-deflate"),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate",
            ),
            (
                "permessage-deflate; client_max_window_bits=10",
                "permessage-deflate; client_max_window_bits=10",
            ),
            (
                "permessage-deflate;client_max_window_bits = \"8\"",
                "permessage-deflate; client_max_window_bits=8",
            ),
            (
                "permessage-deflate; server_max_window_bits=10",
                "permessage-deflate; server_max_window_bits=10",
            ),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
        ] {
            assert_eq!(answer(offer, &LARGE), expected, "{offer}");
        }
    }

    #[test]
    fn the_server_asks_for_what_it_wants_where_it_may() {
        let small = DeflateSettings {
            window_bits: 12,
            context_takeover: false,
            message_bytes_min: 0,
        };
        assert_eq!(
            answer("permessage-deflate", &small),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=12"
        );
        assert_eq!(
            answer(
                "permessage-deflate; client_max_window_bits",
                &DeflateSettings::default()
            ),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
        );
    }

    #[test]
    fn an_offer_that_cannot_be_met_is_declined() {
        for offer in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate2",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        ] {
            assert_eq!(answer(offer, &LARGE), "", "{offer}");
        }
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_taken() {
        assert_eq!(
            answer(
                "foo, permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=11, permessage-deflate",
                &LARGE
            ),
            "permessage-deflate; server_max_window_bits=11"
        );
    }
}
