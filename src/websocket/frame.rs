//! Frames on the wire, RFC 6455 section 5: their heads in both directions, and the mask.

use super::close::Failure;

/// The longest payload of a control frame in bytes.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// The longest head of a frame that a server writes: two bytes and a length of 64 bits.
const HEAD_BYTES_MAX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// The head of a frame of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    /// Whether it is the last frame of its message.
    pub(super) is_final: bool,
    /// RSV1: the message that begins here is compressed.
    pub(super) is_compressed: bool,
    pub(super) payload_bytes: u64,
    pub(super) mask: [u8; 4],
    /// Bytes of the head itself.
    pub(super) bytes: usize,
}

impl Head {
    /// Reads the head of a frame. `None`: it is not all there, and nothing is wrong with what is.
    ///
    /// Each byte is judged as soon as it is there, so it does not depend on how the bytes arrive which fault is found.
    #[inline]
    pub(super) fn parse(input: &[u8], can_be_compressed: bool) -> Result<Option<Self>, Failure> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        let opcode = parse_first(first, can_be_compressed)?;
        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(Failure::protocol("a frame is not masked"));
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Failure::protocol("a control frame is too long"));
        }
        let rest = &input[2..];
        let (payload_bytes, rest) = match short {
            SHORT_IS_U16 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            SHORT_IS_U64 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            _ => (u64::from(short), rest),
        };
        check_length(short, payload_bytes)?;
        let Some((mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Self {
            opcode,
            is_final: first & FINAL != 0,
            is_compressed: first & COMPRESSED != 0,
            payload_bytes,
            mask: *mask,
            bytes: input.len() - rest.len(),
        }))
    }
}

#[inline]
fn parse_first(first: u8, can_be_compressed: bool) -> Result<Opcode, Failure> {
    let Some(opcode) = Opcode::from_bits(first & OPCODE) else {
        return Err(Failure::protocol("a frame has an unknown opcode"));
    };
    // RFC 7692 section 6: only on the first frame of a message.
    let begins_message = matches!(opcode, Opcode::Text | Opcode::Binary);
    let may_be_set = if can_be_compressed && begins_message {
        COMPRESSED
    } else {
        0
    };
    if first & RESERVED & !may_be_set != 0 {
        return Err(Failure::protocol("a frame has a reserved bit set"));
    }
    if opcode.is_control() && first & FINAL == 0 {
        return Err(Failure::protocol("a control frame is fragmented"));
    }
    Ok(opcode)
}

/// RFC 6455 section 5.2: the shortest form, and the highest bit of 64 is zero.
#[inline]
fn check_length(short: u8, payload_bytes: u64) -> Result<(), Failure> {
    let is_minimal = match short {
        SHORT_IS_U16 => payload_bytes >= u64::from(SHORT_IS_U16),
        SHORT_IS_U64 => payload_bytes > u64::from(u16::MAX),
        _ => true,
    };
    if !is_minimal || payload_bytes > i64::MAX as u64 {
        return Err(Failure::protocol("the length of a frame is malformed"));
    }
    Ok(())
}

/// Appends a whole frame, the only one of its message.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let (head, bytes) = head(FINAL | opcode as u8, payload.len());
    out.reserve(bytes + payload.len());
    out.extend_from_slice(&head[..bytes]);
    out.extend_from_slice(payload);
}

/// Appends a whole frame of a compressed message. `compress` appends the payload, whose length is known only then.
pub(super) fn write_compressed(
    out: &mut Vec<u8>,
    opcode: Opcode,
    compress: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES_MAX]);
    compress(out);
    let payload = start + HEAD_BYTES_MAX..out.len();
    let (head, bytes) = head(FINAL | COMPRESSED | opcode as u8, payload.len());
    out[start..start + bytes].copy_from_slice(&head[..bytes]);
    let end = start + bytes + payload.len();
    out.copy_within(payload, start + bytes);
    out.truncate(end);
}

/// The head of a frame that is not masked, and how many of these bytes it has.
#[inline]
fn head(first: u8, payload_bytes: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    head[0] = first;
    if payload_bytes <= CONTROL_BYTES_MAX {
        head[1] = payload_bytes as u8;
        (head, 2)
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        head[1] = SHORT_IS_U16;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        (head, 4)
    } else {
        head[1] = SHORT_IS_U64;
        head[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        (head, HEAD_BYTES_MAX)
    }
}

/// Removes the mask, RFC 6455 section 5.3, eight bytes at a time (of which the compiler makes more).
#[inline]
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The mask for what follows after so many bytes of a payload.
#[inline]
pub(super) fn turn(mut mask: [u8; 4], bytes: usize) -> [u8; 4] {
    mask.rotate_left(bytes % 4);
    mask
}

/// Bits of the first byte.
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0f;
/// The bit of the second byte, and the lengths that stand for a longer form.
const MASKED: u8 = 0x80;
const SHORT_IS_U16: u8 = 126;
const SHORT_IS_U64: u8 = 127;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client would send, with this mask.
    fn masked(mut frame: Vec<u8>, mask: [u8; 4]) -> Vec<u8> {
        let head = match frame[1] {
            SHORT_IS_U16 => 4,
            SHORT_IS_U64 => 10,
            _ => 2,
        };
        frame[1] |= MASKED;
        unmask(&mut frame[head..], mask);
        frame.splice(head..head, mask);
        frame
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            length in prop_oneof![0..300_usize, 65_400..65_700_usize],
            mask in any::<[u8; 4]>(),
            seed in any::<u8>(),
        ) {
            let payload: Vec<u8> = (0..length).map(|place| seed.wrapping_add(place as u8)).collect();
            let mut frame = Vec::new();
            write(&mut frame, Opcode::Binary, &payload);
            let mut frame = masked(frame, mask);
            let head = Head::parse(&frame, false).unwrap().unwrap();
            prop_assert_eq!(head.payload_bytes, length as u64);
            prop_assert_eq!(head.mask, mask);
            prop_assert!(head.is_final && !head.is_compressed);
            for cut in 0..head.bytes {
                prop_assert_eq!(Head::parse(&frame[..cut], false), Ok(None));
            }
            unmask(&mut frame[head.bytes..], mask);
            prop_assert_eq!(&frame[head.bytes..], &payload);
        }

        #[test]
        fn a_payload_can_be_unmasked_in_pieces(payload in proptest::collection::vec(any::<u8>(), 0..100), mask in any::<[u8; 4]>(), cut in any::<prop::sample::Index>()) {
            let mut whole = payload.clone();
            unmask(&mut whole, mask);
            let slow: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            prop_assert_eq!(&whole, &slow);
            let mut pieces = payload;
            let cut = cut.index(pieces.len() + 1);
            unmask(&mut pieces[..cut], mask);
            unmask(&mut pieces[cut..], turn(mask, cut));
            prop_assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn a_length_has_its_shortest_form() {
        for (head, is_valid) in [
            (&b"\x82\xfe\x00\x7d"[..], false),
            (b"\x82\xfe\x00\x7e", true),
            (b"\x82\xff\0\0\0\0\0\0\xff\xff", false),
            (b"\x82\xff\0\0\0\0\0\x01\0\0", true),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", true),
            (b"\x82\xff\x80\0\0\0\0\0\0\0", false),
        ] {
            assert_eq!(Head::parse(head, false).is_ok(), is_valid, "{head:x?}");
        }
    }

    #[test]
    fn the_head_of_a_compressed_frame_is_put_before_it() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let mut out = b"before".to_vec();
            write_compressed(&mut out, Opcode::Text, |out| {
                out.extend(std::iter::repeat_n(b'x', length));
            });
            let mut expected = b"before".to_vec();
            write(&mut expected, Opcode::Text, &vec![b'x'; length]);
            expected[6] |= COMPRESSED;
            assert!(out == expected, "length {length}");
        }
    }
}
