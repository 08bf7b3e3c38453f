//! A connection on the engine alone: pieces of bytes go in, one read each; what was served or refused comes out as text.

use std::fmt::Write as _;

use rgunicorn::http::{BodyDecoder, Framing, HeadLimits, Progress, Refusal, RequestHead};

use crate::{escape::escape, strict::Message};

/// Those that the corpus was written for.
pub(crate) const LIMITS: HeadLimits = HeadLimits {
    request_line: 4094,
    headers: 100,
    header_size: 8190,
    head: 64 << 10,
    body: 1 << 20,
};

/// What the engine makes of a connection that delivers these pieces, one read each, and then ends.
pub(crate) fn events_of(pieces: &[&[u8]]) -> String {
    events_within(&LIMITS, pieces)
}

pub(crate) fn events_within(limits: &HeadLimits, pieces: &[&[u8]]) -> String {
    let mut connection = Connection::new(*limits);
    for piece in pieces {
        connection.receive(piece);
    }
    connection.finish()
}

/// The requests that would go to an app.
pub(crate) fn served(stream: &[u8]) -> Vec<Message> {
    let mut connection = Connection::new(LIMITS);
    connection.receive(stream);
    connection.served
}

struct Connection {
    limits: HeadLimits,
    buffer: Vec<u8>,
    head: RequestHead,
    body: Option<Body>,
    blocks: Vec<String>,
    served: Vec<Message>,
    /// Bytes that are done with.
    consumed: usize,
    is_closed: bool,
}

/// A request whose body is being read.
struct Body {
    line: Vec<u8>,
    head: String,
    decoder: BodyDecoder,
    content: Vec<u8>,
}

impl Connection {
    fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            head: RequestHead::new(),
            body: None,
            blocks: Vec::new(),
            served: Vec::new(),
            consumed: 0,
            is_closed: false,
        }
    }

    fn receive(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while !self.is_closed && self.advance() {}
    }

    /// Takes one step; false if it needs more bytes.
    fn advance(&mut self) -> bool {
        let Some(body) = &mut self.body else {
            return self.advance_head();
        };
        match body
            .decoder
            .decode(&self.buffer, |data| body.content.extend_from_slice(data))
        {
            Err(refusal) => self.refuse(refusal),
            Ok(decoded) => {
                assert_eq!(body.decoder.received(), body.content.len() as u64);
                self.consume(decoded.consumed);
                assert!(decoded.complete || self.buffer.is_empty());
                decoded.complete && self.end_request()
            }
        }
    }

    fn advance_head(&mut self) -> bool {
        match self.head.parse(&self.buffer, &self.limits) {
            Err(refusal) => self.refuse(refusal),
            Ok(Progress::Partial) => false,
            Ok(Progress::Complete) => {
                self.body = Some(Body {
                    line: self.head.line(&self.buffer).to_vec(),
                    head: describe(&self.head, &self.buffer),
                    decoder: BodyDecoder::new(self.head.framing, &self.limits),
                    content: Vec::new(),
                });
                self.consume(self.head.length);
                true
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.consumed += bytes;
    }

    fn end_request(&mut self) -> bool {
        let body = self.body.take().unwrap();
        let mut block = body.head;
        if !self.head.framing.is_empty() {
            writeln!(
                block,
                "{}",
                format!("body {}", escape(&body.content)).trim_end()
            )
            .unwrap();
        }
        block.push_str(if self.head.persistent {
            "keep-alive"
        } else {
            "close"
        });
        self.blocks.push(block);
        self.served.push(Message {
            line: body.line,
            content: body.content,
            end: self.consumed,
        });
        self.is_closed = !self.head.persistent;
        true
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        assert_ne!(
            refusal.detail, "the head is malformed",
            "httparse and the automaton disagree"
        );
        self.blocks
            .push(format!("refused {} {}", refusal.status, refusal.detail));
        self.is_closed = true;
        true
    }

    fn finish(mut self) -> String {
        if !self.is_closed && (self.body.is_some() || RequestHead::has_begun(&self.buffer)) {
            self.blocks.push("truncated".to_owned());
        }
        self.blocks.join("\n\n")
    }
}

fn describe(head: &RequestHead, buffer: &[u8]) -> String {
    let mut lines = vec![
        format!(
            "request {} {} {}",
            escape(head.method(buffer)),
            escape(head.target(buffer)),
            head.version.as_str()
        ),
        format!("host {}", escape(head.host(buffer))),
        format!("path {}", escape(head.path(buffer))),
        format!("query {}", escape(head.query(buffer))),
    ];
    lines.extend(
        head.fields(buffer)
            .map(|(name, value)| format!("field {}: {}", escape(name), escape(value))),
    );
    if head.expect_continue {
        assert_ne!(head.framing, Framing::None);
        lines.push("expects 100-continue".to_owned());
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}
