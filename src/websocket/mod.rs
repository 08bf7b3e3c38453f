//! WebSocket without input or output: RFC 6455, and RFC 7692 for compression. Bytes go in, events and bytes come out.
//!
//! This module owns the protocol from the request that asks for it to the last close frame. It knows no socket, no clock
//! (`now` is an argument) and no Python, and it keeps nothing but what one connection needs between two reads. Only the
//! server's side is here.
//!
//! The way of a connection: [`handshake::is_asked_for`] for each request, [`Opening::read`] where it says yes, and
//! [`Opening::write_acceptance`] once the app has agreed. From then on the connection belongs to a [`WebSocket`], and its
//! driver does this:
//!
//! ```
//! use std::time::Instant;
//! use rgunicorn::websocket::{Event, Settings, WebSocket};
//!
//! /// An app that says everything back, as a driver that has just read `input` would call it. True: send what is in
//! /// `out`, then close the connection.
//! fn echo(socket: &mut WebSocket, input: &mut Vec<u8>, out: &mut Vec<u8>, now: Instant) -> bool {
//!     socket.heard(now);
//!     let mut consumed = 0;
//!     loop {
//!         let received = socket.receive(&mut input[consumed..], out);
//!         consumed += received.consumed;
//!         match received.event {
//!             // The event borrows the socket: an app gets its own copy before it may answer.
//!             Some(Event::Text(text)) => {
//!                 let text = text.to_owned();
//!                 socket.send_text(&text, out).expect("nobody has said goodbye");
//!             }
//!             Some(Event::Binary(data)) => {
//!                 let data = data.to_owned();
//!                 socket.send_binary(&data, out).expect("nobody has said goodbye");
//!             }
//!             // Answered already, or nothing to answer.
//!             Some(Event::Ping(_) | Event::Pong(_)) => {}
//!             // The answer, if one is due, is in `out`.
//!             Some(Event::Closed { .. } | Event::Failed(_)) => {}
//!             None => break,
//!         }
//!     }
//!     // The beginning of a frame may be left: it comes again, with more behind it.
//!     input.drain(..consumed);
//!     socket.is_over()
//! }
//!
//! let now = Instant::now();
//! let mut socket = WebSocket::new(&Settings::default(), None, now);
//! let mut input = b"\x81\x82\x37\xfa\x21\x3d\x5f\x93".to_vec();
//! let mut out = Vec::new();
//! assert!(!echo(&mut socket, &mut input, &mut out, now));
//! assert_eq!(out, b"\x81\x02hi");
//! ```
//!
//! Besides, the driver calls [`WebSocket::heard`] whenever bytes came, [`WebSocket::tick`] when [`WebSocket::deadline`] has
//! come, and [`WebSocket::end`] when the client has closed the connection and `receive` has asked for more than came before.
//!
//! **Back-pressure.** One call of `receive` gives at most one event, so a driver whose app is behind just does not call it,
//! and stops to read once its own input buffer is full. What the engine itself holds is one incomplete message, bounded by
//! [`Settings::message_bytes_max`]. All that it writes goes to the end of `out`: a
//! driver whose client reads slowly stops to call `receive` and to send while `out` is long, and thereby stops answering
//! pings. While it does not read, or while it waits for the client to take bytes, it says [`WebSocket::heard`] for every
//! other sign of life too, so that a slow client is not taken for a dead one.
//!
//! What is accepted and what is not is written down as cases in `tests/websocket/`.

#![forbid(unsafe_code)]

pub mod close;
mod connection;
pub mod deflate;
mod frame;
pub mod handshake;
mod keepalive;
mod message;
mod offer;

pub use self::{
    close::Failure,
    connection::{CloseError, Event, IsClosed, Received, Settings, WebSocket},
    deflate::{Deflate, DeflateSettings},
    handshake::{AcceptError, Opening, Rejection},
};
