//! The environ of a request, PEP 3333 and what Gunicorn adds to it.
//!
//! What is the same for all requests of a listener is a template that is copied; keys are interned, and the strings of the
//! last request are used again where they are equal.

mod template;

use std::{
    os::unix::ffi::OsStringExt,
    sync::{Arc, OnceLock},
};

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyDict, PyString},
};

pub(super) use template::Surroundings;
use template::template;

use super::{
    header_keys::{HeaderKeys, Meaning},
    input::Input,
    memo::Memo,
};
use crate::{
    http::{
        Refusal, Version,
        forwarded::{Node, Told},
        percent,
    },
    python::{dropped_header, ffi},
    sys::net::PeerAddress,
    wire::ListenerAddress,
    worker::{
        Body, Connection, Forwarding, MADE_DIGITS, Peer, RequestIds, peer_text, remote_address,
    },
};

/// The keys that are set for each request.
pub(super) struct Keys {
    request_method: Py<PyString>,
    script_name: Py<PyString>,
    path_info: Py<PyString>,
    query_string: Py<PyString>,
    raw_uri: Py<PyString>,
    server_name: Py<PyString>,
    server_port: Py<PyString>,
    server_protocol: Py<PyString>,
    remote_addr: Py<PyString>,
    remote_port: Py<PyString>,
    content_length: Py<PyString>,
    url_scheme: Py<PyString>,
    host: Py<PyString>,
    peer: Py<PyString>,
    input: Py<PyString>,
    request_id: Py<PyString>,
}

impl Keys {
    /// The same ones for all gateways, also of workers that are forked later.
    pub(super) fn shared(py: Python<'_>) -> &'static Self {
        static KEYS: PyOnceLock<Keys> = PyOnceLock::new();
        KEYS.get_or_init(py, || Self::new(py))
    }

    fn new(py: Python<'_>) -> Self {
        let key = |name: &str| PyString::intern(py, name).unbind();
        Self {
            request_method: key("REQUEST_METHOD"),
            script_name: key("SCRIPT_NAME"),
            path_info: key("PATH_INFO"),
            query_string: key("QUERY_STRING"),
            raw_uri: key("RAW_URI"),
            server_name: key("SERVER_NAME"),
            server_port: key("SERVER_PORT"),
            server_protocol: key("SERVER_PROTOCOL"),
            remote_addr: key("REMOTE_ADDR"),
            remote_port: key("REMOTE_PORT"),
            content_length: key("CONTENT_LENGTH"),
            url_scheme: key("wsgi.url_scheme"),
            host: key("HTTP_HOST"),
            peer: key("rgunicorn.peer"),
            input: key("wsgi.input"),
            request_id: key("rgunicorn.request_id"),
        }
    }
}

/// The peer of a connection as the environ shows it, made once per connection.
struct PeerText {
    address: Py<PyString>,
    port: Option<Py<PyString>>,
    /// The other end of the socket, where that is not the peer itself.
    socket: Option<Py<PyString>>,
}

pub(super) struct EnvironBuilder {
    keys: &'static Keys,
    /// One per listener.
    templates: Vec<Py<PyDict>>,
    is_unix: Vec<bool>,
    /// Where no trusted proxy says another.
    script_name: &'static [u8],
    headers: HeaderKeys,
    forwarding: Arc<Forwarding>,
    method: Memo,
    target: Memo,
    path: Memo,
    query: Memo,
    decoded: Vec<u8>,
    request: u64,
    /// The last request has an Upgrade header.
    has_upgrade: bool,
}

impl EnvironBuilder {
    pub(super) fn new(py: Python<'_>, surroundings: &Surroundings<'_, '_>) -> PyResult<Self> {
        let templates: PyResult<Vec<_>> = surroundings
            .listeners
            .iter()
            .map(|address| template(py, address, surroundings))
            .collect();
        let proxy = &surroundings.config.proxy;
        let forwarding = Arc::new(Forwarding::of(proxy));
        let is_unix = |address: &ListenerAddress| matches!(address, ListenerAddress::Unix(_));
        Ok(Self {
            keys: Keys::shared(py),
            templates: templates?,
            is_unix: surroundings.listeners.iter().map(is_unix).collect(),
            script_name: script_name(),
            headers: HeaderKeys::new(proxy.header_map, Arc::clone(&forwarding)),
            forwarding,
            method: Memo::default(),
            target: Memo::default(),
            path: Memo::default(),
            query: Memo::default(),
            decoded: Vec::new(),
            request: 0,
            has_upgrade: false,
        })
    }

    /// Whether the request of the last environ may ask for another protocol.
    #[inline]
    pub(super) fn has_upgrade(&self) -> bool {
        self.has_upgrade
    }

    pub(super) fn template_count(&self) -> usize {
        self.templates.len()
    }

    /// What the next environs have as `wsgi.early_hints`.
    pub(super) fn set_early_hints(&self, py: Python<'_>, callable: &Py<PyAny>) -> PyResult<()> {
        for template in &self.templates {
            let template = template.bind(py);
            template.set_item(intern!(py, "wsgi.early_hints"), callable)?;
        }
        Ok(())
    }

    /// The environ of the connection's request. A refusal: its headers contradict each other, or are not allowed.
    pub(super) fn build<'py>(
        &mut self,
        py: Python<'py>,
        connection: &mut Connection,
        ids: &RequestIds,
    ) -> PyResult<Result<Bound<'py, PyDict>, Refusal>> {
        self.request += 1;
        self.has_upgrade = false;
        let listener = connection.peer.listener;
        let environ = self.templates[listener].bind(py).copy()?;
        self.set_body(py, &environ, connection)?;
        self.set_peer(py, &environ, connection);
        if connection.request_id.is_some() {
            let mut buffer = [0; MADE_DIGITS];
            let id = ffi::latin1(py, ids.text(connection, &mut buffer));
            ffi::set(&environ, &self.keys.request_id, &id);
        }
        let told = match self.set_request(py, &environ, connection) {
            Ok(told) => told,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let client = told.as_ref().and_then(|told| told.client);
        if let Some(told) = &told {
            self.set_told(py, &environ, connection, told)?;
        } else if self.is_unix[listener] {
            let host = connection.head().host(connection.request_bytes());
            self.set_server(py, &environ, host);
        }
        connection.client = client;
        Ok(Ok(environ))
    }

    /// Returns what the proxies told about the client, if they told anything.
    fn set_request<'c>(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        connection: &'c Connection,
    ) -> Result<Option<Told<'c>>, Refusal> {
        let keys = self.keys;
        let bytes = connection.request_bytes();
        let head = connection.head();
        let method = head.method(bytes);
        if method != b"GET" {
            let method = self.method.text(py, method);
            ffi::set(environ, &keys.request_method, &method);
        }
        let target = self.target.text(py, head.target(bytes));
        ffi::set(environ, &keys.raw_uri, &target);
        let query = head.query(bytes);
        if !query.is_empty() {
            let query = self.query.text(py, query);
            ffi::set(environ, &keys.query_string, &query);
        }
        if head.version == Version::Http10 {
            ffi::set(environ, &keys.server_protocol, intern!(py, "HTTP/1.0"));
        }
        let (script_name, is_forwarded) = self.set_headers(py, environ, connection)?;
        let path = percent::decode(head.path(bytes), &mut self.decoded);
        if let Some(script_name) = script_name {
            ffi::set(environ, &keys.script_name, &ffi::latin1(py, script_name));
        }
        let path_info = below(path, script_name.unwrap_or(self.script_name));
        let path_info = self.path.text(py, path_info);
        ffi::set(environ, &keys.path_info, &path_info);
        match is_forwarded {
            true => self.forwarding.read(connection).map(Some),
            false => Ok(None),
        }
    }

    /// Sets the headers; returns the SCRIPT_NAME that a trusted proxy gave, and whether it told about the client.
    fn set_headers<'c>(
        &mut self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        connection: &'c Connection,
    ) -> Result<(Option<&'c [u8]>, bool), Refusal> {
        let trusted = connection.peer.trusted;
        let mut script_name = None;
        let mut is_forwarded = false;
        for (name, mut value) in connection.head().fields(connection.request_bytes()) {
            let known = self.headers.look_up(py, name);
            match known.meaning {
                Meaning::Plain | Meaning::Cookie => {}
                Meaning::Host => value = connection.head().host(connection.request_bytes()),
                Meaning::Forwarded => is_forwarded = trusted,
                Meaning::Upgrade => self.has_upgrade = true,
                Meaning::ScriptName if trusted => {
                    script_name = Some(value);
                    continue;
                }
                Meaning::Refused => {
                    return Err(Refusal::new(400, "a header's name has an underscore"));
                }
                Meaning::Dropped => {
                    if trusted {
                        dropped_header::tell(name);
                    }
                    continue;
                }
                Meaning::ContentLength | Meaning::TransferEncoding | Meaning::ScriptName => {
                    continue;
                }
            }
            if known.seen_in == self.request {
                join(py, environ, &known.key, known.meaning, value);
            } else {
                known.seen_in = self.request;
                // `X-A` and `x-a` have one key.
                if known.shares_key && ffi::item(environ, &known.key).is_some() {
                    join(py, environ, &known.key, known.meaning, value);
                } else {
                    let value = known.value(py, value);
                    ffi::set(environ, &known.key, &value);
                }
            }
        }
        Ok((script_name, is_forwarded))
    }

    /// What the proxies told takes the place of what the socket and the request say.
    #[cold]
    fn set_told(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        connection: &Connection,
        told: &Told<'_>,
    ) -> PyResult<()> {
        if told.is_https == Some(true) {
            ffi::set(environ, &self.keys.url_scheme, intern!(py, "https"));
        }
        if let Some(client) = told.client {
            self.set_client(environ, connection, client)?;
        }
        match told.host_with_port() {
            Some(host) => {
                ffi::set(environ, &self.keys.host, &ffi::latin1(py, &host));
                self.set_server(py, environ, &host);
            }
            None if self.is_unix[connection.peer.listener] => {
                let host = connection.head().host(connection.request_bytes());
                self.set_server(py, environ, host);
            }
            None => {}
        }
        Ok(())
    }

    fn set_client(
        &self,
        environ: &Bound<'_, PyDict>,
        connection: &Connection,
        client: Node,
    ) -> PyResult<()> {
        environ.set_item(&self.keys.remote_addr, remote_address(client.address))?;
        match client.port {
            Some(port) => environ.set_item(&self.keys.remote_port, port.to_string())?,
            // The proxy's own port would be taken for the client's.
            None if ffi::item(environ, &self.keys.remote_port).is_some() => {
                environ.del_item(&self.keys.remote_port)?;
            }
            None => {}
        }
        environ.set_item(&self.keys.peer, peer_text(connection.peer.socket))
    }

    fn set_peer(&self, py: Python<'_>, environ: &Bound<'_, PyDict>, connection: &mut Connection) {
        if !connection
            .attachment
            .as_ref()
            .is_some_and(|attachment| attachment.is::<PeerText>())
        {
            connection.attachment = Some(Box::new(PeerText::of(py, &connection.peer)));
        }
        let attachment = connection
            .attachment
            .as_ref()
            .and_then(|attachment| attachment.downcast_ref::<PeerText>());
        if let Some(peer) = attachment {
            ffi::set(environ, &self.keys.remote_addr, peer.address.bind(py));
            if let Some(port) = &peer.port {
                ffi::set(environ, &self.keys.remote_port, port.bind(py));
            }
            if let Some(socket) = &peer.socket {
                ffi::set(environ, &self.keys.peer, socket.bind(py));
            }
        }
    }

    fn set_body(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        connection: &mut Connection,
    ) -> PyResult<()> {
        let length = connection.body().length();
        let input = match connection.take_body() {
            Body::Empty => {
                // `Content-Length: 0` is shown as it came.
                if connection.head().framing == crate::http::Framing::Length(0) {
                    ffi::set(environ, &self.keys.content_length, intern!(py, "0"));
                }
                return Ok(());
            }
            Body::Inline(length) => {
                Input::of_bytes(PyBytes::new(py, connection.inline_body(length)))
            }
            Body::Memory(bytes) => Input::of_bytes(PyBytes::new(py, &bytes)),
            Body::Spooled { file, .. } => Input::of_file(file),
            Body::Arriving(_) => unreachable!("bodies are complete where the app is WSGI"),
        };
        ffi::set(environ, &self.keys.input, Bound::new(py, input)?.as_any());
        let digits = ffi::latin1(py, itoa::Buffer::new().format(length).as_bytes());
        ffi::set(environ, &self.keys.content_length, &digits);
        Ok(())
    }

    /// A UNIX socket has no name and port of its own: the request's Host says them.
    fn set_server(&self, py: Python<'_>, environ: &Bound<'_, PyDict>, host: &[u8]) {
        if host.is_empty() {
            return;
        }
        let (name, port) = match memchr::memrchr(b':', host) {
            Some(colon) if !host.ends_with(b"]") => (&host[..colon], &host[colon + 1..]),
            _ => (host, &[][..]),
        };
        let is_https = ffi::item(environ, &self.keys.url_scheme).is_some_and(|scheme| {
            scheme
                .cast::<PyString>()
                .is_ok_and(|scheme| scheme.to_string_lossy() == "https")
        });
        let default_port: &[u8] = if is_https { b"443" } else { b"80" };
        let port = if port.is_empty() { default_port } else { port };
        ffi::set(environ, &self.keys.server_name, &ffi::latin1(py, name));
        ffi::set(environ, &self.keys.server_port, &ffi::latin1(py, port));
    }
}

/// Adds the value of a repeated header: RFC 9110 section 5.3, and RFC 6265 section 5.4 for cookies.
#[cold]
fn join(
    py: Python<'_>,
    environ: &Bound<'_, PyDict>,
    key: &Py<PyString>,
    meaning: Meaning,
    value: &[u8],
) {
    let separator = if meaning == Meaning::Cookie {
        "; "
    } else {
        ","
    };
    let before = ffi::item(environ, key)
        .map(|before| before.to_string())
        .unwrap_or_default();
    let value: String = value.iter().map(|byte| char::from(*byte)).collect();
    let joined = PyString::new(py, &format!("{before}{separator}{value}"));
    ffi::set(environ, key, &joined);
}

/// Where the environment says that the app is mounted, as Gunicorn's users do: `SCRIPT_NAME=/app`. Asked for once in a worker, after the
/// app was imported. PEP 3333 wants no slash at its end.
fn script_name() -> &'static [u8] {
    static SCRIPT_NAME: OnceLock<Vec<u8>> = OnceLock::new();
    SCRIPT_NAME.get_or_init(|| {
        let value = std::env::var_os("SCRIPT_NAME").unwrap_or_default();
        let mut bytes = value.into_vec();
        while bytes.last() == Some(&b'/') {
            bytes.pop();
        }
        bytes
    })
}

/// The path below a mount point: without its prefix, if it has it. A proxy may have taken it off already.
fn below<'a>(path: &'a [u8], script_name: &[u8]) -> &'a [u8] {
    match path.strip_prefix(script_name) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    }
}

impl PeerText {
    fn of(py: Python<'_>, peer: &Peer) -> Self {
        let text = |text: &str| PyString::new(py, text).unbind();
        let (address, port) = match peer.address {
            PeerAddress::Ip(address) => (
                text(&remote_address(address.ip())),
                Some(text(itoa::Buffer::new().format(address.port()))),
            ),
            PeerAddress::Unix => (text(""), None),
        };
        Self {
            address,
            port,
            socket: (peer.address != peer.socket).then(|| text(&peer_text(peer.socket))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_mount_point_is_taken_off_at_a_slash_only() {
        assert_eq!(below(b"/pre/x", b"/pre"), b"/x");
        assert_eq!(below(b"/pre", b"/pre"), b"");
        assert_eq!(below(b"/prefix/x", b"/pre"), b"/prefix/x");
        assert_eq!(below(b"/x", b"/pre"), b"/x");
    }
}
