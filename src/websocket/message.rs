//! A message on its way in: its pieces put together, inflated, measured and, if text, checked as they arrive.

use super::{
    close::Failure,
    connection::Event,
    deflate::Inflater,
    frame::{self, Head, Opcode},
};

/// A buffer that grew beyond this gives its memory back after the message: most connections are silent most of the time.
const BYTES_KEPT: usize = 4 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// The message that is being received, if one is.
#[derive(Debug, Default)]
pub(super) struct Message {
    state: State,
    bytes: Vec<u8>,
    /// How many of the bytes are whole characters of UTF-8, if this is text.
    checked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// No message has begun. What is in the buffer was delivered.
    #[default]
    None,
    /// Between two frames, or in one.
    Open { kind: Kind, is_compressed: bool },
}

/// The payload of a data frame of which a part has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload {
    bytes_left: u64,
    /// For the next byte.
    mask: [u8; 4],
    is_final: bool,
}

impl Message {
    pub(super) fn is_open(&self) -> bool {
        self.state != State::None
    }

    /// The complete message that [`Message::take`] told of.
    pub(super) fn event(&self, kind: Kind) -> Event<'_> {
        match kind {
            Kind::Binary => Event::Binary(&self.bytes),
            Kind::Text => Event::Text(
                simdutf8::basic::from_utf8(&self.bytes)
                    .expect("the text was checked piece by piece"),
            ),
        }
    }

    /// Drops a message that was delivered.
    #[inline]
    pub(super) fn recycle(&mut self) {
        if self.state == State::None && !self.bytes.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(BYTES_KEPT);
            self.checked = 0;
        }
    }

    /// Drops everything: no more of it will be wanted.
    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }

    /// Begins with the payload of a data frame whose place in the message is right.
    pub(super) fn begin(&mut self, head: &Head, bytes_max: usize) -> Result<Payload, Failure> {
        let begun = match head.opcode {
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => None,
        };
        if let Some(kind) = begun {
            self.recycle();
            self.state = State::Open {
                kind,
                is_compressed: head.is_compressed,
            };
        }
        // What compressed bytes will become is not known before; they are measured when they are inflated.
        let is_compressed = matches!(
            self.state,
            State::Open {
                is_compressed: true,
                ..
            }
        );
        let room = bytes_max.saturating_sub(self.bytes.len()) as u64;
        if !is_compressed && head.payload_bytes > room {
            return Err(Failure::TOO_BIG);
        }
        Ok(Payload {
            bytes_left: head.payload_bytes,
            mask: head.mask,
            is_final: head.is_final,
        })
    }

    /// Takes what there is of a payload, and tells how many bytes that was and whether a message is complete with it.
    /// `payload` is `None` afterwards if it was all there.
    pub(super) fn take(
        &mut self,
        payload: &mut Option<Payload>,
        input: &mut [u8],
        inflater: Option<&mut Inflater>,
        bytes_max: usize,
    ) -> Result<(usize, Option<Kind>), Failure> {
        let (
            Some(current),
            State::Open {
                kind,
                is_compressed,
            },
        ) = (*payload, self.state)
        else {
            return Ok((0, None));
        };
        let taken = usize::try_from(current.bytes_left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let piece = &mut input[..taken];
        frame::unmask(piece, current.mask);
        let bytes_left = current.bytes_left - taken as u64;
        let is_end = bytes_left == 0 && current.is_final;
        *payload = (bytes_left > 0).then_some(Payload {
            bytes_left,
            mask: frame::turn(current.mask, taken),
            is_final: current.is_final,
        });

        let inflated = match inflater {
            Some(inflater) if is_compressed => {
                inflater.inflate(piece, is_end, &mut self.bytes, bytes_max)
            }
            _ => {
                self.bytes.extend_from_slice(piece);
                Ok(())
            }
        };
        // Text comes first: which of two faults is found must not depend on how the bytes arrive.
        if kind == Kind::Text {
            self.check_text(is_end && inflated.is_ok())?;
        }
        inflated?;
        if is_end {
            self.state = State::None;
        }
        Ok((taken, is_end.then_some(kind)))
    }

    /// Checks what is new, up to the first byte that cannot stand there. Only the end may not be amid a character.
    fn check_text(&mut self, is_end: bool) -> Result<(), Failure> {
        match simdutf8::compat::from_utf8(&self.bytes[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() && !is_end => {
                self.checked += error.valid_up_to();
            }
            Err(_) => return Err(Failure::NOT_UTF8),
        }
        Ok(())
    }
}
