//! Where messages end, read by RFC 9112 alone, with everything at hand and no thought of speed.
//!
//! It knows framing and nothing else, and refuses whatever two readers could take for two things. What the engine serves must
//! be served here too, in the same place with the same content: else somebody could be made to see another request.

/// A message that a strict reader serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) line: Vec<u8>,
    pub(crate) content: Vec<u8>,
    /// Where in the stream the next one begins.
    pub(crate) end: usize,
}

/// The messages up to the first that is in doubt, is not complete, or is the last of its connection.
pub(crate) fn read(stream: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = stream;
    while let Some((line, content, is_last)) = message(&mut rest) {
        let end = stream.len() - rest.len();
        messages.push(Message { line, content, end });
        if is_last {
            break;
        }
    }
    messages
}

fn message(rest: &mut &[u8]) -> Option<(Vec<u8>, Vec<u8>, bool)> {
    *rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    let request_line = line(rest)?;
    let is_old = version_is_old(request_line)?;
    let fields = Fields::read(rest)?;
    let is_last = match is_old {
        true => !fields.has_option("keep-alive") || fields.has_option("close"),
        false => fields.has_option("close"),
    } || fields.has_word("upgrade", "websocket");
    match fields.all("host").len() {
        1 => {}
        0 if is_old => {}
        _ => return None,
    }
    let lengths = fields.all("content-length");
    let codings = fields.all("transfer-encoding");
    let content = match (&lengths[..], &codings[..]) {
        ([], []) => Vec::new(),
        ([length], []) => {
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| is_number)?;
            take(rest, length.parse().ok()?)?.to_vec()
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && !is_old => chunks(rest)?,
        _ => return None,
    };
    Some((request_line.to_vec(), content, is_last))
}

/// Whether a request line is one of HTTP/1.0; `None`: it is none at all.
fn version_is_old(line: &[u8]) -> Option<bool> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    if words.next().is_some() || !is_token(method) || !is_target {
        return None;
    }
    match version {
        b"HTTP/1.0" => Some(true),
        b"HTTP/1.1" => Some(false),
        _ => None,
    }
}

/// The content of a chunked body.
fn chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let size_line = line(rest)?;
        let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
        let (digits, extension) = size_line.split_at(size_line.iter().take_while(is_digit).count());
        let extension_begins = extension.trim_ascii_start();
        if !extension.is_empty() && !extension_begins.starts_with(b";") {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            return Fields::read(rest).map(|_| content);
        }
        content.extend_from_slice(take(rest, size)?);
        *rest = rest.strip_prefix(b"\r\n")?;
    }
}

/// Names in lower case, and values.
struct Fields(Vec<(Vec<u8>, Vec<u8>)>);

impl Fields {
    /// The lines up to an empty one.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        loop {
            let line = line(rest)?;
            if line.is_empty() {
                return Some(Self(fields));
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if !is_token(name) {
                return None;
            }
            fields.push((name.to_ascii_lowercase(), value.trim_ascii().to_vec()));
        }
    }

    fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.0.iter().filter(|(other, _)| other == name.as_bytes());
        named.map(|(_, value)| &value[..]).collect()
    }

    fn has_option(&self, option: &str) -> bool {
        self.has_word("connection", option)
    }

    fn has_word(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|other| other.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// The next line without its CRLF. A control character but HTAB is in doubt, a lone CR or LF first of all.
fn line<'s>(rest: &mut &'s [u8]) -> Option<&'s [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let line = take(rest, end)?;
    *rest = &rest[2..];
    let is_in_doubt = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    (!line.iter().any(is_in_doubt)).then_some(line)
}

fn take<'s>(rest: &mut &'s [u8], bytes: usize) -> Option<&'s [u8]> {
    let (taken, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(taken)
}

fn is_token(text: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_allowed)
}
