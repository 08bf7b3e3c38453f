//! The scope of a request, as ASGI's HTTP specification has it. What is the same for all requests is a template that is copied;
//! headers that come again with the same value are the same objects.

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use crate::{
    config::{HeaderMap, Proxy},
    http::{Refusal, Version, forwarded::Told, percent},
    python::{dropped_header, ffi, header_hash::header_hash},
    sys::net::{self, PeerAddress},
    wire::ListenerAddress,
    worker::{Connection, Forwarding, MADE_DIGITS, Peer, RequestIds, remote_address},
};

/// Header lines kept, a power of two.
const KEPT_HEADERS: usize = 256;
/// Longer ones are made anew each time.
const KEPT_BYTES_MAX: usize = 256;

/// The extension that tells the other end of the socket: `{"address": (ip, port)}`, `None` for a UNIX socket.
const PEER: &str = "rgunicorn.peer";

const SPEC_VERSION: &str = "spec_version";
/// From 2.4 on, Starlette takes it that the next `send` tells when a client has gone, and does not listen for `http.disconnect`
/// while it streams: a stream that has nothing to say for an hour would live on for an hour. `send` tells all the same.
const HTTP_VERSION: &str = "2.3";
const WEBSOCKET_VERSION: &str = "2.5";

struct Keys {
    http_version: Py<PyString>,
    method: Py<PyString>,
    scheme: Py<PyString>,
    path: Py<PyString>,
    raw_path: Py<PyString>,
    query_string: Py<PyString>,
    headers: Py<PyString>,
    client: Py<PyString>,
    server: Py<PyString>,
    state: Py<PyString>,
    asgi: Py<PyString>,
    extensions: Py<PyString>,
    request_id: Py<PyString>,
}

/// Both ends of a connection as the scope shows them, made once per connection.
struct Ends {
    client: Py<PyAny>,
    server: Py<PyAny>,
    /// The other end of the socket, where that is not the client.
    peer: Option<Py<PyAny>>,
}

/// A header line seen before.
struct KeptHeader {
    name: Box<[u8]>,
    value: Box<[u8]>,
    pair: Py<PyAny>,
}

pub(super) struct ScopeBuilder {
    keys: Keys,
    template: Py<PyDict>,
    asgi: Py<PyDict>,
    extensions: Py<PyDict>,
    /// Filled by the app's lifespan; each request gets a copy.
    state: Py<PyDict>,
    root_path: String,
    listeners: Vec<ListenerAddress>,
    header_map: HeaderMap,
    forwarding: Forwarding,
    headers: Box<[Option<KeptHeader>]>,
    decoded: Vec<u8>,
}

impl ScopeBuilder {
    pub(super) fn new(
        py: Python<'_>,
        state: Py<PyDict>,
        root_path: &str,
        listeners: Vec<ListenerAddress>,
        proxy: &Proxy,
        sends_paths: bool,
    ) -> PyResult<Self> {
        let key = |name: &str| PyString::intern(py, name).unbind();
        let keys = Keys {
            http_version: key("http_version"),
            method: key("method"),
            scheme: key("scheme"),
            path: key("path"),
            raw_path: key("raw_path"),
            query_string: key("query_string"),
            headers: key("headers"),
            client: key("client"),
            server: key("server"),
            state: key("state"),
            asgi: key("asgi"),
            extensions: key("extensions"),
            request_id: key("rgunicorn.request_id"),
        };
        let asgi = PyDict::new(py);
        asgi.set_item("version", "3.0")?;
        asgi.set_item(SPEC_VERSION, HTTP_VERSION)?;
        let extensions = PyDict::new(py);
        extensions.set_item("http.response.early_hint", PyDict::new(py))?;
        if sends_paths {
            extensions.set_item("http.response.pathsend", PyDict::new(py))?;
        }
        let template = PyDict::new(py);
        template.set_item("type", intern!(py, "http"))?;
        template.set_item(&keys.http_version, intern!(py, "1.1"))?;
        template.set_item(&keys.method, intern!(py, "GET"))?;
        template.set_item(&keys.scheme, intern!(py, "http"))?;
        template.set_item("root_path", root_path)?;
        template.set_item(&keys.query_string, PyBytes::new(py, b""))?;
        // Places for what each request sets, so that a copy never grows.
        let varying = [
            &keys.asgi,
            &keys.extensions,
            &keys.state,
            &keys.path,
            &keys.raw_path,
            &keys.headers,
            &keys.client,
            &keys.server,
        ];
        for key in varying {
            template.set_item(key, py.None())?;
        }
        Ok(Self {
            keys,
            template: template.unbind(),
            asgi: asgi.unbind(),
            extensions: extensions.unbind(),
            state,
            root_path: root_path.to_owned(),
            listeners,
            header_map: proxy.header_map,
            forwarding: Forwarding::of(proxy),
            headers: std::iter::repeat_with(|| None).take(KEPT_HEADERS).collect(),
            decoded: Vec::new(),
        })
    }

    /// The scope of the connection's request. A refusal: its headers contradict each other, or are not allowed.
    pub(super) fn build<'py>(
        &mut self,
        py: Python<'py>,
        connection: &mut Connection,
        ids: &RequestIds,
    ) -> PyResult<Result<Bound<'py, PyDict>, Refusal>> {
        let scope = self.template.bind(py).copy()?;
        self.make_ends(py, connection)?;
        if connection.request_id.is_some() {
            let mut buffer = [0; MADE_DIGITS];
            let id = ffi::latin1(py, ids.text(connection, &mut buffer));
            ffi::set(&scope, &self.keys.request_id, &id);
        }
        let told = match self.fill(py, &scope, connection)? {
            Ok(told) => told,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(told) = &told {
            self.set_told(py, &scope, connection, told)?;
        }
        connection.client = told.and_then(|told| told.client);
        Ok(Ok(scope))
    }

    /// Returns what the proxies told about the client, if they told anything.
    fn fill<'c>(
        &mut self,
        py: Python<'_>,
        scope: &Bound<'_, PyDict>,
        connection: &'c Connection,
    ) -> PyResult<Result<Option<Told<'c>>, Refusal>> {
        let (bytes, head) = (connection.request_bytes(), connection.head());
        let keys = &self.keys;
        let copied = |dict: &Py<PyDict>| dict.bind(py).copy().map(Bound::into_any);
        ffi::set(scope, &keys.asgi, &copied(&self.asgi)?);
        ffi::set(scope, &keys.extensions, &copied(&self.extensions)?);
        ffi::set(scope, &keys.state, &copied(&self.state)?);
        let method = head.method(bytes);
        if method != b"GET" {
            ffi::set(scope, &keys.method, &ffi::latin1(py, method));
        }
        if head.version == Version::Http10 {
            ffi::set(scope, &keys.http_version, intern!(py, "1.0"));
        }
        let query = head.query(bytes);
        if !query.is_empty() {
            ffi::set(scope, &keys.query_string, &PyBytes::new(py, query));
        }
        self.set_path(py, scope, head.path(bytes))?;
        if let Some(ends) = ends(connection) {
            ffi::set(scope, &self.keys.client, ends.client.bind(py));
            ffi::set(scope, &self.keys.server, ends.server.bind(py));
            if let Some(peer) = &ends.peer {
                self.set_peer(scope, peer.bind(py))?;
            }
        }
        self.set_headers(py, scope, connection)
    }

    /// Makes the scope of a request that of a WebSocket.
    pub(super) fn make_websocket(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyDict>,
        subprotocols: &[String],
    ) -> PyResult<()> {
        scope.set_item(intern!(py, "type"), intern!(py, "websocket"))?;
        if let Some(asgi) = ffi::item(scope, &self.keys.asgi) {
            asgi.set_item(SPEC_VERSION, WEBSOCKET_VERSION)?;
        }
        scope.del_item(&self.keys.method)?;
        let scheme = scope.get_item(&self.keys.scheme)?;
        let is_https = scheme.is_some_and(|scheme| scheme.eq("https").unwrap_or(false));
        scope.set_item(&self.keys.scheme, if is_https { "wss" } else { "ws" })?;
        scope.set_item(intern!(py, "subprotocols"), subprotocols)?;
        let extensions = PyDict::new(py);
        extensions.set_item(intern!(py, "websocket.http.response"), PyDict::new(py))?;
        if let Some(before) = ffi::item(scope, &self.keys.extensions)
            && let Ok(peer) = before.get_item(PEER)
        {
            extensions.set_item(PEER, peer)?;
        }
        scope.set_item(&self.keys.extensions, extensions)
    }

    /// The mount point stands before the path in both: a request target is below it.
    fn set_path(&mut self, py: Python<'_>, scope: &Bound<'_, PyDict>, raw: &[u8]) -> PyResult<()> {
        let path = percent::decode(raw, &mut self.decoded);
        let (path, raw_path) = if self.root_path.is_empty() {
            let text = match path.is_ascii() {
                true => ffi::latin1(py, path),
                false => PyString::new(py, &String::from_utf8_lossy(path)),
            };
            (text, PyBytes::new(py, raw))
        } else {
            let text = format!("{}{}", self.root_path, String::from_utf8_lossy(path));
            let raw = [self.root_path.as_bytes(), raw].concat();
            (PyString::new(py, &text), PyBytes::new(py, &raw))
        };
        ffi::set(scope, &self.keys.path, &path);
        ffi::set(scope, &self.keys.raw_path, &raw_path);
        Ok(())
    }

    /// Sets the headers; returns what the proxies told about the client, if they told anything.
    fn set_headers<'c>(
        &mut self,
        py: Python<'_>,
        scope: &Bound<'_, PyDict>,
        connection: &'c Connection,
    ) -> PyResult<Result<Option<Told<'c>>, Refusal>> {
        let (bytes, head) = (connection.request_bytes(), connection.head());
        let list = PyList::empty(py);
        let mut host_index = None;
        let mut is_forwarded = false;
        for (name, mut value) in head.fields(bytes) {
            if name.contains(&b'_') {
                match self.header_map {
                    HeaderMap::Keep => {}
                    HeaderMap::Drop => {
                        if connection.peer.trusted {
                            dropped_header::tell(name);
                        }
                        continue;
                    }
                    HeaderMap::Refuse => {
                        let refusal = Refusal::new(400, "a header's name has an underscore");
                        return Ok(Err(refusal));
                    }
                }
            }
            if name.len() == 4 && name.eq_ignore_ascii_case(b"host") {
                // An absolute request target has the last word.
                value = head.host(bytes);
                host_index = Some(list.len());
            }
            is_forwarded |= connection.peer.trusted && self.forwarding.concerns(name);
            list.append(self.header(py, name, value)?)?;
        }
        ffi::set(scope, &self.keys.headers, &list);
        if !is_forwarded {
            return Ok(Ok(None));
        }
        let told = match self.forwarding.read(connection) {
            Ok(told) => told,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(host) = told.host_with_port() {
            let header = self.header(py, b"host", &host)?;
            match host_index {
                Some(index) => list.set_item(index, header)?,
                None => list.append(header)?,
            }
        }
        Ok(Ok(Some(told)))
    }

    /// What the proxies told takes the place of what the socket and the request say.
    #[cold]
    fn set_told(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyDict>,
        connection: &Connection,
        told: &Told<'_>,
    ) -> PyResult<()> {
        if told.is_https == Some(true) {
            ffi::set(scope, &self.keys.scheme, intern!(py, "https"));
        }
        if let Some(client) = told.client {
            let address = remote_address(client.address);
            let port = client.port.unwrap_or(0);
            scope.set_item(&self.keys.client, (address, port))?;
            self.set_peer(scope, &ip_and_port(py, connection.peer.socket)?)?;
        }
        Ok(())
    }

    /// Says who is at the other end of the socket where that is not the client.
    fn set_peer(&self, scope: &Bound<'_, PyDict>, address: &Bound<'_, PyAny>) -> PyResult<()> {
        let extension = PyDict::new(scope.py());
        extension.set_item("address", address)?;
        match ffi::item(scope, &self.keys.extensions) {
            Some(extensions) => extensions.set_item(PEER, extension),
            None => Ok(()),
        }
    }

    /// `(name, value)`, the name in lower case.
    fn header<'py>(
        &mut self,
        py: Python<'py>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        let slot = &mut self.headers[header_hash(name) % KEPT_HEADERS];
        if let Some(kept) = slot
            && *kept.name == *name
            && *kept.value == *value
        {
            return Ok(kept.pair.bind(py).clone());
        }
        let lower = name.to_ascii_lowercase();
        let pair = PyTuple::new(py, [PyBytes::new(py, &lower), PyBytes::new(py, value)])?;
        if name.len() + value.len() <= KEPT_BYTES_MAX {
            *slot = Some(KeptHeader {
                name: name.into(),
                value: value.into(),
                pair: pair.clone().into_any().unbind(),
            });
        }
        Ok(pair.into_any())
    }

    fn make_ends(&self, py: Python<'_>, connection: &mut Connection) -> PyResult<()> {
        if ends(connection).is_some() {
            return Ok(());
        }
        let Peer {
            address, socket, ..
        } = connection.peer;
        let peer = match address == socket {
            true => None,
            false => Some(ip_and_port(py, socket)?.unbind()),
        };
        let server = match &self.listeners[connection.peer.listener] {
            ListenerAddress::Tcp(listener) => {
                let reached = listener
                    .ip()
                    .is_unspecified()
                    .then(|| net::local_address(connection.socket()));
                let address = match reached {
                    Some(Ok(PeerAddress::Ip(address))) => address,
                    _ => *listener,
                };
                (remote_address(address.ip()), address.port())
                    .into_pyobject(py)?
                    .into_any()
                    .unbind()
            }
            ListenerAddress::Unix(path) => (path.as_str(), py.None())
                .into_pyobject(py)?
                .into_any()
                .unbind(),
        };
        connection.attachment = Some(Box::new(Ends {
            client: ip_and_port(py, address)?.unbind(),
            server,
            peer,
        }));
        Ok(())
    }
}

fn ends(connection: &Connection) -> Option<&Ends> {
    connection
        .attachment
        .as_ref()
        .and_then(|attachment| attachment.downcast_ref::<Ends>())
}

/// `(address, port)`; `None` for a UNIX socket.
fn ip_and_port(py: Python<'_>, address: PeerAddress) -> PyResult<Bound<'_, PyAny>> {
    Ok(match address {
        PeerAddress::Ip(address) => (remote_address(address.ip()), address.port())
            .into_pyobject(py)?
            .into_any(),
        PeerAddress::Unix => py.None().into_bound(py),
    })
}
