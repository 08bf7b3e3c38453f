//! From a connection and its response to a record of the access log.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    connection::Connection, peer::Peer, reactor::Refused, request_id::MADE_DIGITS, station::Station,
};
use crate::{
    sys::{self, net::PeerAddress},
    telemetry::AccessRecord,
};

/// What the app answered.
pub struct Answered<'a> {
    pub status: u16,
    /// Bytes of body.
    pub bytes: u64,
    /// The response head as sent.
    pub head: &'a [u8],
    /// The variables of the environ that the format asks for.
    pub environ: &'a [(String, Vec<u8>)],
}

/// Logs a request that the app answered.
pub fn log_answered(station: &Station, connection: &Connection, answered: &Answered<'_>) {
    let log = &station.access_log;
    if !log.is_on() {
        return;
    }
    let request = connection.request_bytes();
    let head = connection.head();
    if station.excluded.covers(head.path(request), answered.status) {
        return;
    }
    let find_request_header = |name: &str| {
        let mut fields = head.fields(request);
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    };
    let find_response_header = |name: &str| find_field(answered.head, name.as_bytes());
    let answered_ns = connection.answered_ns();
    let find_variable = |name: &str| {
        let mut variables = answered.environ.iter();
        variables
            .find(|(variable, _)| variable == name)
            .map(|(_, value)| &value[..])
    };
    let mut request_id = [0; MADE_DIGITS];
    let record = AccessRecord {
        remote_address: client_ip(
            connection.client.map(|client| client.address),
            &connection.peer,
        ),
        peer: ip(connection.peer.socket),
        line: head.line(request),
        method: head.method(request),
        path: head.path(request),
        query: head.query(request),
        protocol: head.version.as_str(),
        status: answered.status,
        bytes: answered.bytes,
        request_id: station.request_ids.text(connection, &mut request_id),
        duration: Duration::from_nanos(answered_ns.saturating_sub(connection.request_began_ns)),
        finished_us: station.wall_clock.micros_at(answered_ns),
        request_header: &find_request_header,
        response_header: &find_response_header,
        environ: &find_variable,
    };
    log.push(&record, Instant::now);
}

/// Logs a request that never reached the app.
pub(super) fn log_refused(station: &Station, refused: &Refused) {
    let log = &station.access_log;
    if !log.is_on() {
        return;
    }
    let mut words = refused.line.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target) = (word(), word());
    let mut path_and_query = target.splitn(2, |byte| *byte == b'?');
    let record = AccessRecord {
        remote_address: client_ip(refused.client.map(|client| client.address), &refused.peer),
        peer: ip(refused.peer.socket),
        line: &refused.line,
        method,
        path: path_and_query.next().unwrap_or_default(),
        query: path_and_query.next().unwrap_or_default(),
        protocol: std::str::from_utf8(word()).unwrap_or_default(),
        status: refused.refusal.status,
        bytes: refused.body_bytes,
        request_id: b"",
        duration: refused.lasted,
        finished_us: sys::unix_micros(),
        request_header: &|_| None,
        response_header: &|name| find_field(&refused.answer_head, name.as_bytes()),
        environ: &|_| None,
    };
    log.push(&record, Instant::now);
}

/// The value of a field in a response head that we wrote.
pub(super) fn find_field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let mut fields = lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The client's address if proxies told it, else the peer's.
fn client_ip(client: Option<IpAddr>, peer: &Peer) -> Option<IpAddr> {
    let told = client.map(|address| address.to_canonical());
    told.or_else(|| ip(peer.address).map(|address| address.ip()))
}

/// An IPv4 client of an IPv6 socket as IPv4.
fn ip(address: PeerAddress) -> Option<SocketAddr> {
    match address {
        PeerAddress::Ip(address) => {
            Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        PeerAddress::Unix => None,
    }
}

/// An address as `REMOTE_ADDR` shows it: an IPv4 client of an IPv6 socket as IPv4.
pub fn remote_address(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The other end of a socket as `rgunicorn.peer` shows it: `10.0.0.5:4711`, or `unix`.
pub fn peer_text(socket: PeerAddress) -> String {
    ip(socket).map_or_else(|| "unix".to_owned(), |address| address.to_string())
}
