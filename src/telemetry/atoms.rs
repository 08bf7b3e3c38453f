//! Gunicorn's template language for the access log, `%(h)s "%(r)s" %({x-request-id}i)s`, compiled once.
//!
//! Refuses what Gunicorn lets pass and then logs as `-`: an atom that does not exist is an error that names it.

/// One step of writing a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Atom(Atom),
}

/// The letters are Gunicorn's; a name in braces is in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Atom {
    /// `h`
    RemoteAddress,
    /// `peer`, of ours: the other end of the socket.
    Peer,
    /// `u`, from basic authentication.
    User,
    /// `t`
    Time,
    /// `r`
    RequestLine,
    /// `m`
    Method,
    /// `U`
    Path,
    /// `q`
    Query,
    /// `H`
    Protocol,
    /// `s`
    Status,
    /// `B`
    Bytes,
    /// `b`
    BytesOrDash,
    /// `T`
    Seconds,
    /// `M`
    Milliseconds,
    /// `D`
    Microseconds,
    /// `L`
    DecimalSeconds,
    /// `p`
    Pid,
    /// `request_id`, which Gunicorn has not.
    RequestId,
    /// `{name}i`; `f` and `a` are the referer and the user agent.
    RequestHeader(String),
    /// `{name}o`
    ResponseHeader(String),
    /// `{name}e`; the name as written.
    Environ(String),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AtomError {
    #[error(
        "the atom `%({atom})s` does not exist (known: h l u t r m U q H s B b f a T M D L p request_id peer, {{header}}i, {{header}}o, {{variable}}e)"
    )]
    Unknown { atom: String },
    #[error("`%({atom})` must be followed by `s`")]
    Conversion { atom: String },
    #[error("the `%(` at byte {at} has no `)`")]
    Unclosed { at: usize },
    #[error("the `%` at byte {at} begins no atom (a percent sign is written `%%`)")]
    LonelyPercent { at: usize },
    #[error("the line break or control character at byte {at} would break the lines of the log")]
    ControlCharacter { at: usize },
}

/// The atom of whom RFC 1413 would name. Nobody is asked any more, so it is the text `-`.
const IDENTITY: &str = "l";

pub(super) fn compile(template: &str) -> Result<Vec<Piece>, AtomError> {
    if let Some(at) = template.find(|c: char| c.is_control() && c != '\t') {
        return Err(AtomError::ControlCharacter { at });
    }
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = template;
    while let Some(percent) = rest.find('%') {
        text.extend_from_slice(&rest.as_bytes()[..percent]);
        let at = template.len() - rest.len() + percent;
        let after = &rest[percent + 1..];
        if let Some(after) = after.strip_prefix('%') {
            text.push(b'%');
            rest = after;
        } else if let Some(after) = after.strip_prefix('(') {
            let (name, after) = after.split_once(')').ok_or(AtomError::Unclosed { at })?;
            let conversion = || AtomError::Conversion {
                atom: name.to_owned(),
            };
            rest = after.strip_prefix('s').ok_or_else(conversion)?;
            if name == IDENTITY {
                text.push(b'-');
                continue;
            }
            let unknown = || AtomError::Unknown {
                atom: name.to_owned(),
            };
            let atom = atom(name).ok_or_else(unknown)?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Atom(atom));
        } else {
            return Err(AtomError::LonelyPercent { at });
        }
    }
    text.extend_from_slice(rest.as_bytes());
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn atom(name: &str) -> Option<Atom> {
    Some(match name {
        "h" => Atom::RemoteAddress,
        "peer" => Atom::Peer,
        "u" => Atom::User,
        "t" => Atom::Time,
        "r" => Atom::RequestLine,
        "m" => Atom::Method,
        "U" => Atom::Path,
        "q" => Atom::Query,
        "H" => Atom::Protocol,
        "s" => Atom::Status,
        "B" => Atom::Bytes,
        "b" => Atom::BytesOrDash,
        "f" => Atom::RequestHeader("referer".to_owned()),
        "a" => Atom::RequestHeader("user-agent".to_owned()),
        "T" => Atom::Seconds,
        "M" => Atom::Milliseconds,
        "D" => Atom::Microseconds,
        "L" => Atom::DecimalSeconds,
        "p" => Atom::Pid,
        "request_id" => Atom::RequestId,
        other => {
            let (name, kind) = other.strip_prefix('{')?.rsplit_once('}')?;
            match kind {
                _ if name.is_empty() => return None,
                "i" => Atom::RequestHeader(name.to_ascii_lowercase()),
                "o" => Atom::ResponseHeader(name.to_ascii_lowercase()),
                "e" => Atom::Environ(name.to_owned()),
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_text_and_atoms() {
        insta::assert_debug_snapshot!(compile("100%% %(h)s%({X-Id}i)s é").unwrap(), @r#"
        [
            Text(
                [
                    49,
                    48,
                    48,
                    37,
                    32,
                ],
            ),
            Atom(
                RemoteAddress,
            ),
            Atom(
                RequestHeader(
                    "x-id",
                ),
            ),
            Text(
                [
                    32,
                    195,
                    169,
                ],
            ),
        ]
        "#);
    }

    #[test]
    fn a_mistake_is_named() {
        let message = |template| compile(template).unwrap_err().to_string();
        insta::assert_snapshot!(message("%(h)s %(x)s"), @"the atom `%(x)s` does not exist (known: h l u t r m U q H s B b f a T M D L p request_id peer, {header}i, {header}o, {variable}e)");
        insta::assert_snapshot!(message("%({}i)s"), @"the atom `%({}i)s` does not exist (known: h l u t r m U q H s B b f a T M D L p request_id peer, {header}i, {header}o, {variable}e)");
        insta::assert_snapshot!(message("%(h)d"), @"`%(h)` must be followed by `s`");
        insta::assert_snapshot!(message("é %(h"), @"the `%(` at byte 3 has no `)`");
        insta::assert_snapshot!(message("%(h)s %h"), @"the `%` at byte 6 begins no atom (a percent sign is written `%%`)");
        insta::assert_snapshot!(message("%(h)s\n"), @"the line break or control character at byte 5 would break the lines of the log");
    }
}
