//! The engine as its driver calls it, and what comes of that as text.

use std::time::Instant;

use rgunicorn::websocket::{Deflate, Event, Settings, WebSocket};

use crate::{corpus::Step, escape::escape};

/// Bytes that a message may have in the corpus.
const MESSAGE_BYTES_MAX: usize = 100_000;

/// The events, what was sent, and whether the connection is over: one a line, as README.md tells.
pub(crate) fn events_of(deflate: Option<&Deflate>, steps: &[Step]) -> String {
    let settings = Settings {
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..Settings::default()
    };
    let now = Instant::now();
    let mut socket = WebSocket::new(&settings, deflate, now);
    let (mut lines, mut input, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Receive(bytes) => {
                input.extend_from_slice(bytes);
                receive(&mut socket, &mut input, &mut out, &mut lines);
            }
            Step::Close(code) => {
                if let Err(error) = socket.close(*code, "", now, &mut out) {
                    lines.push(error.to_string());
                }
            }
            Step::End => lines.extend(socket.end().map(told)),
        }
    }
    lines.push(if socket.is_over() { "over" } else { "open" }.to_owned());
    lines.extend(sent(&out));
    lines.join("\n")
}

fn receive(
    socket: &mut WebSocket,
    input: &mut Vec<u8>,
    out: &mut Vec<u8>,
    lines: &mut Vec<String>,
) {
    let mut consumed = 0;
    loop {
        let received = socket.receive(&mut input[consumed..], out);
        consumed += received.consumed;
        match received.event {
            Some(event) => lines.push(told(event)),
            None => break,
        }
    }
    input.drain(..consumed);
    assert!(
        input.len() < 14 + 125,
        "no more is kept than a head, or a control frame"
    );
}

fn told(event: Event<'_>) -> String {
    let line = match event {
        Event::Text(text) => format!("text {}", escape(text.as_bytes())),
        Event::Binary(data) => format!("binary {}", escape(data)),
        Event::Ping(data) => format!("ping {}", escape(data)),
        Event::Pong(data) => format!("pong {}", escape(data)),
        Event::Closed { code, reason } => format!("closed {code} {}", escape(reason.as_bytes())),
        Event::Failed(failure) => format!("failed {failure}"),
    };
    line.trim_end().to_owned()
}

/// The frames of the server: control frames, so none is long.
fn sent(mut out: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let [first, length, rest @ ..] = out {
        let (payload, behind) = rest.split_at(usize::from(*length));
        let line = match (first, payload) {
            (0x88, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                format!("sent close {code} {}", escape(reason))
            }
            (0x88, _) => "sent close".to_owned(),
            (0x8a, _) => format!("sent pong {}", escape(payload)),
            (other, _) => panic!("{other:x} is no answer"),
        };
        lines.push(line.trim_end().to_owned());
        out = behind;
    }
    lines
}
