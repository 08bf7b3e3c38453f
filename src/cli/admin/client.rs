//! A client for the server's own admin socket: one request for each connection.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::http::{BodyDecoder, Framing, HeadLimits};

/// The server answers an order within 30 s; a stream of progress says something at least when it ends.
const SILENCE_MAX: Duration = Duration::from_secs(3700);
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of a response that are kept: far more than any has.
const BODY_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("`{}` cannot be connected to: {source}\n  = help: {}", path.display(), help(source))]
    Connect { path: PathBuf, source: io::Error },
    #[error(
        "the server did not answer in time\n  = help: look at `rgunicorn status` and the error log: it may still do what it was told"
    )]
    Late,
    #[error("the connection to the server broke: {0}")]
    Broken(String),
}

fn help(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => "run this as the server's user or as root",
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "no server is asked there; without `--socket`, the server is found by its file"
        }
        _ => "the error log of the server tells where it is asked",
    }
}

/// A whole answer.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// A server's admin socket.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    path: PathBuf,
}

impl Socket {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Seen from that process: it may be in another file system (`PrivateTmp=`, a container).
    pub(super) fn of(pid: u32, path: &Path) -> Self {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let seen = path.strip_prefix("/").map(|path| root.join(path));
        match seen {
            Ok(seen) if seen.exists() => Self { path: seen },
            _ => Self::at(path),
        }
    }

    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Reply, AskError> {
        self.ask_within(PATIENCE, method, path)
    }

    /// Waits so long at most for each piece of the answer.
    pub(super) fn ask_within(
        &self,
        patience: Duration,
        method: &str,
        path: &str,
    ) -> Result<Reply, AskError> {
        let mut text = Vec::new();
        let status = self.exchange(method, path, patience, |piece| {
            let room = BODY_BYTES_MAX - text.len();
            text.extend_from_slice(&piece[..piece.len().min(room)]);
        })?;
        let body =
            serde_json::from_slice(&text).map_err(|error| AskError::Broken(error.to_string()))?;
        Ok(Reply { status, body })
    }

    /// Asks for what comes line by line; each is an object. An answer that is a refusal is one value and is returned.
    pub(super) fn follow(
        &self,
        path: &str,
        mut on_line: impl FnMut(&Value),
    ) -> Result<Reply, AskError> {
        let mut pending = Vec::new();
        let mut last = Value::Null;
        let status = self.exchange("POST", path, SILENCE_MAX, |piece| {
            pending.extend_from_slice(piece);
            while let Some(end) = memchr::memchr(b'\n', &pending) {
                let line: Vec<u8> = pending.drain(..=end).collect();
                if let Ok(value) = serde_json::from_slice::<Value>(&line)
                    && value["event"].is_string()
                {
                    on_line(&value);
                    last = value;
                } else {
                    // The lines of one value, such as a refusal, are put together again.
                    let text = last.as_str().unwrap_or_default().to_owned();
                    last = Value::String(text + &String::from_utf8_lossy(&line));
                }
            }
        })?;
        let body = match last {
            Value::String(text) => {
                serde_json::from_str(&text).map_err(|error| AskError::Broken(error.to_string()))?
            }
            last => last,
        };
        Ok(Reply { status, body })
    }

    /// The status; the body goes to `sink` as it comes.
    fn exchange(
        &self,
        method: &str,
        path: &str,
        patience: Duration,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<u16, AskError> {
        let mut stream = UnixStream::connect(&self.path).map_err(|source| AskError::Connect {
            path: self.path.clone(),
            source,
        })?;
        stream.set_read_timeout(Some(patience)).map_err(broken)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(broken)?;
        let mut received = Vec::new();
        let head = loop {
            if let Some(head) = read_head(&received)? {
                break head;
            }
            receive(&mut stream, &mut received)?;
        };
        let limits = HeadLimits {
            request_line: 0,
            headers: 0,
            header_size: 0,
            body: 0,
        };
        let mut decoder = BodyDecoder::new(head.framing, &limits);
        received.drain(..head.length);
        while !decoder.is_complete() {
            let decoded = decoder
                .decode(&received, &mut sink)
                .map_err(|refusal| AskError::Broken(refusal.to_string()))?;
            received.drain(..decoded.consumed);
            if !decoded.complete {
                receive(&mut stream, &mut received)?;
            }
        }
        Ok(head.status)
    }
}

struct Head {
    status: u16,
    framing: Framing,
    length: usize,
}

/// `None` while it is not whole.
fn read_head(received: &[u8]) -> Result<Option<Head>, AskError> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if received.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => {
            return Err(AskError::Broken("the head is too long".to_owned()));
        }
        Err(error) => return Err(AskError::Broken(error.to_string())),
    };
    let field = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| String::from_utf8_lossy(field.value).into_owned())
    };
    let framing = match field("content-length") {
        Some(length) => Framing::Length(
            length
                .parse()
                .map_err(|_| AskError::Broken("the length is no number".to_owned()))?,
        ),
        None if field("transfer-encoding").is_some() => Framing::Chunked,
        None => Framing::None,
    };
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        framing,
        length,
    }))
}

fn receive(stream: &mut UnixStream, into: &mut Vec<u8>) -> Result<(), AskError> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece).map_err(broken)? {
        0 => Err(AskError::Broken("it ended too early".to_owned())),
        count => {
            into.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}

fn broken(error: io::Error) -> AskError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Late,
        _ => AskError::Broken(error.to_string()),
    }
}
