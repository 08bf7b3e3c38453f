//! Gunicorn's template language for the access log, `%(h)s "%(r)s" %({x-request-id}i)s`: the one reader of it, before anything
//! runs and where lines are written. Who fills atoms in is `telemetry`.
//!
//! Refuses what Gunicorn lets pass and then logs as `-`: an atom that does not exist is a fault that names it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A template without faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

/// One step of writing a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    Atom(Atom),
}

/// The letters are Gunicorn's; a name in braces is in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Atom {
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
    /// `{name}e`; the name as written, its case does not matter.
    Environ(String),
}

/// One thing that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
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

/// All that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFaults(pub Vec<TemplateFault>);

impl Template {
    pub fn parse(text: &str) -> Result<Self, TemplateFaults> {
        Ok(Self {
            pieces: compile(text).map_err(TemplateFaults)?,
            text: text.to_owned(),
        })
    }

    /// The steps of writing a line.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateFaults;

    fn try_from(text: String) -> Result<Self, TemplateFaults> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

impl fmt::Display for TemplateFaults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let between = if index > 0 { "; " } else { "" };
            write!(out, "{between}{fault}")?;
        }
        Ok(())
    }
}

fn compile(template: &str) -> Result<Vec<Piece>, Vec<TemplateFault>> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut faults = Vec::new();
    if let Some(at) = template.find(|c: char| c.is_control() && c != '\t') {
        faults.push(TemplateFault::ControlCharacter { at });
    }
    let mut rest = template;
    while let Some(percent) = rest.find('%') {
        text.extend_from_slice(&rest.as_bytes()[..percent]);
        let at = template.len() - rest.len() + percent;
        let (found, after) = after_percent(&rest[percent + 1..], at);
        rest = after;
        match found {
            Ok(Piece::Text(more)) => text.extend(more),
            Ok(atom) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(atom);
            }
            Err(fault) => faults.push(fault),
        }
    }
    text.extend_from_slice(rest.as_bytes());
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    if faults.is_empty() {
        Ok(pieces)
    } else {
        Err(faults)
    }
}

/// What the `%` at byte `at` begins, and what follows that.
fn after_percent(rest: &str, at: usize) -> (Result<Piece, TemplateFault>, &str) {
    if let Some(after) = rest.strip_prefix('%') {
        return (Ok(Piece::Text(b"%".to_vec())), after);
    }
    let Some(inner) = rest.strip_prefix('(') else {
        return (Err(TemplateFault::LonelyPercent { at }), rest);
    };
    let Some((name, after)) = inner.split_once(')') else {
        return (Err(TemplateFault::Unclosed { at }), inner);
    };
    let own_name = || name.to_owned();
    let Some(after) = after.strip_prefix('s') else {
        let atom = own_name();
        return (Err(TemplateFault::Conversion { atom }), after);
    };
    let piece = match atom(name) {
        _ if name == IDENTITY => Ok(Piece::Text(b"-".to_vec())),
        Some(atom) => Ok(Piece::Atom(atom)),
        None => Err(TemplateFault::Unknown { atom: own_name() }),
    };
    (piece, after)
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
    fn gunicorns_default_and_named_atoms_pass() {
        compile(r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#).unwrap();
        compile("%({x-request-id}i)s 100%% %(L)s %(peer)s\t%(request_id)s").unwrap();
    }

    #[test]
    fn every_fault_is_named() {
        let faults = |template| {
            let faults = compile(template).unwrap_err();
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            told.join("\n")
        };
        insta::assert_snapshot!(faults("%(h)s %(x)s %(h)d %h %({}i)s\n %(h"), @r"
        the line break or control character at byte 28 would break the lines of the log
        the atom `%(x)s` does not exist (known: h l u t r m U q H s B b f a T M D L p request_id peer, {header}i, {header}o, {variable}e)
        `%(h)` must be followed by `s`
        the `%` at byte 18 begins no atom (a percent sign is written `%%`)
        the atom `%({}i)s` does not exist (known: h l u t r m U q H s B b f a T M D L p request_id peer, {header}i, {header}o, {variable}e)
        the `%(` at byte 30 has no `)`
        ");
    }
}
