//! The connection after the handshake: frames into events, commands into frames, and the way it ends.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    close::{self, Failure},
    deflate::{Codec, Deflate, Inflater},
    frame::{self, Head, Opcode},
    keepalive::{Due, Keepalive},
    message::{Kind, Message, Payload},
};

/// The bounds of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The longest message in bytes, compressed or not. A longer one ends the connection with 1009.
    pub message_bytes_max: usize,
    /// How long the client may be silent before it is pinged; `None`: it is never.
    pub ping_interval: Option<Duration>,
    /// How long a sign of life may take after a ping. Then the connection ends with 1011.
    pub ping_timeout: Duration,
    /// How long the answer to our close frame may take.
    pub close_timeout: Duration,
}

impl Default for Settings {
    /// Gunicorn's size, and the times of Python's `websockets`.
    fn default() -> Self {
        Self {
            message_bytes_max: 16 << 20,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(10),
        }
    }
}

/// What has happened. Payloads lie in the input or in the connection, until the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message of text.
    Text(&'a str),
    /// A whole message of bytes.
    Binary(&'a [u8]),
    /// The client asked whether we are there. The answer is in the output.
    Ping(&'a [u8]),
    /// The client answered a ping, or just said that it is there.
    Pong(&'a [u8]),
    /// Both sides have said goodbye: the last event. The code is the client's, [`close::NO_STATUS`] if it gave none.
    Closed { code: u16, reason: &'a str },
    /// The connection cannot go on: the last event.
    Failed(Failure),
}

/// What became of some input.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Received<'a> {
    /// How many bytes are done with. Those that are not must come again, with more behind them.
    pub consumed: usize,
    /// `None`: it takes more input for the next event.
    pub event: Option<Event<'a>>,
}

/// Nothing can be sent any more: we have said goodbye, or the connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket is closed")]
pub struct IsClosed;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    #[error("the WebSocket is closed")]
    IsClosed,
    /// See [`close::is_sendable`].
    #[error("{code} is not a status that a WebSocket can be closed with")]
    InvalidCode { code: u16 },
}

/// One connection. The module's header tells how it is driven.
#[derive(Debug)]
pub struct WebSocket {
    state: State,
    message: Message,
    /// The rest of a frame's payload, while it has not all arrived.
    payload: Option<Payload>,
    codec: Option<Box<Codec>>,
    keepalive: Keepalive,
    message_bytes_max: usize,
    close_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is out. What the client says before its own is read and dropped. `None`: for as long as it takes.
    Closing {
        deadline: Option<Instant>,
    },
    /// The last event was given. Nothing is read or written any more.
    Over,
}

/// What was found in the input.
enum Found {
    /// It takes more input.
    Nothing,
    /// This many bytes of a message, which is not complete yet.
    Piece(usize),
    /// Something that gives an event, and ends after this many bytes.
    Whole(What, Place, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Data(Kind),
    Ping,
    Pong,
    Close,
}

/// Where its payload is.
enum Place {
    Input(Range<usize>),
    /// Where the message was put together.
    Message(Kind),
}

impl WebSocket {
    /// A connection whose handshake is done. `deflate` is what was agreed in it.
    pub fn new(settings: &Settings, deflate: Option<&Deflate>, now: Instant) -> Self {
        Self {
            state: State::Open,
            message: Message::default(),
            payload: None,
            codec: deflate.map(|agreed| Box::new(Codec::new(agreed))),
            keepalive: Keepalive::new(settings.ping_interval, settings.ping_timeout, now),
            message_bytes_max: settings.message_bytes_max,
            close_timeout: settings.close_timeout,
        }
    }

    /// Takes what has arrived, up to the next event. The input is changed where it lies: payloads are unmasked.
    ///
    /// Answers go to the end of `out`. After an event that ends the connection all input counts as consumed.
    pub fn receive<'a>(&'a mut self, input: &'a mut [u8], out: &mut Vec<u8>) -> Received<'a> {
        if self.state == State::Over {
            return Received {
                consumed: input.len(),
                event: None,
            };
        }
        self.message.recycle();
        let mut consumed = 0;
        let (what, place) = loop {
            match self.advance(&mut input[consumed..]) {
                Ok(Found::Nothing) => {
                    return Received {
                        consumed,
                        event: None,
                    };
                }
                Ok(Found::Piece(bytes)) => consumed += bytes,
                Ok(Found::Whole(what, place, bytes)) => {
                    let place = place.behind(consumed);
                    consumed += bytes;
                    if self.state == State::Open || what == What::Close {
                        break (what, place);
                    }
                    self.message.recycle();
                }
                Err(failure) => return self.fail_reading(failure, input.len(), out),
            }
        };
        let place = match place {
            Place::Input(place) => place,
            Place::Message(kind) => {
                return Received {
                    consumed,
                    event: Some(self.message.event(kind)),
                };
            }
        };
        let payload = &input[place];
        let event = match what {
            What::Data(Kind::Binary) => Event::Binary(payload),
            What::Data(Kind::Text) => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Event::Text(text),
                Err(_) => return self.fail_reading(Failure::NOT_UTF8, input.len(), out),
            },
            What::Ping => {
                frame::write(out, Opcode::Pong, payload);
                Event::Ping(payload)
            }
            What::Pong => Event::Pong(payload),
            What::Close => match close::parse(payload) {
                Ok((code, reason)) => {
                    self.answer_close(code, out);
                    consumed = input.len();
                    Event::Closed { code, reason }
                }
                Err(failure) => return self.fail_reading(failure, input.len(), out),
            },
        };
        Received {
            consumed,
            event: Some(event),
        }
    }

    /// Writes a message of text as one frame: the app has it in one piece, and whoever wants to send something in between
    /// can send it before.
    pub fn send_text(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), IsClosed> {
        self.send(Opcode::Text, text.as_bytes(), out)
    }

    /// Writes a message of bytes as one frame.
    pub fn send_binary(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), IsClosed> {
        self.send(Opcode::Binary, data, out)
    }

    /// Says goodbye, with as much of the reason as fits. Then the driver goes on to call `receive` until the client has
    /// answered; what it had sent before is dropped.
    pub fn close(
        &mut self,
        code: u16,
        reason: &str,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), CloseError> {
        if self.state != State::Open {
            return Err(CloseError::IsClosed);
        }
        if !close::is_sendable(code) {
            return Err(CloseError::InvalidCode { code });
        }
        write_close(out, code, close::fitting(reason));
        self.state = State::Closing {
            deadline: now.checked_add(self.close_timeout),
        };
        Ok(())
    }

    /// When [`WebSocket::tick`] is to be called at the latest; `None`: nothing is waited for.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Open => self.keepalive.deadline(),
            State::Closing { deadline } => deadline,
            State::Over => None,
        }
    }

    /// Does what is due: writes a ping, or gives the client up. Calling it early does no harm.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Event<'static>> {
        match self.state {
            State::Open => match self.keepalive.tick(now) {
                Due::Nothing => None,
                Due::Ping => {
                    frame::write(out, Opcode::Ping, b"");
                    None
                }
                Due::Verdict => Some(self.fail(Failure::NO_PONG, out)),
            },
            State::Closing { deadline } if deadline.is_some_and(|deadline| deadline <= now) => {
                Some(self.fail(Failure::NO_ANSWER, out))
            }
            State::Closing { .. } | State::Over => None,
        }
    }

    /// The client gave a sign of life: bytes came from it, or it took some of the output. [`WebSocket::receive`] cannot tell:
    /// the beginning of a frame is given to it again and again.
    pub fn heard(&mut self, now: Instant) {
        self.keepalive.heard(now);
    }

    /// The client has closed its side: nothing more will come. `None` if all was said before.
    pub fn end(&mut self) -> Option<Event<'static>> {
        // Nobody is there to read a close frame.
        (self.state != State::Over).then(|| self.fail(Failure::NO_CLOSE, &mut Vec::new()))
    }

    /// Whether messages can be sent: nobody has said goodbye.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the last event was given: send what is in the output, then close the connection.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) -> Result<(), IsClosed> {
        if self.state != State::Open {
            return Err(IsClosed);
        }
        match &mut self.codec {
            Some(codec) if codec.deflater.wants(payload) => {
                let deflater = &mut codec.deflater;
                frame::write_compressed(out, opcode, |out| deflater.deflate(payload, out));
            }
            _ => frame::write(out, opcode, payload),
        }
        Ok(())
    }

    /// Looks at the next frame, or at what has come of the current one.
    fn advance(&mut self, input: &mut [u8]) -> Result<Found, Failure> {
        if self.payload.is_some() {
            return self.take_payload(0, input);
        }
        let Some(head) = Head::parse(input, self.codec.is_some())? else {
            return Ok(Found::Nothing);
        };
        let what = match (head.opcode, self.message.is_open()) {
            (Opcode::Ping, _) => What::Ping,
            (Opcode::Pong, _) => What::Pong,
            (Opcode::Close, _) => What::Close,
            (Opcode::Text, false) => What::Data(Kind::Text),
            (Opcode::Binary, false) => What::Data(Kind::Binary),
            (Opcode::Text | Opcode::Binary, true) => {
                return Err(Failure::protocol("a message begins amid another"));
            }
            (Opcode::Continuation, true) => return self.begin_payload(&head, input),
            (Opcode::Continuation, false) => {
                return Err(Failure::protocol(
                    "a message is continued that has not begun",
                ));
            }
        };
        let is_control = head.opcode.is_control();
        let is_allowed = is_control || head.payload_bytes <= self.message_bytes_max as u64;
        let place = usize::try_from(head.payload_bytes)
            .ok()
            .and_then(|bytes| head.bytes.checked_add(bytes))
            .map(|end| head.bytes..end);
        match place {
            // The usual way: all of a message is there, and is left where it is.
            Some(place)
                if head.is_final
                    && !head.is_compressed
                    && is_allowed
                    && place.end <= input.len() =>
            {
                frame::unmask(&mut input[place.clone()], head.mask);
                let end = place.end;
                if self.state != State::Open && what == What::Data(Kind::Text) {
                    // It will be dropped, but it must be refused as it would be in pieces.
                    simdutf8::basic::from_utf8(&input[place.clone()])
                        .map_err(|_| Failure::NOT_UTF8)?;
                }
                Ok(Found::Whole(what, Place::Input(place), end))
            }
            // Control frames are short enough to be waited for.
            _ if is_control => Ok(Found::Nothing),
            _ => self.begin_payload(&head, input),
        }
    }

    fn begin_payload(&mut self, head: &Head, input: &mut [u8]) -> Result<Found, Failure> {
        self.payload = Some(self.message.begin(head, self.message_bytes_max)?);
        self.take_payload(head.bytes, input)
    }

    /// Takes the payload that stands in the input after so many bytes.
    fn take_payload(&mut self, start: usize, input: &mut [u8]) -> Result<Found, Failure> {
        let inflater: Option<&mut Inflater> = self.codec.as_mut().map(|codec| &mut codec.inflater);
        let (taken, complete) = self.message.take(
            &mut self.payload,
            &mut input[start..],
            inflater,
            self.message_bytes_max,
        )?;
        Ok(match (start + taken, complete) {
            (bytes, Some(kind)) => Found::Whole(What::Data(kind), Place::Message(kind), bytes),
            (0, None) => Found::Nothing,
            (bytes, None) => Found::Piece(bytes),
        })
    }

    fn answer_close(&mut self, code: u16, out: &mut Vec<u8>) {
        if self.state == State::Open {
            match code {
                close::NO_STATUS => frame::write(out, Opcode::Close, b""),
                _ => write_close(out, code, ""),
            }
        }
        self.finish();
    }

    #[cold]
    fn fail_reading(
        &mut self,
        failure: Failure,
        consumed: usize,
        out: &mut Vec<u8>,
    ) -> Received<'static> {
        Received {
            consumed,
            event: Some(self.fail(failure, out)),
        }
    }

    fn fail(&mut self, failure: Failure, out: &mut Vec<u8>) -> Event<'static> {
        if self.state == State::Open && close::is_sendable(failure.code) {
            write_close(out, failure.code, failure.detail);
        }
        self.finish();
        Event::Failed(failure)
    }

    /// Nothing more is read or written, so nothing more needs memory.
    fn finish(&mut self) {
        self.state = State::Over;
        self.message.abandon();
        self.payload = None;
        self.codec = None;
    }
}

impl Place {
    fn behind(self, bytes: usize) -> Self {
        match self {
            Self::Input(place) => Self::Input(place.start + bytes..place.end + bytes),
            Self::Message(kind) => Self::Message(kind),
        }
    }
}

fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame::write(out, Opcode::Close, &payload);
}
