//! Compression of messages, RFC 7692: what can be agreed, and the two directions of it.
//!
//! The memory for a direction is taken with its first compressed message. Where the context is not kept from one message to
//! the next it is given back after each, so a silent connection holds none.

use std::fmt;

use zlib_rs::{
    Deflate as Compressor, DeflateConfig, DeflateFlush, Inflate as Decompressor, InflateFlush,
    Status,
};

use super::close::Failure;

/// What a server wants of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateSettings {
    /// The binary logarithm of the history that either side may refer back to, 9 to 15. It bounds the memory.
    pub window_bits: u8,
    /// Whether either side may refer back to earlier messages. It makes small messages much smaller, and costs some 150 KiB
    /// for each connection that has sent a compressed message, and 2^`window_bits` for each that has received one.
    pub context_takeover: bool,
    /// Shorter messages are sent as they are, in bytes.
    pub message_bytes_min: usize,
}

impl Default for DeflateSettings {
    /// The window that Python's `websockets`, and thus uvicorn, asks for.
    fn default() -> Self {
        Self {
            window_bits: 12,
            context_takeover: true,
            message_bytes_min: 128,
        }
    }
}

/// What client and server have agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    pub server_no_context_takeover: bool,
    pub client_no_context_takeover: bool,
    /// 9 to 15.
    pub server_max_window_bits: u8,
    /// 8 to 15.
    pub client_max_window_bits: u8,
    /// Shorter messages are sent as they are, in bytes.
    pub message_bytes_min: usize,
}

/// What a message's last four bytes are before they are left out, RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Messages are compressed while a thread of the app waits; beyond this, zlib gains a few per cent in twice the time.
const LEVEL: i32 = 4;
/// Memory for the tables of compression, of 1 to 9.
const MEMORY_LEVEL: i32 = 5;
/// The least and the most room that is made for the output of one step.
const STEP_BYTES_MIN: usize = 512;
const STEP_BYTES_MAX: usize = 64 * 1024;

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Codec {
    pub(super) inflater: Inflater,
    pub(super) deflater: Deflater,
}

impl Codec {
    pub(super) fn new(agreed: &Deflate) -> Self {
        Self {
            inflater: Inflater {
                stream: None,
                window_bits: agreed.client_max_window_bits,
                keeps_context: !agreed.client_no_context_takeover,
            },
            deflater: Deflater {
                stream: None,
                window_bits: agreed.server_max_window_bits,
                keeps_context: !agreed.server_no_context_takeover,
                message_bytes_min: agreed.message_bytes_min,
            },
        }
    }
}

/// Inflates what the client sends.
pub(super) struct Inflater {
    stream: Option<Decompressor>,
    window_bits: u8,
    keeps_context: bool,
}

impl Inflater {
    /// Inflates a piece of a message to the end of `out`, which holds what came of its other pieces and may come to hold no
    /// more than `bytes_max`: it is measured while it grows, for a few bytes can stand for gigabytes.
    pub(super) fn inflate(
        &mut self,
        piece: &[u8],
        is_end: bool,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), Failure> {
        self.inflate_piece(piece, out, bytes_max)?;
        if is_end {
            self.inflate_piece(&TAIL, out, bytes_max)?;
            if !self.keeps_context {
                self.stream = None;
            }
        }
        Ok(())
    }

    fn inflate_piece(
        &mut self,
        mut piece: &[u8],
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), Failure> {
        loop {
            let filled = out.len();
            // One byte more than allowed, to see that it is too much.
            let room = piece
                .len()
                .saturating_mul(4)
                .clamp(STEP_BYTES_MIN, STEP_BYTES_MAX)
                .min(bytes_max.saturating_add(1) - filled);
            out.resize(filled + room, 0);
            let bits = self.window_bits;
            let stream = self.stream.get_or_insert_with(|| new_decompressor(bits));
            let (read, written) = (stream.total_in(), stream.total_out());
            let result = stream.decompress(piece, &mut out[filled..], InflateFlush::SyncFlush);
            let read = (stream.total_in() - read) as usize;
            let written = (stream.total_out() - written) as usize;
            out.truncate(filled + written);
            piece = &piece[read..];
            if out.len() > bytes_max {
                return Err(Failure::TOO_BIG);
            }
            match result {
                Err(_) => return Err(Failure::NOT_DEFLATE),
                // RFC 7692 section 7.2.3.4: a client may end a stream amid a message, and begin another.
                Ok(Status::StreamEnd) => {
                    self.stream = None;
                    if piece.is_empty() {
                        return Ok(());
                    }
                }
                // Room was left, so nothing is.
                Ok(Status::Ok | Status::BufError) if written < room => return Ok(()),
                Ok(Status::Ok | Status::BufError) => {}
            }
        }
    }
}

/// zlib takes 8 bits for what it is, but its own compressor does not: with 9 whatever clients understand by 8 is read.
fn new_decompressor(window_bits: u8) -> Decompressor {
    Decompressor::new(false, window_bits.max(9))
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("window_bits", &self.window_bits)
            .field("keeps_context", &self.keeps_context)
            .finish_non_exhaustive()
    }
}

/// Deflates what we send.
pub(super) struct Deflater {
    stream: Option<Compressor>,
    window_bits: u8,
    keeps_context: bool,
    message_bytes_min: usize,
}

impl Deflater {
    /// Whether this message is worth it. An empty one never is: zlib has nothing to flush.
    pub(super) fn wants(&self, message: &[u8]) -> bool {
        !message.is_empty() && message.len() >= self.message_bytes_min
    }

    /// Appends a whole message, deflated and without its tail.
    pub(super) fn deflate(&mut self, mut message: &[u8], out: &mut Vec<u8>) {
        let bits = self.window_bits;
        let stream = self.stream.get_or_insert_with(|| {
            Compressor::new_with_config(DeflateConfig {
                level: LEVEL,
                window_bits: -i32::from(bits),
                mem_level: MEMORY_LEVEL,
                ..DeflateConfig::default()
            })
        });
        loop {
            let filled = out.len();
            let room = (message.len() / 2).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
            out.resize(filled + room, 0);
            let (read, written) = (stream.total_in(), stream.total_out());
            stream
                .compress(message, &mut out[filled..], DeflateFlush::SyncFlush)
                .expect("deflate fails only if it is used wrongly, and it has the memory it needs");
            let written = (stream.total_out() - written) as usize;
            message = &message[(stream.total_in() - read) as usize..];
            out.truncate(filled + written);
            // Room was left, so the flush is complete.
            if written < room {
                break;
            }
        }
        debug_assert!(message.is_empty() && out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        if !self.keeps_context {
            self.stream = None;
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window_bits", &self.window_bits)
            .field("keeps_context", &self.keeps_context)
            .finish_non_exhaustive()
    }
}
