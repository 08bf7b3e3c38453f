//! What happens to one connection: its request is received, a refusal or a response is sent, and it goes on or ends.

use std::{io, time::Duration};

use super::{Outcome, Reactor, Refused, drain::STOP_IDLE_MS};
use crate::{
    http::{Refusal, RequestHead, date, response},
    sys::{self, Readiness, net},
    worker::{
        connection::{Connection, Stage, Step},
        output::{Sent, TURN_BYTES_MAX},
    },
};

/// Receives on one connection before the others get their turn.
const RECEIVES_MAX: usize = 4;
/// How long a client may go on sending after our last answer. It may be in the middle of an upload, and many look for an
/// answer only when all is sent.
const LINGER_MS_MAX: u64 = 10_000;
/// How long it may be silent meanwhile.
const LINGER_SILENCE_MS: u64 = 1_000;
/// What is kept for the log of the first line of a request that is refused.
const REFUSED_LINE_BYTES_MAX: usize = 1024;

impl Reactor {
    pub(super) fn progress(
        &mut self,
        connection: &mut Connection,
        readiness: Readiness,
    ) -> Outcome {
        connection.end_was_announced |= readiness.has_ended();
        if !connection.output.is_empty() {
            return self.flush(connection, readiness);
        }
        match connection.stage {
            _ if !readiness.can_read() => Outcome::Wait,
            Stage::Lingering { .. } => self.linger(connection),
            _ if connection.stage.awaits_input() => self.receive(connection),
            _ => Outcome::Wait,
        }
    }

    /// Reads a request as far as it has come.
    pub(super) fn receive(&mut self, connection: &mut Connection) -> Outcome {
        for _ in 0..RECEIVES_MAX {
            let was_idle = matches!(connection.stage, Stage::Idle);
            let more = match connection.receive() {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.unread = false;
                    return Outcome::Wait;
                }
                Err(_) => return Outcome::Close,
            };
            // No event tells of an end that was told already.
            connection.unread = more || connection.end_was_announced;
            match self.advance(connection, was_idle) {
                Outcome::Wait if connection.end_was_read => return self.end_of_input(connection),
                Outcome::Wait if connection.unread => {}
                outcome => return outcome,
            }
        }
        self.again.push(connection.token);
        Outcome::Wait
    }

    /// Parses what was received, and sets the deadline for what is to come.
    pub(super) fn advance(&mut self, connection: &mut Connection, was_idle: bool) -> Outcome {
        match connection.advance(&self.settings.limits) {
            Step::Request => {
                connection.request_began_ns = self.now_ns;
                // The app's turn: an event loop has deadlines of its own.
                connection.deadline_ms = u64::MAX;
                return Outcome::Job;
            }
            Step::Introduction => return self.be_introduced(connection),
            Step::Refuse(refusal) => {
                connection.client = self.settings.told_client(connection);
                return self.refuse(connection, refusal);
            }
            Step::Fail(error) => {
                crate::error!(
                    "{} cannot buffer a request body in {}: {error}",
                    self.who(),
                    std::env::temp_dir().display()
                );
                return self.refuse(
                    connection,
                    Refusal::new(500, "the request body could not be buffered"),
                );
            }
            Step::Input => {}
        }
        if was_idle && !connection.is_idle() {
            connection.request_began_ns = self.now_ns;
        }
        match connection.stage {
            Stage::Head(_) if was_idle => {
                connection.deadline_ms = self.now_ms + self.settings.header_ms
            }
            Stage::InlineBody { .. } | Stage::Body(_) => {
                connection.deadline_ms = self.now_ms + self.settings.body_ms
            }
            _ => {}
        }
        if connection.take_continue() {
            connection.output.push_bytes(response::CONTINUE);
            return self.flush(connection, Readiness::NONE);
        }
        Outcome::Wait
    }

    /// The peer sends no more and its request is not complete.
    pub(super) fn end_of_input(&mut self, connection: &mut Connection) -> Outcome {
        match connection.stage {
            Stage::Head(_) if !RequestHead::has_begun(connection.request_bytes()) => Outcome::Close,
            Stage::Head(_) | Stage::InlineBody { .. } | Stage::Body(_) => {
                self.refuse(connection, Refusal::new(400, "the request was cut short"))
            }
            Stage::Introduction if !connection.is_idle() => self.refuse(
                connection,
                Refusal::new(400, "the PROXY protocol header was cut short"),
            ),
            _ => Outcome::Close,
        }
    }

    pub(super) fn refuse(&mut self, connection: &mut Connection, refusal: Refusal) -> Outcome {
        let line = connection
            .request_bytes()
            .split(|byte| *byte == b'\r' || *byte == b'\n')
            .next()
            .unwrap_or_default();
        // Of a request that is malformed no more may be known.
        let is_head = line.starts_with(b"HEAD ");
        let mut answer = Vec::new();
        let date = date::format(sys::unix_seconds());
        let body_bytes = refusal.write_answer(&mut answer, &date, is_head, |_| {});
        let line = line[..line.len().min(REFUSED_LINE_BYTES_MAX)].to_vec();
        connection.output.push_bytes(&answer);
        answer.truncate(answer.len() - body_bytes);
        let began_ns = connection.request_began_ns;
        let refused = Refused {
            peer: connection.peer,
            client: connection.client,
            refusal,
            line,
            answer_head: answer,
            body_bytes: body_bytes as u64,
            lasted: match began_ns {
                0 => Duration::ZERO,
                _ => Duration::from_nanos(self.now_ns.saturating_sub(began_ns)),
            },
        };
        self.count_refused(&refused);
        self.refused.push(refused);
        connection.stage = Stage::Replying { then_close: true };
        connection.unread = true;
        self.flush(connection, Readiness::NONE)
    }

    /// Sends what is pending; then the connection goes on as its stage says.
    pub(super) fn flush(&mut self, connection: &mut Connection, readiness: Readiness) -> Outcome {
        if readiness.is_broken() {
            return Outcome::Close;
        }
        let sent = connection.flush(TURN_BYTES_MAX);
        connection.unread |= readiness.can_read();
        let Ok(sent) = sent else {
            return Outcome::Close;
        };
        if sent == Sent::AsMuchAsAllowed {
            self.again.push(connection.token);
        }
        if sent != Sent::All {
            if sent != Sent::Nothing || connection.deadline_ms == u64::MAX {
                connection.deadline_ms = self.now_ms + self.settings.write_ms;
            }
            return Outcome::Wait;
        }
        match connection.stage {
            Stage::Replying { then_close } => self.after_reply(connection, then_close),
            // An interim response is out; the request goes on.
            _ if connection.unread => self.receive(connection),
            _ => Outcome::Wait,
        }
    }

    /// The response is out.
    pub(super) fn after_reply(&mut self, connection: &mut Connection, then_close: bool) -> Outcome {
        if then_close || (connection.end_was_read && !connection.has_pipelined()) {
            let may_have_more = connection.unread || connection.has_pipelined();
            return if may_have_more && !connection.end_was_read {
                self.start_lingering(connection)
            } else {
                Outcome::Close
            };
        }
        connection.finish_request();
        connection.deadline_ms = self.now_ms + self.settings.keepalive_ms;
        connection.idle_since_ms = self.now_ms;
        match self.advance(connection, true) {
            Outcome::Wait if connection.end_was_read => return self.end_of_input(connection),
            Outcome::Wait => {}
            outcome => return outcome,
        }
        if connection.unread {
            return self.receive(connection);
        }
        if self.hands_over(connection) {
            return Outcome::HandOver;
        }
        if self.is_closing() && connection.is_movable() {
            connection.deadline_ms = connection.deadline_ms.min(self.now_ms + STOP_IDLE_MS);
        }
        Outcome::Wait
    }

    pub(super) fn start_lingering(&mut self, connection: &mut Connection) -> Outcome {
        net::shut_down_writing(connection.socket());
        connection.stage = Stage::Lingering {
            until_ms: self.now_ms + LINGER_MS_MAX,
        };
        connection.deadline_ms = self.now_ms + LINGER_SILENCE_MS;
        connection.discard_input();
        self.linger(connection)
    }

    pub(super) fn linger(&mut self, connection: &mut Connection) -> Outcome {
        let Stage::Lingering { until_ms } = connection.stage else {
            return Outcome::Close;
        };
        for _ in 0..RECEIVES_MAX {
            let received = connection.receive();
            connection.discard_input();
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Wait,
                Ok(_) if !connection.end_was_read => {
                    connection.deadline_ms = until_ms.min(self.now_ms + LINGER_SILENCE_MS);
                }
                Ok(_) | Err(_) => return Outcome::Close,
            }
        }
        self.again.push(connection.token);
        Outcome::Wait
    }

    /// The current stage lasted too long. What came in time may be unread still, and what the client made room for unsent:
    /// nobody could have served it, or the app blocked the loop.
    pub(super) fn expire(&mut self, connection: &mut Connection) -> Outcome {
        if !connection.output.is_empty() {
            match self.flush(connection, Readiness::NONE) {
                Outcome::Wait if connection.deadline_ms <= self.now_ms => {}
                outcome => return outcome,
            }
        }
        if self.waits_unread(connection) {
            connection.deadline_ms = self.now_ms + STOP_IDLE_MS;
            return Outcome::Wait;
        }
        if connection.stage.awaits_input() {
            match self.receive(connection) {
                Outcome::Wait if connection.deadline_ms <= self.now_ms => {}
                outcome => return outcome,
            }
        }
        match connection.stage {
            Stage::Head(_) if RequestHead::has_begun(connection.request_bytes()) => {
                self.refuse(connection, Refusal::HEAD_TIMEOUT)
            }
            Stage::InlineBody { .. } | Stage::Body(_) => {
                connection.client = self.settings.told_client(connection);
                self.refuse(connection, Refusal::BODY_TIMEOUT)
            }
            Stage::Introduction if !connection.is_idle() => {
                self.refuse(connection, Refusal::HEAD_TIMEOUT)
            }
            Stage::Introduction
            | Stage::Idle
            | Stage::Head(_)
            | Stage::Request
            | Stage::Replying { .. }
            | Stage::Lingering { .. } => Outcome::Close,
        }
    }
}
