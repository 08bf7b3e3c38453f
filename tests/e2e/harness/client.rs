//! A client that sends exactly what it is told and takes nothing on trust: each answer is checked for its framing.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};

use super::DEADLINE;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A port of this machine.
pub fn loopback(port: u16) -> Address {
    Address::Tcp(([127, 0, 0, 1], port).into())
}

trait Stream: Read + Write + Send {
    fn shut(&self, how: Shutdown) -> io::Result<()>;
    /// Whatever is under way is thrown away when it is closed.
    fn discard(&self) -> io::Result<()>;
    fn limit(&self, timeout: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn discard(&self) -> io::Result<()> {
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        Ok(setsockopt(self, sockopt::Linger, &at_once)?)
    }

    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn limit(&self, timeout: Duration) -> io::Result<()> {
        self.set_nodelay(true)?;
        self.set_write_timeout(Some(timeout))?;
        self.set_read_timeout(Some(timeout))
    }
}

impl Stream for UnixStream {
    /// There is no other way to close it.
    fn discard(&self) -> io::Result<()> {
        Ok(())
    }

    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn limit(&self, timeout: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(timeout))?;
        self.set_read_timeout(Some(timeout))
    }
}

pub struct Client {
    stream: Box<dyn Stream>,
    /// Received, not yet part of an answer.
    pending: Vec<u8>,
}

/// A final response. Informational ones that came before it are in `interim`.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    /// The status line and the fields as they came, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
    pub chunked: bool,
    /// Heads of 1xx responses.
    pub interim: Vec<String>,
}

impl Client {
    #[track_caller]
    pub fn to(address: &Address) -> Self {
        Self::try_to(address).unwrap()
    }

    pub fn try_to(address: &Address) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(address) => Box::new(TcpStream::connect(address)?),
            Address::Unix(path) => Box::new(UnixStream::connect(path)?),
        };
        stream.limit(DEADLINE)?;
        Ok(Self {
            stream,
            pending: Vec::new(),
        })
    }

    /// On a connection that the test made.
    #[track_caller]
    pub fn over(stream: TcpStream) -> Self {
        stream.limit(DEADLINE).unwrap();
        Self {
            stream: Box::new(stream),
            pending: Vec::new(),
        }
    }

    /// What is sent when the server has closed already is lost silently, as TCP does it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Nothing more will come from this side; the other side stays open.
    pub fn finish_sending(&mut self) {
        self.stream.shut(Shutdown::Write).unwrap();
    }

    /// Goes without a goodbye: over TCP with a reset.
    pub fn reset(self) {
        self.stream.discard().unwrap();
    }

    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    #[track_caller]
    pub fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Response {
        let body = body.as_ref();
        let length = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        ));
        self.send(body);
        self.response()
    }

    /// Sends a whole request and reads its answer, minding the method.
    #[track_caller]
    pub fn request(&mut self, request: &str) -> Response {
        self.send(request);
        let method = request.split(' ').next().unwrap_or_default();
        self.try_response(method).unwrap()
    }

    /// The next answer, to anything but HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response("GET").unwrap()
    }

    /// The next answer to a request with this method (RFC 9112 section 6.3 says how it ends).
    pub fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head()?;
            if !head.starts_with("HTTP/1.1 1") {
                break head;
            }
            interim.push(head);
        };
        let mut response = Response {
            status: head[9..12].parse().map_err(|_| broken("status", &head))?,
            head,
            body: Vec::new(),
            chunked: false,
            interim,
        };
        let length = response.field("content-length");
        let coding = response.field("transfer-encoding");
        response.chunked = match coding.as_deref() {
            None => false,
            Some("chunked") => true,
            Some(_) => return Err(broken("transfer coding", &response.head)),
        };
        if response.chunked && length.is_some() {
            return Err(broken("both framings", &response.head));
        }
        if matches!(response.status, 204 | 304) || method == "HEAD" {
            return Ok(response);
        }
        response.body = if response.chunked {
            self.chunks()?
        } else if let Some(length) = length {
            let length = length.parse().map_err(|_| broken("length", &length))?;
            self.exactly(length)?
        } else if response.says_close() {
            self.rest()?
        } else {
            return Err(broken("no framing", &response.head));
        };
        Ok(response)
    }

    /// Waits for the next bytes, whatever they are; empty at the end of the stream.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.pending.is_empty() {
            self.more()?;
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.pending))
    }

    /// What comes before the server closes the connection or resets it, which it must do in time.
    #[track_caller]
    pub fn rest_until_closed(&mut self) -> Vec<u8> {
        match self.rest() {
            Ok(bytes) => bytes,
            Err(error) => {
                assert_is_end(&error);
                std::mem::take(&mut self.pending)
            }
        }
    }

    /// The next answer; `None` when the server closed the connection instead, before a whole answer came.
    #[track_caller]
    pub fn response_or_end(&mut self) -> Option<Response> {
        let response = self.try_response("GET");
        response.inspect_err(assert_is_end).ok()
    }

    /// The server closes the connection, and sends nothing before it does.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.some() {
            Ok(bytes) => assert_eq!(String::from_utf8_lossy(&bytes), "", "bytes before the end"),
            Err(error) => assert_is_end(&error),
        }
    }

    /// Nothing comes, and the connection stays open, for this long.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) {
        self.stream.limit(duration).unwrap();
        let came = self.some();
        self.stream.limit(DEADLINE).unwrap();
        let error = came.expect_err("something came, or the end");
        assert!(is_timeout(&error), "{error}");
    }

    /// A head without its empty line, every line ended by CRLF.
    fn head(&mut self) -> io::Result<String> {
        let end = self.find(b"\r\n\r\n")?;
        let bytes = self.exactly(end + 4)?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let bare = head.replace("\r\n", "").contains(['\r', '\n', '\0']);
        let ok = head.starts_with("HTTP/1.1 ") && head.len() >= 13 && &head[12..13] == " " && !bare;
        if ok {
            Ok(head)
        } else {
            Err(broken("head", &head))
        }
    }

    /// A chunked body, read as strictly as it can be: no extensions, no trailers.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n")?;
            let line = self.exactly(end + 2)?;
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            let size = usize::from_str_radix(&line, 16).map_err(|_| broken("size", &line))?;
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(broken("chunk's end", &line));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn find(&mut self, wanted: &[u8]) -> io::Result<usize> {
        loop {
            let at = self.pending.windows(wanted.len()).position(|w| w == wanted);
            if let Some(at) = at {
                return Ok(at);
            }
            if self.more()? == 0 {
                let got = String::from_utf8_lossy(&self.pending).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, got));
            }
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.pending.len() < count {
            if self.more()? == 0 {
                let got = self.pending.len();
                let text = format!("the stream ended after {got} of {count} bytes");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        Ok(self.pending.drain(..count).collect())
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer)?;
        self.pending.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Response {
    /// The value of the one field of this name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        let mut values = self.fields(name);
        assert!(values.len() < 2, "{name} came twice:\n{}", self.head);
        values.pop()
    }

    /// The values of all fields of this name.
    pub fn fields(&self, name: &str) -> Vec<String> {
        let fields = self.head.split("\r\n").skip(1);
        fields
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    pub fn says_close(&self) -> bool {
        let connection = self.field("connection");
        connection.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n\r\n{}", self.head, self.text())
    }
}

fn broken(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {text:?}"))
}

/// The connection was closed or reset: it did not just stay silent until the deadline, and what came was no nonsense.
#[track_caller]
fn assert_is_end(error: &io::Error) {
    let is_end = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    );
    assert!(
        is_end,
        "the server does not close the connection: {error:?}"
    );
}

fn is_timeout(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::TimedOut
}
