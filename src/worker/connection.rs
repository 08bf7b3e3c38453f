//! One client connection: what was received, how far its request is, and what is still to be sent.
//!
//! A connection is owned by exactly one party: by the reactor while it waits for its peer, by the thread that runs the
//! app while its request is there. It knows no epoll and no other connection. See LIFECYCLE.md for the stages.

use std::{
    any::Any,
    cell::Cell,
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{
    body::{Body, BodyError, BodyReceiver, INLINE_BYTES_MAX},
    output::{Output, Sent},
    peer::{Introduction, Peer},
    request_id::RequestId,
};
use crate::{
    http::{BodyDecoder, Framing, HeadLimits, Progress, Refusal, RequestHead, forwarded::Node},
    sys::{self, Unshared, net},
};

/// Room made in an empty input buffer; a request of this size is received in one call.
const INPUT_BYTES: usize = 16 * 1024;
/// Room made for a piece of a body that does not stay in the input buffer.
const STREAM_BYTES: usize = 64 * 1024;
/// The least room for a receive.
const ROOM_BYTES_MIN: usize = 4 * 1024;
/// An input buffer that grew beyond this gives its memory back after the request.
const INPUT_BYTES_KEPT: usize = 64 * 1024;

/// How far a connection is.
#[derive(Debug)]
pub enum Stage {
    /// The header of the PROXY protocol is awaited, or a part of it was received.
    Introduction,
    /// Between requests; no byte of the next one was received. Only such a connection can be handed over.
    Idle,
    /// A part of a head was received. It is bounded by what was in force when it began.
    Head(HeadLimits),
    /// The head is complete; its body of known length is gathered in the input buffer.
    InlineBody { length: usize },
    /// The head is complete; its body is decoded out of the input buffer.
    Body(Box<BodyReceiver>),
    /// The request is complete and with the app, or about to be.
    Request,
    /// The response is complete but not all sent. Then the connection closes, or goes on.
    Replying { then_close: bool },
    /// We closed our side and read away what the client still sends, so that it sees our last answer and no reset.
    /// Milliseconds of CLOCK_MONOTONIC at which that ends whatever it sends.
    Lingering { until_ms: u64 },
}

impl Stage {
    /// Whether bytes of the peer are what it goes on with.
    pub fn awaits_input(&self) -> bool {
        match self {
            Self::Introduction
            | Self::Idle
            | Self::Head(_)
            | Self::InlineBody { .. }
            | Self::Body(_) => true,
            Self::Request | Self::Replying { .. } | Self::Lingering { .. } => false,
        }
    }
}

/// What has come of a streamed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Some, and whether that was the end of it.
    Content { complete: bool },
    /// Nothing yet.
    Nothing,
    /// The connection ended before the body did.
    End,
}

/// What a connection needs next.
#[derive(Debug)]
pub enum Step {
    /// More bytes of the peer.
    Input,
    /// The PROXY protocol's header stands at [`Connection::request_bytes`], or the first bytes of it.
    Introduction,
    /// The request is complete: [`Connection::head`], [`Connection::take_body`].
    Request,
    /// The request is not acceptable.
    Refuse(Refusal),
    /// Our own failure; the client gets a 500.
    Fail(io::Error),
}

pub struct Connection {
    socket: Unshared,
    pub token: u64,
    pub peer: Peer,
    /// The client of the current request, when a trusted proxy told another than the peer.
    pub client: Option<Node>,
    pub stage: Stage,
    /// Received; what lies before `start` is used up.
    input: Vec<u8>,
    start: usize,
    head: RequestHead,
    body: Body,
    pub output: Output,
    /// The peer sends no more, and all that it sent was received.
    pub end_was_read: bool,
    /// epoll reports its events.
    pub is_registered: Cell<bool>,
    /// The last receive left something behind, so no event will tell of it.
    pub unread: bool,
    /// Milliseconds of CLOCK_MONOTONIC at which the current stage has lasted too long; `u64::MAX`: never.
    pub deadline_ms: u64,
    /// When it began to wait for a request, milliseconds of CLOCK_MONOTONIC; means nothing in other stages.
    pub idle_since_ms: u64,
    /// When the current request could go to the app, CLOCK_MONOTONIC nanoseconds; before that, when its first byte came, and
    /// 0 if all that came was looked at once.
    pub request_began_ns: u64,
    /// When the app was called for it.
    pub app_began_ns: u64,
    /// When it was answered; 0: nobody has asked the clock yet. See [`Connection::answered_ns`].
    answered_ns: Cell<u64>,
    /// Bytes that were received and not taken note of yet.
    received: u64,
    pub continue_sent: bool,
    /// The entry of the scoreboard that shows the current request.
    pub shown_at: u8,
    /// The app gets bodies as they arrive: a request is complete when its head is.
    pub streams: bool,
    /// The kernel said that the peer sends no more; what it sent before may still be unread.
    pub end_was_announced: bool,
    /// The app has taken the socket and speaks on it what it likes: nothing else is sent or received before that is over.
    pub is_taken: bool,
    /// Of the current request, where ids are wanted.
    pub request_id: Option<RequestId>,
    /// What the gateway keeps with a connection (its peer as Python strings).
    pub attachment: Option<Box<dyn Any + Send>>,
}

impl Connection {
    pub fn new(socket: OwnedFd, token: u64, peer: Peer) -> Self {
        Self {
            socket: Unshared::new(socket),
            token,
            peer,
            client: None,
            stage: match peer.introduction {
                Introduction::Awaited => Stage::Introduction,
                Introduction::None | Introduction::Client(_) | Introduction::Unknown => Stage::Idle,
            },
            input: Vec::new(),
            start: 0,
            head: RequestHead::default(),
            body: Body::Empty,
            output: Output::default(),
            end_was_read: false,
            is_registered: Cell::new(false),
            unread: false,
            deadline_ms: u64::MAX,
            idle_since_ms: 0,
            request_began_ns: 0,
            app_began_ns: 0,
            answered_ns: Cell::new(0),
            received: 0,
            continue_sent: false,
            shown_at: u8::MAX,
            streams: false,
            end_was_announced: false,
            is_taken: false,
            request_id: None,
            attachment: None,
        }
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The head of the current request; its spans point into [`Connection::request_bytes`].
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Whether the response to the current request has no body whatever it says: RFC 9110 section 9.3.2.
    pub fn is_head(&self) -> bool {
        self.head.is_head(self.request_bytes())
    }

    /// The input from the first byte of the current request on.
    pub fn request_bytes(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// When the request was answered, CLOCK_MONOTONIC nanoseconds: as noted, else now, which is noted.
    pub(super) fn answered_ns(&self) -> u64 {
        if self.answered_ns.get() == 0 {
            self.note_answered(sys::monotonic_ns());
        }
        self.answered_ns.get()
    }

    /// The request is answered, by a clock that was read anyway.
    pub fn note_answered(&self, now_ns: u64) {
        self.answered_ns.set(now_ns);
    }

    /// As [`Connection::answered_ns`]; for the next request it is not known.
    pub(super) fn take_answered_ns(&self) -> u64 {
        let answered_ns = self.answered_ns();
        self.answered_ns.set(0);
        answered_ns
    }

    /// `GET /path`, for the log.
    pub fn described(&self) -> String {
        let (head, bytes) = (self.head(), self.request_bytes());
        let text = |part| String::from_utf8_lossy(part);
        format!("{} {}", text(head.method(bytes)), text(head.target(bytes)))
    }

    /// The bytes of an inline body.
    pub fn inline_body(&self, length: usize) -> &[u8] {
        &self.request_bytes()[self.head.length..self.head.length + length]
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Takes a body that is not inline; an inline one stays with the input.
    pub fn take_body(&mut self) -> Body {
        match self.body {
            Body::Inline(length) => Body::Inline(length),
            Body::Empty | Body::Memory(_) | Body::Spooled { .. } | Body::Arriving(_) => {
                std::mem::take(&mut self.body)
            }
        }
    }

    /// Whether bytes of a further request were received already.
    pub fn has_pipelined(&self) -> bool {
        self.input.len() > self.start + self.request_length()
    }

    /// Whether nothing of a request was received, nor of what comes before the first.
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Introduction) && self.input.is_empty()
    }

    /// The connection was introduced by the first `length` bytes of its input.
    pub fn introduce(&mut self, peer: Peer, length: usize) {
        self.peer = peer;
        self.start += length;
        self.stage = Stage::Idle;
        if self.start == self.input.len() {
            self.start = 0;
            self.input.clear();
        }
    }

    /// Whether the whole state of the connection is in its socket and its introduction, so that another process can take it.
    pub fn is_movable(&self) -> bool {
        self.is_idle() && self.output.is_empty() && !self.end_was_read
    }

    /// Whether going on with it may read or write a file.
    pub fn touches_files(&self) -> bool {
        matches!(self.stage, Stage::Body(_)) || self.output.reads_files()
    }

    /// Receives once. `Ok(true)`: there may be more to receive.
    pub fn receive(&mut self) -> io::Result<bool> {
        self.make_room();
        let room = self.input.capacity() - self.input.len();
        let count = net::receive(self.socket.as_fd(), &mut self.input)?;
        self.end_was_read = count == 0;
        self.received += count as u64;
        Ok(count == room)
    }

    /// Receives once into a buffer of the caller's; 0 means the end of the stream. For what is not HTTP.
    pub fn receive_into(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let count = net::receive(self.socket.as_fd(), buffer)?;
        self.received += count as u64;
        Ok(count)
    }

    /// Sends what the socket takes now, ahead of what waits in `output`, which has to be empty for that.
    pub fn send(&mut self, bytes: &[u8], next: net::Next) -> io::Result<usize> {
        let sent = net::send(self.socket.as_fd(), bytes, next)?;
        self.output.note_sent(sent);
        Ok(sent)
    }

    /// As [`Connection::send`], several slices as one.
    pub fn send_vectored(&mut self, slices: &[IoSlice<'_>], next: net::Next) -> io::Result<usize> {
        let sent = net::send_vectored(self.socket.as_fd(), slices, next)?;
        self.output.note_sent(sent);
        Ok(sent)
    }

    /// Sends what waits, up to `most` bytes.
    pub fn flush(&mut self, most: u64) -> io::Result<Sent> {
        self.output.send(most, self.socket.as_fd())
    }

    /// Bytes received and sent since this was last asked.
    pub fn take_traffic(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.received), self.output.take_sent())
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        let wanted = match self.stage {
            Stage::InlineBody { length } => (self.head.length + length)
                .saturating_sub(self.input.len())
                .max(ROOM_BYTES_MIN),
            Stage::Body(_) => STREAM_BYTES,
            Stage::Request if matches!(self.body, Body::Arriving(_)) => STREAM_BYTES,
            _ if self.input.is_empty() => INPUT_BYTES,
            _ => ROOM_BYTES_MIN,
        };
        self.input.reserve(wanted);
    }

    /// Goes as far as the received bytes allow.
    pub fn advance(&mut self, limits: &HeadLimits) -> Step {
        loop {
            let step = match &mut self.stage {
                Stage::Introduction => Ok(Some(Step::Introduction)),
                Stage::Idle if self.input.len() == self.start => Ok(Some(Step::Input)),
                // An empty line before a request is no part of it: RFC 9112 section 2.2.
                Stage::Idle if self.input[self.start..] == *b"\r\n" => {
                    self.input.clear();
                    self.start = 0;
                    Ok(Some(Step::Input))
                }
                Stage::Idle => {
                    self.stage = Stage::Head(*limits);
                    Ok(None)
                }
                Stage::Head(limits) => {
                    let limits = *limits;
                    self.advance_head(&limits)
                }
                Stage::InlineBody { length } => {
                    let length = *length;
                    Ok(Some(self.advance_inline_body(length)))
                }
                Stage::Body(_) => self.advance_body().map(Some),
                Stage::Request => Ok(Some(Step::Request)),
                Stage::Replying { .. } | Stage::Lingering { .. } => Ok(Some(Step::Input)),
            };
            match step {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(BodyError::Refused(refusal)) => return Step::Refuse(refusal),
                Err(BodyError::Spool(error)) => return Step::Fail(error),
            }
        }
    }

    fn advance_head(&mut self, limits: &HeadLimits) -> Result<Option<Step>, BodyError> {
        let progress = self
            .head
            .parse(&self.input[self.start..], limits)
            .map_err(BodyError::Refused)?;
        if progress == Progress::Partial {
            return Ok(Some(Step::Input));
        }
        if self.awaits_segments() {
            net::acknowledge(self.socket.as_fd());
        }
        self.stage = match self.head.framing {
            Framing::None | Framing::Length(0) => {
                self.body = Body::Empty;
                Stage::Request
            }
            framing if self.streams => {
                self.body = self.streamed_body(framing, limits);
                Stage::Request
            }
            Framing::Length(length) if length <= INLINE_BYTES_MAX => Stage::InlineBody {
                length: length as usize,
            },
            Framing::Length(_) | Framing::Chunked => Stage::Body(Box::new(BodyReceiver::new(
                BodyDecoder::new(self.head.framing, limits),
            ))),
        };
        Ok(None)
    }

    /// Whether the head came without its body, or without all of it.
    fn awaits_segments(&self) -> bool {
        let received = &self.request_bytes()[self.head.length..];
        match self.head.framing {
            Framing::None => false,
            Framing::Length(length) => length > received.len() as u64,
            Framing::Chunked => !received.ends_with(b"0\r\n\r\n"),
        }
    }

    /// A body that is there already is taken as it lies.
    fn streamed_body(&self, framing: Framing, limits: &HeadLimits) -> Body {
        let received = self.input.len() - self.start - self.head.length;
        match framing {
            Framing::Length(length) if length <= received as u64 => Body::Inline(length as usize),
            framing => Body::Arriving(Box::new(BodyDecoder::new(framing, limits))),
        }
    }

    fn advance_inline_body(&mut self, length: usize) -> Step {
        if self.input.len() < self.start + self.head.length + length {
            return Step::Input;
        }
        self.body = Body::Inline(length);
        self.stage = Stage::Request;
        Step::Request
    }

    fn advance_body(&mut self) -> Result<Step, BodyError> {
        let Stage::Body(receiver) = &mut self.stage else {
            unreachable!("the caller looked at the stage")
        };
        let body_start = self.start + self.head.length;
        let (consumed, is_complete) = receiver.receive(&self.input[body_start..])?;
        self.input.drain(body_start..body_start + consumed);
        if !is_complete {
            return Ok(Step::Input);
        }
        let Stage::Body(receiver) = std::mem::replace(&mut self.stage, Stage::Request) else {
            unreachable!("as above")
        };
        self.body = receiver.finish().map_err(BodyError::Spool)?;
        Ok(Step::Request)
    }

    /// Decodes what has come of a streamed body into `content`; receives at most once, so the client is read no faster than
    /// the app asks.
    pub fn receive_body(&mut self, content: &mut Vec<u8>) -> Result<Arrival, Refusal> {
        let mut has_received = false;
        loop {
            let body_start = self.start + self.head.length;
            let Body::Arriving(decoder) = &mut self.body else {
                return Ok(Arrival::Content { complete: true });
            };
            let decoded = decoder.decode(&self.input[body_start..], |part| {
                content.extend_from_slice(part);
            })?;
            self.input.drain(body_start..body_start + decoded.consumed);
            if decoded.complete {
                self.body = Body::Empty;
                return Ok(Arrival::Content { complete: true });
            }
            if !content.is_empty() {
                return Ok(Arrival::Content { complete: false });
            }
            if has_received && !self.unread {
                return Ok(Arrival::Nothing);
            }
            match self.receive() {
                Ok(more) => self.unread = more || self.end_was_announced,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unread = false;
                    return Ok(Arrival::Nothing);
                }
                Err(_) => return Ok(Arrival::End),
            }
            if self.end_was_read {
                return Ok(Arrival::End);
            }
            has_received = true;
        }
    }

    /// Takes what came behind the head, and the input buffer's memory beyond the head with it: the connection leaves HTTP.
    pub fn take_surplus(&mut self) -> Vec<u8> {
        let end = self.start + self.head.length;
        let surplus = self.input.split_off(end);
        self.input.drain(..self.start);
        self.start = 0;
        self.input.shrink_to_fit();
        surplus
    }

    /// Whether a part of the request's body is still to be received.
    pub fn awaits_body(&self) -> bool {
        matches!(self.body, Body::Arriving(_))
    }

    /// Whether the client waits for `100 Continue`; asked once per request.
    pub fn take_continue(&mut self) -> bool {
        let body_is_awaited =
            matches!(self.stage, Stage::InlineBody { .. } | Stage::Body(_)) || self.awaits_body();
        let wanted = body_is_awaited && self.head.expect_continue && !self.continue_sent;
        self.continue_sent |= wanted;
        wanted
    }

    /// Forgets the current request; what follows it in the input is the next one.
    pub fn finish_request(&mut self) {
        self.start += self.request_length();
        self.body = Body::Empty;
        self.client = None;
        self.continue_sent = false;
        self.request_began_ns = 0;
        self.stage = Stage::Idle;
        if self.start == self.input.len() {
            self.start = 0;
            self.input.clear();
            if self.input.capacity() > INPUT_BYTES_KEPT {
                self.input = Vec::new();
            }
        }
    }

    /// Drops all input that was received.
    pub fn discard_input(&mut self) {
        self.input.clear();
        self.start = 0;
    }

    pub fn has_buffer(&self) -> bool {
        self.input.capacity() > 0
    }

    /// Gives the memory of an idle connection's buffer back; it is made again with the next request.
    pub fn release_buffer(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    fn request_length(&self) -> usize {
        match self.body {
            Body::Inline(length) => self.head.length + length,
            Body::Empty | Body::Memory(_) | Body::Spooled { .. } | Body::Arriving(_) => {
                self.head.length
            }
        }
    }
}
