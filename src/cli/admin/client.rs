//! A client for the server's own admin socket: one request for each connection.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::connection::Connection;
use crate::http::{BodyDecoder, Framing, HeadLimits};

/// For what the server looks up: its thread for that waits for nothing.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// For an order, which the server answers within 30 s; and for the end of a stream of progress, beyond its own time.
pub(super) const ORDER_PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of a response that are kept: far more than any has.
const BODY_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("`{}` cannot be connected to: {source}\n  = help: {}", path.display(), help(source))]
    Connect { path: PathBuf, source: io::Error },
    #[error(
        "the server did not answer in time\n  = help: look at `rgunicorn status` and the error log: it may still do what it was told"
    )]
    Late,
    #[error(
        "the server with pid {0} is stopped, as by SIGSTOP or a debugger, and cannot answer\n  = help: `kill -CONT {0}` lets it go on; its workers serve meanwhile"
    )]
    Stopped(u32),
    #[error(
        "the connection to the server broke: {0}\n  = help: look at `rgunicorn status`, whether it still runs, and at the error log"
    )]
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
    /// Whose it is, where that is known without asking.
    pid: Option<u32>,
}

impl Socket {
    pub(super) fn at(path: &Path) -> Self {
        let path = path.into();
        Self { path, pid: None }
    }

    /// Seen from that process: it may be in another file system (`PrivateTmp=`, a container).
    pub(super) fn of(pid: u32, own: &Path) -> Self {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let seen = own.strip_prefix("/").map(|path| root.join(path));
        let path = seen.ok().filter(|seen| seen.exists());
        Self {
            path: path.unwrap_or_else(|| own.to_owned()),
            pid: Some(pid),
        }
    }

    /// The process that listens there, by its number here: in a container it has another.
    pub(super) fn server(&self) -> Result<Option<u32>, AskError> {
        let connection = Connection::open(&self.path, self.pid, LOOK_PATIENCE)?;
        Ok(connection.pid())
    }

    /// Asks how things are.
    pub(super) fn look(&self, path: &str) -> Result<Reply, AskError> {
        self.ask("GET", path, LOOK_PATIENCE)
    }

    /// Tells it to do something.
    pub(super) fn order(&self, path: &str) -> Result<Reply, AskError> {
        self.ask("POST", path, ORDER_PATIENCE)
    }

    /// Waits so long at most for the whole answer.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        patience: Duration,
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

    /// Gives an order whose course comes line by line, each an object with `event`; the last one is returned. So is a
    /// refusal, which is one value. Waits so long at most for the end.
    pub(super) fn follow(
        &self,
        path: &str,
        patience: Duration,
        mut on_line: impl FnMut(&Value),
    ) -> Result<Reply, AskError> {
        let mut text = Vec::new();
        let mut last = None;
        let status = self.exchange("POST", path, patience, |piece| {
            let room = BODY_BYTES_MAX.saturating_sub(text.len());
            text.extend_from_slice(&piece[..piece.len().min(room)]);
            while let Some((value, length)) = first_line(&text) {
                on_line(&value);
                last = Some(value);
                text.drain(..length);
            }
        })?;
        let body = match last {
            Some(line) => line,
            None => serde_json::from_slice(&text)
                .map_err(|error| AskError::Broken(error.to_string()))?,
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
        let mut connection = Connection::open(&self.path, self.pid, patience)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        connection.send(request.as_bytes())?;
        let mut received = Vec::new();
        let head = loop {
            if let Some(head) = read_head(&received)? {
                break head;
            }
            connection.receive(&mut received)?;
        };
        let limits = HeadLimits {
            request_line: 0,
            headers: 0,
            header_size: 0,
            head: 0,
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
                connection.receive(&mut received)?;
            }
        }
        Ok(head.status)
    }
}

/// A line that is an object with `event`, and its length with its end; a refusal, which has several lines, is none.
fn first_line(text: &[u8]) -> Option<(Value, usize)> {
    let end = memchr::memchr(b'\n', text)?;
    let value: Value = serde_json::from_slice(&text[..end]).ok()?;
    value["event"].is_string().then_some((value, end + 1))
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
