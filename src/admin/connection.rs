//! One client: reads requests, answers them one after the other, and never waits.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::poll::PollFlags;

use super::{
    link::{Answer, DoorKind, Link, Ticket},
    reply::{Follow, Reply, Response, Then},
    request::Request,
    route,
    situation::Situation,
};
use crate::{
    http::{
        BodyDecoder, HeadLimits, Progress, RequestHead, RequestTraits, ResponseFraming,
        ResponseShape, date, response, status,
    },
    sys::{net, unix_seconds},
};

const LIMITS: HeadLimits = HeadLimits {
    request_line: 4096,
    headers: 64,
    header_size: 8192,
    head: 32 * 1024,
    body: 16 * 1024,
};
/// Bytes that one read takes at most.
const READ_BYTES: usize = 8 * 1024;
/// While so much waits to be sent, nothing more is made.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

const SECOND_NS: u64 = 1_000_000_000;
/// From the first byte of a request, or the accept, to its end.
const REQUEST_NS: u64 = 10 * SECOND_NS;
/// Between two requests.
const IDLE_NS: u64 = 60 * SECOND_NS;
/// In which a client has to take something of what is sent.
const SEND_NS: u64 = 10 * SECOND_NS;
/// For the shell to answer an order: reading a configuration may take a new interpreter, which is given 10 s.
const ANSWER_NS: u64 = 30 * SECOND_NS;

pub(super) struct Connection {
    socket: OwnedFd,
    pub(super) door: DoorKind,
    input: Vec<u8>,
    head: RequestHead,
    output: Vec<u8>,
    /// Bytes of the output that are gone.
    sent: usize,
    stage: Stage,
    /// When the client, or the shell, must have done what is waited for.
    deadline_ns: u64,
}

enum Stage {
    /// Waits for a request or the rest of its head.
    Head,
    /// Waits for the rest of a body; no route wants one.
    Body(Box<Request>, BodyDecoder),
    /// Waits for the shell.
    Waiting {
        ticket: Ticket,
        then: Then,
        traits: RequestTraits,
    },
    Following {
        follow: Box<dyn Follow>,
        shape: ResponseShape,
    },
    /// Sends the rest; then the next request may come.
    Sending {
        keeps: bool,
    },
    Over,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, door: DoorKind, now_ns: u64) -> Self {
        Self {
            socket,
            door,
            input: Vec::new(),
            head: RequestHead::new(),
            output: Vec::new(),
            sent: 0,
            stage: Stage::Head,
            deadline_ns: now_ns + REQUEST_NS,
        }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to poll for; an end of the connection is always told.
    pub(super) fn wants(&self) -> PollFlags {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, self.is_reading());
        wanted.set(PollFlags::POLLOUT, self.sent < self.output.len());
        wanted
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Has not asked for anything yet, or not completely.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Head | Stage::Body(..))
    }

    /// Has an answer that it has not taken completely.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.stage, Stage::Sending { .. })
    }

    /// What is left to send is dropped.
    pub(super) fn give_up(&mut self) {
        self.stage = Stage::Over;
    }

    /// When [`Connection::turn`] has to be called though nothing happened.
    pub(super) fn due_ns(&self) -> u64 {
        match &self.stage {
            Stage::Following { follow, .. } if self.sent == self.output.len() => {
                follow.deadline_ns()
            }
            _ => self.deadline_ns,
        }
    }

    /// The ticket of the order that it waits for.
    pub(super) fn waits_for(&self) -> Option<Ticket> {
        match &self.stage {
            Stage::Waiting { ticket, .. } => Some(*ticket),
            _ => None,
        }
    }

    /// The shell has answered.
    pub(super) fn hear(&mut self, answer: Answer, situation: &mut Situation<'_>, link: &Link) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting { then, traits, .. } => {
                let reply = then(answer, situation);
                self.begin(reply, traits, situation, link);
            }
            other => self.stage = other,
        }
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, happened: PollFlags, situation: &mut Situation<'_>, link: &Link) {
        if happened.contains(PollFlags::POLLIN) && self.is_reading() {
            self.receive(situation.now_ns);
        } else if happened.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            self.stage = Stage::Over;
        }
        while self.step(situation, link) {}
        if !self.is_over() && self.deadline_ns <= situation.now_ns {
            self.on_deadline(situation);
        }
    }

    /// True: there is more to do.
    fn step(&mut self, situation: &mut Situation<'_>, link: &Link) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Head => self.read_head(situation, link),
            Stage::Body(request, decoder) => self.read_body(request, decoder, situation, link),
            Stage::Following { follow, shape } => self.follow(follow, shape, situation),
            Stage::Sending { keeps } => self.send_rest(keeps, situation.now_ns),
            other @ (Stage::Waiting { .. } | Stage::Over) => {
                self.stage = other;
                false
            }
        }
    }

    fn receive(&mut self, now_ns: u64) {
        // What came of a body is taken out at once: it begins nothing.
        if matches!(self.stage, Stage::Head) && self.input.is_empty() {
            self.deadline_ns = now_ns + REQUEST_NS;
        }
        self.input.reserve(READ_BYTES);
        match net::receive(self.socket.as_fd(), &mut self.input) {
            Ok(0) => self.stage = Stage::Over,
            Ok(_) => {}
            Err(error) if is_again(&error) => {}
            Err(_) => self.stage = Stage::Over,
        }
    }

    fn read_head(&mut self, situation: &mut Situation<'_>, link: &Link) -> bool {
        match self.head.parse(&self.input, &LIMITS) {
            Ok(Progress::Partial) => {
                self.stage = Stage::Head;
                false
            }
            Ok(Progress::Complete) => {
                let request = Request::new(&self.head, &self.input, self.door);
                let decoder = BodyDecoder::new(self.head.framing, &LIMITS);
                if self.head.expect_continue {
                    self.output.extend_from_slice(response::CONTINUE);
                    let _told_later = self.send(situation.now_ns);
                }
                self.input.drain(..self.head.length);
                self.head.reset();
                self.read_body(Box::new(request), decoder, situation, link)
            }
            Err(refusal) => {
                self.refuse(refusal.status, refusal.detail);
                true
            }
        }
    }

    fn read_body(
        &mut self,
        request: Box<Request>,
        mut decoder: BodyDecoder,
        situation: &mut Situation<'_>,
        link: &Link,
    ) -> bool {
        match decoder.decode(&self.input, |_| {}) {
            Ok(decoded) => {
                self.input.drain(..decoded.consumed);
                if !decoded.complete {
                    self.stage = Stage::Body(request, decoder);
                    return false;
                }
                let reply = route::answer(&request, situation);
                self.begin(reply, request.traits, situation, link);
                true
            }
            Err(refusal) => {
                self.refuse(refusal.status, refusal.detail);
                true
            }
        }
    }

    fn begin(
        &mut self,
        reply: Reply,
        traits: RequestTraits,
        situation: &mut Situation<'_>,
        link: &Link,
    ) {
        match reply {
            Reply::Now(response) => self.respond(&response, traits),
            Reply::Later { order, then } => match link.give(order) {
                Some(ticket) => {
                    self.deadline_ns = situation.now_ns + ANSWER_NS;
                    self.stage = Stage::Waiting {
                        ticket,
                        then,
                        traits,
                    };
                }
                None => {
                    let busy = Response::problem(503, "too many orders wait", "try again later");
                    self.respond(&busy, traits);
                }
            },
            Reply::Follow(follow) => {
                let shape = ResponseShape::decide(traits, 200, None);
                write_head(&mut self.output, 200, "application/x-ndjson", &[]);
                shape.write_fields(&mut self.output, traits.version);
                response::write_head_end(&mut self.output);
                self.deadline_ns = situation.now_ns + SEND_NS;
                self.stage = Stage::Following { follow, shape };
            }
        }
    }

    fn respond(&mut self, answer: &Response, traits: RequestTraits) {
        let length = answer.body.len() as u64;
        let shape = ResponseShape::decide(traits, answer.status, Some(length));
        write_head(
            &mut self.output,
            answer.status,
            answer.content_type,
            &answer.fields,
        );
        shape.write_fields(&mut self.output, traits.version);
        response::write_head_end(&mut self.output);
        if shape.send_body {
            self.output.extend_from_slice(&answer.body);
        }
        self.stage = Stage::Sending {
            keeps: shape.persistent,
        };
    }

    /// Where the next request begins is not known: the connection ends.
    fn refuse(&mut self, status: u16, detail: &str) {
        let traits = RequestTraits {
            version: crate::http::Version::Http11,
            is_head: false,
            persistent: false,
        };
        let help = "send a well-formed HTTP/1.1 request";
        self.respond(&Response::problem(status, detail, help), traits);
    }

    fn follow(
        &mut self,
        mut follow: Box<dyn Follow>,
        shape: ResponseShape,
        situation: &mut Situation<'_>,
    ) -> bool {
        if self.output.len() - self.sent < OUTPUT_BYTES_MAX {
            let mut lines = Vec::new();
            if self.sent == self.output.len() {
                self.deadline_ns = situation.now_ns + SEND_NS;
            }
            let is_done = follow.advance(situation, &mut lines);
            let is_chunked = shape.framing == ResponseFraming::Chunked;
            write_piece(&mut self.output, &lines, is_chunked);
            if is_done {
                if is_chunked {
                    self.output.extend_from_slice(response::LAST_CHUNK);
                }
                self.stage = Stage::Sending {
                    keeps: shape.persistent,
                };
                return true;
            }
        }
        self.stage = Stage::Following { follow, shape };
        let _all_or_some = self.send(situation.now_ns);
        false
    }

    fn send_rest(&mut self, keeps: bool, now_ns: u64) -> bool {
        match self.send(now_ns) {
            Ok(true) if keeps => {
                self.stage = Stage::Head;
                let patience = if self.input.is_empty() {
                    IDLE_NS
                } else {
                    REQUEST_NS
                };
                self.deadline_ns = now_ns + patience;
                !self.input.is_empty()
            }
            Ok(true) | Err(_) => false,
            Ok(false) => {
                self.stage = Stage::Sending { keeps };
                false
            }
        }
    }

    /// Sends what the socket takes. True: nothing is left.
    fn send(&mut self, now_ns: u64) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match net::send(
                self.socket.as_fd(),
                &self.output[self.sent..],
                net::Next::Unknown,
            ) {
                Ok(count) => {
                    self.sent += count;
                    self.deadline_ns = now_ns + SEND_NS;
                }
                Err(error) if is_again(&error) => return Ok(false),
                Err(error) => {
                    self.stage = Stage::Over;
                    return Err(error);
                }
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    fn on_deadline(&mut self, situation: &mut Situation<'_>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting { traits, .. } => {
                let late = Response::problem(
                    504,
                    "the arbiter did not answer in time",
                    "look at /status and the error log: it may still do what it was told",
                );
                self.respond(&late, traits);
                self.deadline_ns = situation.now_ns + SEND_NS;
                let _rest_is_polled_for = self.send_rest(traits.persistent, situation.now_ns);
            }
            // Only what waits to be sent has this deadline.
            other @ Stage::Following { .. } if self.sent == self.output.len() => self.stage = other,
            _ => {}
        }
    }
}

fn write_head(out: &mut Vec<u8>, code: u16, content_type: &str, fields: &[(&str, String)]) {
    let line = format!("{code} {}", status::reason(code));
    response::write_status_line(out, line.as_bytes());
    response::write_field(out, b"Date", &date::format(unix_seconds()));
    response::write_field(out, b"Content-Type", content_type.as_bytes());
    response::write_field(out, b"Cache-Control", b"no-store");
    response::write_field(out, b"X-Content-Type-Options", b"nosniff");
    for (name, value) in fields {
        response::write_field(out, name.as_bytes(), value.as_bytes());
    }
}

fn write_piece(out: &mut Vec<u8>, piece: &[u8], is_chunked: bool) {
    if piece.is_empty() {
        return;
    }
    if is_chunked {
        response::write_chunk_start(out, piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(response::CHUNK_END);
    } else {
        out.extend_from_slice(piece);
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
