//! Numbers and addresses as text, at the end of a line that is being written. Each line of the access log has a dozen of them.

use std::{io::Write as _, net::IpAddr};

/// In decimal.
pub(super) fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Of few digits, which are put down one by one: cheaper than to copy them from where they were made.
pub(super) fn short_number(value: u16, out: &mut Vec<u8>) {
    let digit = |unit| b'0' + (value / unit % 10) as u8;
    match value {
        0..10 => out.push(digit(1)),
        10..100 => out.extend_from_slice(&[digit(10), digit(1)]),
        100..1000 => out.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        _ => number(value, out),
    }
}

/// With leading zeros, to this many digits at least.
pub(super) fn padded(value: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    out.resize(out.len() + width.saturating_sub(text.len()), b'0');
    out.extend_from_slice(text.as_bytes());
}

/// An address. Most clients speak IPv4, and the general way costs more than the rest of a line.
pub(super) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let [first, others @ ..] = address.octets();
            short_number(first.into(), out);
            for octet in others {
                out.push(b'.');
                short_number(octet.into(), out);
            }
        }
        // A Vec takes everything.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}
