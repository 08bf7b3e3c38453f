//! Before the first request of a connection: the PROXY protocol, by which a load balancer tells whom it speaks for.

use super::{Outcome, Reactor};
use crate::{
    http::{Refusal, proxy_protocol},
    sys::net::PeerAddress,
    telemetry::OnceAMinute,
    worker::connection::Connection,
};

/// Strangers may come in any number.
static STRANGER: OnceAMinute = OnceAMinute::new();

impl Reactor {
    /// Reads the header as far as it has come. The deadline stays that of a new connection.
    pub(super) fn be_introduced(&mut self, connection: &mut Connection) -> Outcome {
        let Some(versions) = self.settings.proxy_protocol else {
            // Another generation expected a header when it accepted this connection; the configuration wants none any more.
            connection.introduce(connection.peer, 0);
            return self.advance(connection, true);
        };
        if connection.is_idle() {
            return Outcome::Wait;
        }
        if !self.settings.may_introduce(connection.peer.socket) {
            self.tell_of_stranger(connection.peer.socket);
            let detail = "this address may not speak the PROXY protocol";
            return self.refuse(connection, Refusal::new(403, detail));
        }
        match proxy_protocol::parse(connection.request_bytes(), versions) {
            Ok(None) => Outcome::Wait,
            Ok(Some((speaker, length))) => {
                let peer = connection.peer;
                let peer = self
                    .settings
                    .peer(peer.listener, peer.socket, speaker.into());
                connection.introduce(peer, length);
                match self.advance(connection, true) {
                    Outcome::Wait if self.hands_over(connection) => Outcome::HandOver,
                    outcome => outcome,
                }
            }
            Err(refusal) => self.refuse(connection, refusal),
        }
    }

    fn tell_of_stranger(&self, socket: PeerAddress) {
        let PeerAddress::Ip(address) = socket else {
            return;
        };
        if STRANGER.claim() {
            crate::warning!(
                "{} refused a connection from {}, which is not in proxy.protocol_allow_ips",
                self.who(),
                address.ip()
            );
        }
    }
}
