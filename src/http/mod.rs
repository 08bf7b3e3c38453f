//! HTTP/1.1 without input or output: bytes go in, heads, bodies and refusals come out.
//!
//! This module owns the grammar and the rules of RFC 9110 and RFC 9112 that bear on safety: where a message ends, what may
//! stand in it, what the answer's framing is. It knows no socket, no clock and no Python, and it keeps nothing but what one
//! connection needs between two reads.
//!
//! The way of a request: [`RequestHead::parse`] until it is complete, [`BodyDecoder::decode`] until that is, then
//! [`ResponseShape::decide`] for the answer. Whatever breaks a rule becomes a [`Refusal`], after which the connection must
//! be closed: where the next request begins is no longer known.
//!
//! What is accepted and what is not is written down as cases in `tests/http/`.

#![forbid(unsafe_code)]

mod app_head;
pub mod body;
mod byte_set;
mod chunked;
pub mod date;
pub mod field;
pub mod forwarded;
pub mod head;
mod host;
pub mod limits;
mod parts;
pub mod percent;
pub mod proxy_protocol;
pub mod refusal;
pub mod response;
mod rules;
mod scan;
pub mod status;
mod target;

pub use self::{
    app_head::AppHead,
    body::{BodyDecoder, Decoded},
    head::{Progress, RequestHead},
    limits::HeadLimits,
    parts::{Field, Framing, Span, Version},
    refusal::Refusal,
    response::{RequestTraits, ResponseFraming, ResponseShape},
};
