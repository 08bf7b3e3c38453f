//! What a line of the access log says: a template of atoms, or JSON. Compiled once, then written without allocating, but for
//! the rare values that have to be decoded first.
//!
//! Knows no socket and no clock; looks at headers only when the format asks for them.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::tz::TimeZone;

use super::{
    basic_auth,
    digits::{ip, number, padded, short_number},
    escape,
    moment::Clock,
};
use crate::config::{Atom, LogFormat, Piece, Template};

const COMMON: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s"#;
/// Gunicorn's default.
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

/// Finds a header (name in lower case) or a variable of the environ. Repeated headers: any one of them.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a [u8]>;

/// One answered request. Empty where there is nothing to say, as when a request could not be parsed.
pub struct AccessRecord<'a> {
    /// The client's, after trusted proxies; `None` for a UNIX socket without one.
    pub remote_address: Option<IpAddr>,
    /// The other end of the socket; `None` for a UNIX socket.
    pub peer: Option<SocketAddr>,
    /// The request line as far as it was received.
    pub line: &'a [u8],
    pub method: &'a [u8],
    /// Percent-encoded as received, without the query.
    pub path: &'a [u8],
    /// Without the `?`.
    pub query: &'a [u8],
    /// `HTTP/1.1`
    pub protocol: &'a str,
    pub status: u16,
    /// Bytes of the response body that were sent.
    pub bytes: u64,
    /// Empty where the request has none.
    pub request_id: &'a [u8],
    /// From the moment the app could be called to the end of the response; of a request that never came so far, from its first
    /// byte.
    pub duration: Duration,
    /// Wall time at the end of the response, microseconds since 1970.
    pub finished_us: i64,
    pub request_header: Lookup<'a>,
    pub response_header: Lookup<'a>,
    pub environ: Lookup<'a>,
}

/// Who writes, the same in all lines of a worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin {
    pub pid: u32,
    pub worker: u64,
    pub generation: u64,
}

#[derive(Debug)]
pub struct AccessFormat {
    form: Form,
    origin: Origin,
    clock: Clock,
    environ: Vec<String>,
}

#[derive(Debug)]
enum Form {
    Atoms { pieces: Vec<Piece>, values: Values },
    Json,
}

/// How bytes of strangers are written into a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// As nginx does it.
    Text,
    /// Into strings of JSON, for the template is an object.
    Json,
}

impl Form {
    fn of(template: &Template) -> Self {
        let is_object = template.text().trim_start().starts_with('{');
        Self::Atoms {
            pieces: template.pieces().to_vec(),
            values: if is_object {
                Values::Json
            } else {
                Values::Text
            },
        }
    }

    /// The variables of the WSGI environ that it shows.
    fn environ(&self) -> Vec<String> {
        let Self::Atoms { pieces, .. } = self else {
            return Vec::new();
        };
        let name = |piece: &Piece| match piece {
            Piece::Atom(Atom::Environ(name)) => Some(name.clone()),
            Piece::Atom(_) | Piece::Text(_) => None,
        };
        pieces.iter().filter_map(name).collect()
    }

    /// One of our own templates; tests write lines with each.
    fn known(template: &str) -> Self {
        Template::parse(template).map_or(Self::Json, |template| Self::of(&template))
    }
}

impl Values {
    fn text(self, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => escape::text(value, out),
            Self::Json => escape::json_content(value, out),
        }
    }

    fn text_or_dash(self, value: &[u8], out: &mut Vec<u8>) {
        match value {
            b"" => out.push(b'-'),
            value => self.text(value, out),
        }
    }

    fn decoded_path(self, path: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => escape::decoded_path(path, out),
            Self::Json => escape::decoded_json_path(path, out),
        }
    }

    /// Without quotes around it, a space would end it.
    fn word(self, value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => escape::word(value, out),
            Self::Json => escape::json_content(value, out),
        }
    }
}

impl AccessFormat {
    pub fn of(format: &LogFormat) -> Self {
        match format {
            LogFormat::Common => Self::new(Form::known(COMMON)),
            LogFormat::Combined => Self::new(Form::known(COMBINED)),
            LogFormat::Json => Self::new(Form::Json),
            LogFormat::Atoms(template) => Self::new(Form::of(template)),
        }
    }

    fn new(form: Form) -> Self {
        Self {
            environ: form.environ(),
            form,
            origin: Origin::default(),
            clock: Clock::new(TimeZone::UTC),
        }
    }

    /// Lines say that they come from this worker, in the local time of this zone. Until then they are in UTC.
    #[must_use]
    pub fn for_worker(self, origin: Origin, zone: TimeZone) -> Self {
        let clock = Clock::new(zone);
        Self {
            origin,
            clock,
            ..self
        }
    }

    /// Lines come from where those of the format before came from.
    #[must_use]
    pub(super) fn in_place_of(self, before: &Self) -> Self {
        Self {
            origin: before.origin,
            clock: before.clock.clone(),
            ..self
        }
    }

    /// Whether lines show the ids of requests.
    pub fn shows_request_ids(&self) -> bool {
        match &self.form {
            Form::Json => true,
            Form::Atoms { pieces, .. } => pieces.contains(&Piece::Atom(Atom::RequestId)),
        }
    }

    /// The variables of the WSGI environ that lines show.
    pub fn environ(&self) -> &[String] {
        &self.environ
    }

    /// Appends one line with its line end.
    pub fn write(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        match &self.form {
            Form::Atoms { pieces, values } => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => match text[..] {
                            [byte] => out.push(byte),
                            _ => out.extend_from_slice(text),
                        },
                        Piece::Atom(atom) => self.write_atom(atom, *values, record, out),
                    }
                }
            }
            Form::Json => self.write_json(record, out),
        }
        out.push(b'\n');
    }

    fn write_atom(
        &self,
        atom: &Atom,
        values: Values,
        record: &AccessRecord<'_>,
        out: &mut Vec<u8>,
    ) {
        let or_dash = |value: &[u8], out: &mut Vec<u8>| values.text_or_dash(value, out);
        let header =
            |value: Option<&[u8]>, out: &mut Vec<u8>| or_dash(value.unwrap_or_default(), out);
        match atom {
            Atom::RemoteAddress => match record.remote_address {
                Some(address) => ip(address, out),
                None => out.push(b'-'),
            },
            Atom::Peer => peer(record.peer, out),
            Atom::User => {
                let authorization = (record.request_header)("authorization");
                match authorization.and_then(basic_auth::user_name) {
                    Some(name) => values.word(&name, out),
                    None => out.push(b'-'),
                }
            }
            Atom::Time => {
                let second = record.finished_us.div_euclid(MICROSECONDS);
                out.extend_from_slice(&self.clock.second(second).common);
            }
            Atom::RequestLine => or_dash(record.line, out),
            Atom::Method => or_dash(record.method, out),
            Atom::Path => values.decoded_path(record.path, out),
            Atom::Query => values.text(record.query, out),
            Atom::Protocol => or_dash(record.protocol.as_bytes(), out),
            Atom::Status => short_number(record.status, out),
            Atom::Bytes => number(record.bytes, out),
            Atom::BytesOrDash if record.bytes == 0 => out.push(b'-'),
            Atom::BytesOrDash => number(record.bytes, out),
            Atom::Seconds => number(record.duration.as_secs(), out),
            Atom::Milliseconds => number(record.duration.as_millis(), out),
            Atom::Microseconds => number(record.duration.as_micros(), out),
            Atom::DecimalSeconds => {
                number(record.duration.as_secs(), out);
                out.push(b'.');
                padded(record.duration.subsec_micros(), 6, out);
            }
            Atom::Pid => {
                out.push(b'<');
                number(self.origin.pid, out);
                out.push(b'>');
            }
            Atom::RequestId => or_dash(record.request_id, out),
            Atom::RequestHeader(name) => header((record.request_header)(name), out),
            Atom::ResponseHeader(name) => header((record.response_header)(name), out),
            Atom::Environ(name) => header((record.environ)(name), out),
        }
    }

    fn write_json(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        let second = record.finished_us.div_euclid(MICROSECONDS);
        let milliseconds = record.finished_us.rem_euclid(MICROSECONDS) / 1000;
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(&self.clock.second(second).rfc3339);
        out.push(b'.');
        padded(u32::try_from(milliseconds).unwrap_or(0), 3, out);
        out.extend_from_slice(b"Z\"");
        let string = |key: &str, value: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(key.as_bytes());
            match value {
                b"" => out.extend_from_slice(b"null"),
                value => escape::json(value, out),
            }
        };
        out.extend_from_slice(b",\"remote_addr\":");
        match record.remote_address {
            Some(address) => {
                out.push(b'"');
                ip(address, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        string(",\"method\":", record.method, out);
        string(",\"path\":", record.path, out);
        string(",\"query\":", record.query, out);
        string(",\"protocol\":", record.protocol.as_bytes(), out);
        let count = |key: &str, value: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(key.as_bytes());
            number(value, out);
        };
        count(",\"status\":", record.status.into(), out);
        count(",\"bytes\":", record.bytes, out);
        let duration = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
        count(",\"duration_us\":", duration, out);
        let header = |name| (record.request_header)(name).unwrap_or_default();
        string(",\"referer\":", header("referer"), out);
        string(",\"user_agent\":", header("user-agent"), out);
        string(",\"request_id\":", record.request_id, out);
        count(",\"pid\":", self.origin.pid.into(), out);
        count(",\"worker\":", self.origin.worker, out);
        count(",\"generation\":", self.origin.generation, out);
        out.push(b'}');
    }
}

const MICROSECONDS: i64 = 1_000_000;

/// `10.0.0.5:4711`, or `unix`.
fn peer(address: Option<SocketAddr>, out: &mut Vec<u8>) {
    match address {
        // A Vec takes everything.
        Some(address) => drop(write!(out, "{address}")),
        None => out.extend_from_slice(b"unix"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[(&str, &[u8])] = &[
        ("referer", b"http://example.org/\"a\""),
        ("user-agent", b"curl/8 (\xc3\xa9)\n"),
        ("authorization", b"basic QW5uIExlZTpzZWNyZXQ="),
        ("x-id", b"42"),
    ];

    fn find(pairs: &[(&str, &'static [u8])], name: &str) -> Option<&'static [u8]> {
        let pair = pairs.iter().find(|(key, _)| *key == name);
        pair.map(|(_, value)| *value)
    }

    fn atoms(template: &str) -> LogFormat {
        LogFormat::Atoms(Template::parse(template).unwrap())
    }

    fn line(format: &LogFormat) -> String {
        write(format, |_| {})
    }

    fn write(format: &LogFormat, change: impl FnOnce(&mut AccessRecord<'_>)) -> String {
        let origin = Origin {
            pid: 812,
            worker: 2,
            generation: 3,
        };
        let format = AccessFormat::of(format).for_worker(origin, TimeZone::UTC);
        let mut record = AccessRecord {
            remote_address: Some(IpAddr::from([203, 0, 113, 9])),
            peer: Some("10.0.0.5:4711".parse().unwrap()),
            method: b"GET",
            line: b"GET /a%20b?x=%22 HTTP/1.1",
            path: b"/a%20b",
            query: b"x=%22",
            protocol: "HTTP/1.1",
            status: 200,
            bytes: 5120,
            request_id: b"a-1",
            duration: Duration::from_micros(1_002_345),
            finished_us: 1_795_228_976_007_999,
            request_header: &|name| find(REQUEST, name),
            response_header: &|name| find(&[("content-type", b"text/html")], name),
            environ: &|name| find(&[("REMOTE_PORT", b"5123")], name),
        };
        change(&mut record);
        let mut out = Vec::new();
        format.write(&record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_formats_have_their_shapes() {
        insta::assert_snapshot!(line(&LogFormat::Common), @r#"203.0.113.9 - Ann\x20Lee [21/Nov/2026:02:42:56 +0000] "GET /a%20b?x=%22 HTTP/1.1" 200 5120"#);
        insta::assert_snapshot!(line(&LogFormat::Combined), @r#"203.0.113.9 - Ann\x20Lee [21/Nov/2026:02:42:56 +0000] "GET /a%20b?x=%22 HTTP/1.1" 200 5120 "http://example.org/\"a\"" "curl/8 (\xC3\xA9)\x0A""#);
        insta::assert_snapshot!(line(&LogFormat::Json), @r#"{"time":"2026-11-21T02:42:56.007Z","remote_addr":"203.0.113.9","method":"GET","path":"/a%20b","query":"x=%22","protocol":"HTTP/1.1","status":200,"bytes":5120,"duration_us":1002345,"referer":"http://example.org/\"a\"","user_agent":"curl/8 (é)\u000A","request_id":"a-1","pid":812,"worker":2,"generation":3}"#);
    }

    #[test]
    fn every_atom_has_its_value() {
        let template = "h=%(h)s peer=%(peer)s l=%(l)s u=%(u)s t=%(t)s r=%(r)s m=%(m)s U=%(U)s q=%(q)s H=%(H)s s=%(s)s B=%(B)s b=%(b)s \
            f=%(f)s a=%(a)s T=%(T)s M=%(M)s D=%(D)s L=%(L)s p=%(p)s id=%(request_id)s i=%({X-Id}i)s o=%({Content-Type}o)s \
            e=%({REMOTE_PORT}e)s none=%({x-none}i)s%({x-none}o)s%({NONE}e)s";
        insta::assert_snapshot!(line(&atoms(template)), @r#"h=203.0.113.9 peer=10.0.0.5:4711 l=- u=Ann\x20Lee t=[21/Nov/2026:02:42:56 +0000] r=GET /a%20b?x=%22 HTTP/1.1 m=GET U=/a b q=x=%22 H=HTTP/1.1 s=200 B=5120 b=5120 f=http://example.org/\"a\" a=curl/8 (\xC3\xA9)\x0A T=1 M=1002 D=1002345 L=1.002345 p=<812> id=a-1 i=42 o=text/html e=5123 none=---"#);
    }

    #[test]
    fn a_request_that_could_not_be_parsed_has_a_line_too() {
        let nothing = |record: &mut AccessRecord<'_>| {
            record.remote_address = None;
            (record.line, record.method, record.path, record.query) = (b"", b"", b"", b"");
            (record.protocol, record.status, record.bytes) = ("", 400, 0);
            record.request_header = &|_| None;
            record.request_id = b"";
        };
        insta::assert_snapshot!(write(&LogFormat::Combined, nothing), @r#"- - - [21/Nov/2026:02:42:56 +0000] "-" 400 - "-" "-""#);
        insta::assert_snapshot!(write(&LogFormat::Json, nothing), @r#"{"time":"2026-11-21T02:42:56.007Z","remote_addr":null,"method":null,"path":null,"query":null,"protocol":null,"status":400,"bytes":0,"duration_us":1002345,"referer":null,"user_agent":null,"request_id":null,"pid":812,"worker":2,"generation":3}"#);
    }

    #[test]
    fn a_json_line_is_json_whatever_the_client_sent() {
        let line = write(&LogFormat::Json, |record| {
            record.path = b"/\"\\\x00\x1b\xff\n";
            record.method = b"\"},{\"";
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], "/\"\\\0\u{1b}\u{fffd}\n");
        assert_eq!(value["method"], "\"},{\"");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_format_tells_which_variables_of_the_environ_it_shows() {
        let format = AccessFormat::of(&atoms("%(u)s %({X-Id}i)s %({wsgi.x}e)s"));
        assert_eq!(format.environ(), ["wsgi.x"]);
        assert!(AccessFormat::of(&LogFormat::Json).environ().is_empty());
    }

    #[test]
    fn headers_are_not_looked_at_unless_the_format_shows_them() {
        write(&atoms("%(h)s %(r)s %(s)s"), |record| {
            record.request_header = &|name| panic!("looked at {name}");
            record.response_header = &|name| panic!("looked at {name}");
            record.environ = &|name| panic!("looked at {name}");
        });
    }
}
