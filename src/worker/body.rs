//! A request body on its way to the app: small ones stay where they were received, larger ones are decoded into memory,
//! and from there into an unlinked temporary file. The app is called when all of it is there.

use std::{
    fs::File,
    io::{self, Seek, Write},
};

use crate::http::{BodyDecoder, Refusal};

/// Bytes of a body with a Content-Length that stay in the input buffer, behind the head.
pub(super) const INLINE_BYTES_MAX: u64 = 64 * 1024;
/// Decoded bytes kept in memory; beyond this they go to a file.
const MEMORY_BYTES_MAX: usize = 256 * 1024;

/// A complete body.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    /// So many bytes of the input buffer, right behind the head.
    Inline(usize),
    Memory(Vec<u8>),
    /// Positioned at its beginning.
    Spooled {
        file: File,
        length: u64,
    },
    /// It is decoded as it arrives: [`super::Connection::receive_body`].
    Arriving(Box<BodyDecoder>),
}

impl Body {
    /// Bytes in all.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Inline(length) => *length as u64,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled { length, .. } => *length,
            Self::Arriving(decoder) => decoder.received(),
        }
    }
}

/// Why a body could not be received.
#[derive(Debug)]
pub enum BodyError {
    Refused(Refusal),
    /// The temporary file could not be made or written.
    Spool(io::Error),
}

/// A body that is arriving.
#[derive(Debug)]
pub struct BodyReceiver {
    decoder: BodyDecoder,
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
}

impl BodyReceiver {
    pub fn new(decoder: BodyDecoder) -> Self {
        Self {
            decoder,
            memory: Vec::new(),
            file: None,
            length: 0,
        }
    }

    /// Takes received bytes. Returns how many of them belong to the body, and whether it is complete.
    pub fn receive(&mut self, input: &[u8]) -> Result<(usize, bool), BodyError> {
        let memory = &mut self.memory;
        let before = memory.len();
        let decoded = self
            .decoder
            .decode(input, |part| memory.extend_from_slice(part))
            .map_err(BodyError::Refused)?;
        self.length += (self.memory.len() - before) as u64;
        if self.memory.len() > MEMORY_BYTES_MAX {
            self.spool().map_err(BodyError::Spool)?;
        }
        Ok((decoded.consumed, decoded.complete))
    }

    /// The complete body.
    pub fn finish(mut self) -> io::Result<Body> {
        if self.file.is_none() {
            return Ok(Body::Memory(self.memory));
        }
        self.spool()?;
        let mut file = self.file.take().expect("checked above");
        file.rewind()?;
        Ok(Body::Spooled {
            file,
            length: self.length,
        })
    }

    fn spool(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(super::spool::file()?);
        }
        let file = self.file.as_mut().expect("just made");
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }
}
