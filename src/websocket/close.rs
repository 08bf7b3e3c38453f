//! Why a connection ends: status codes and the payload of close frames, RFC 6455 section 7.4.

/// The purpose was fulfilled.
pub const NORMAL: u16 = 1000;
/// The server goes down, or the page was left.
pub const GOING_AWAY: u16 = 1001;
/// The other side broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A close frame without a status came. It is never sent.
pub const NO_STATUS: u16 = 1005;
/// The connection ended without a close frame. It is never sent.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8, or compressed data that is none.
pub const INVALID_PAYLOAD: u16 = 1007;
/// A message that is longer than allowed.
pub const MESSAGE_TOO_BIG: u16 = 1009;
/// The app failed.
pub const INTERNAL_ERROR: u16 = 1011;
/// The server restarts; the client may come back at once.
pub const SERVICE_RESTART: u16 = 1012;

/// The most bytes that a reason can have: the payload of a control frame without the status.
pub const REASON_BYTES_MAX: usize = 123;

/// Why we ended a connection that the client did not close as agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code} {detail}")]
pub struct Failure {
    /// What the close frame says that is in the output; [`ABNORMAL`] if there is none.
    pub code: u16,
    /// Lowercase, no full stop. It never repeats what the client sent, so it is safe in the close frame and in the log.
    pub detail: &'static str,
}

impl Failure {
    pub(super) const TOO_BIG: Self = Self::new(MESSAGE_TOO_BIG, "the message is too big");
    pub(super) const NOT_UTF8: Self = Self::new(INVALID_PAYLOAD, "the text is not UTF-8");
    pub(super) const NOT_DEFLATE: Self =
        Self::new(INVALID_PAYLOAD, "the compressed data is malformed");
    pub(super) const NO_PONG: Self = Self::new(INTERNAL_ERROR, "a ping was not answered in time");
    pub(super) const NO_ANSWER: Self =
        Self::new(ABNORMAL, "the close frame was not answered in time");
    pub(super) const NO_CLOSE: Self =
        Self::new(ABNORMAL, "the connection ended without a close frame");

    const fn new(code: u16, detail: &'static str) -> Self {
        Self { code, detail }
    }

    /// A breach of the protocol: 1002.
    pub(super) const fn protocol(detail: &'static str) -> Self {
        Self::new(PROTOCOL_ERROR, detail)
    }
}

/// Whether a close frame may hold this code: those of the registry that are not only for use inside a program, and all that
/// are left to libraries (3000 to 3999) and to apps (4000 to 4999).
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Takes the payload of a close frame apart: the code, [`NO_STATUS`] if it has none, and the reason.
pub(super) fn parse(payload: &[u8]) -> Result<(u16, &str), Failure> {
    match payload {
        [] => Ok((NO_STATUS, "")),
        [_] => Err(Failure::protocol("a close frame has half a status")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(Failure::protocol("a close frame has an invalid status"));
            }
            match std::str::from_utf8(reason) {
                Ok(reason) => Ok((code, reason)),
                Err(_) => Err(Failure::NOT_UTF8),
            }
        }
    }
}

/// As much of a reason as fits, cut between characters.
pub(super) fn fitting(reason: &str) -> &str {
    let end = (0..=reason.len().min(REASON_BYTES_MAX))
        .rev()
        .find(|&end| reason.is_char_boundary(end));
    &reason[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(fitting("bye"), "bye");
        assert_eq!(fitting(&"a".repeat(200)).len(), 123);
        assert_eq!(fitting(&"é".repeat(200)).len(), 122);
    }

    #[test]
    fn codes_that_only_exist_inside_a_program_are_not_sent() {
        let sendable = (0..=u16::MAX).filter(|&code| is_sendable(code)).count();
        assert_eq!(sendable, 4 + 8 + 2000);
        for code in [0, 999, 1004, NO_STATUS, ABNORMAL, 1015, 2999, 5000] {
            assert!(!is_sendable(code), "{code}");
        }
    }
}
