//! The PROXY protocol: what a load balancer says about a connection before its first request.
//!
//! Both versions of HAProxy's specification ("The PROXY protocol", version 2, sections 2.1 and 2.2). Bytes go in; who the
//! client is comes out, or that more bytes are needed, or a refusal at the first byte that is wrong. The address that the
//! client connected to is checked and not kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Refusal;

/// The longest line of version 1, with its CRLF: section 2.1.
const LINE_BYTES_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2: signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
/// The most that may follow the fixed part of version 2: addresses, and extensions such as the client's certificate. The
/// protocol allows 64 KiB; nobody is known to send a tenth of that.
const BLOCK_BYTES_MAX: usize = 8 * 1024;

/// Which versions are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The readable line.
    One,
    /// The binary header.
    Two,
    Both,
}

/// Who speaks on the connection from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The load balancer itself, to see whether we are well.
    LoadBalancer,
    Client(SocketAddr),
    /// A client whose address the load balancer does not tell, or that has none.
    UnknownClient,
}

/// Whether this begins as only the header does, where no header is expected.
pub fn has_begun(buffer: &[u8]) -> bool {
    buffer.starts_with(LINE_START) || buffer.starts_with(SIGNATURE)
}

/// Reads the header at the start of `buffer`: who speaks, and how many bytes the header takes. `None` while it may still
/// become one; the next call must pass the same bytes with more behind them. At most [`FIXED_BYTES`] and
/// [`BLOCK_BYTES_MAX`] bytes are asked for.
pub fn parse(buffer: &[u8], versions: Versions) -> Result<Option<(Speaker, usize)>, Refusal> {
    let begins = |start: &[u8]| {
        buffer
            .iter()
            .zip(start)
            .all(|(byte, wanted)| byte == wanted)
    };
    match versions {
        Versions::One | Versions::Both if begins(LINE_START) => parse_line(buffer),
        Versions::Two | Versions::Both if begins(SIGNATURE) => parse_binary(buffer),
        Versions::One | Versions::Two | Versions::Both => {
            Err(Refusal::bad("the PROXY protocol header is missing"))
        }
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n`
fn parse_line(buffer: &[u8]) -> Result<Option<(Speaker, usize)>, Refusal> {
    const MALFORMED: Refusal = Refusal::bad("the PROXY protocol line is malformed");
    let window = &buffer[..buffer.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match window.len() < LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(Refusal::bad("the PROXY protocol line is too long")),
        };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(MALFORMED)?;
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
    let mut words = line.split(' ').skip(1);
    let speaker = match words.next() {
        // What else the line says is to be ignored.
        Some("UNKNOWN") => Speaker::UnknownClient,
        Some("TCP4") => Speaker::Client(endpoints::<Ipv4Addr>(words).ok_or(MALFORMED)?),
        Some("TCP6") => Speaker::Client(endpoints::<Ipv6Addr>(words).ok_or(MALFORMED)?),
        _ => return Err(MALFORMED),
    };
    Ok(Some((speaker, end + 1)))
}

/// Source and destination address, source and destination port; the source.
fn endpoints<'a, A: std::str::FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Option<SocketAddr> {
    let source: A = words.next()?.parse().ok()?;
    let _destination: A = words.next()?.parse().ok()?;
    let source_port = port(words.next()?)?;
    let _destination_port = port(words.next()?)?;
    words
        .next()
        .is_none()
        .then(|| SocketAddr::new(source.into(), source_port))
}

/// Decimal, and without leading zeros, which could be taken for octal.
fn port(text: &str) -> Option<u16> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn parse_binary(buffer: &[u8]) -> Result<Option<(Speaker, usize)>, Refusal> {
    let Some((fixed, rest)) = buffer.split_at_checked(FIXED_BYTES) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > BLOCK_BYTES_MAX {
        return Err(Refusal::bad("the PROXY protocol header is too long"));
    }
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0x0f);
    if version != 2 || command > 1 {
        return Err(Refusal::bad(
            "the PROXY protocol header has an unknown version or command",
        ));
    }
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let speaker = match command {
        0 => Speaker::LoadBalancer,
        _ => source(fixed[13], block)?,
    };
    Ok(Some((speaker, FIXED_BYTES + length)))
}

/// The source address of a block, which begins with both addresses and both ports; extensions that follow are skipped.
fn source(family_and_transport: u8, block: &[u8]) -> Result<Speaker, Refusal> {
    const TOO_SHORT: Refusal =
        Refusal::bad("the PROXY protocol header is too short for its addresses");
    match family_and_transport {
        0x11 => {
            let (addresses, _) = block.split_first_chunk::<12>().ok_or(TOO_SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            let address = Ipv4Addr::new(a, b, c, d);
            Ok(Speaker::Client(SocketAddr::new(
                address.into(),
                u16::from_be_bytes([high, low]),
            )))
        }
        0x21 => {
            let (addresses, _) = block.split_first_chunk::<36>().ok_or(TOO_SHORT)?;
            let mut octets = [0; 16];
            octets.copy_from_slice(&addresses[..16]);
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Ok(Speaker::Client(SocketAddr::new(
                Ipv6Addr::from(octets).into(),
                port,
            )))
        }
        // Unspecified, datagrams and UNIX sockets: the specification asks to treat what we do not serve as unspecified.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(Speaker::UnknownClient),
        _ => Err(Refusal::bad(
            "the PROXY protocol header has an unknown address family",
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2.
    fn binary(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [
            &SIGNATURE[..],
            &[version_and_command, family],
            &length,
            block,
        ]
        .concat()
    }

    const V4_BLOCK: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

    /// `client`, `unknown`, `itself` with the rest of the buffer; `more`; or the refusal.
    fn told(buffer: &[u8]) -> String {
        match parse(buffer, Versions::Both) {
            Ok(None) => "more".to_owned(),
            Ok(Some((speaker, length))) => {
                let rest = String::from_utf8_lossy(&buffer[length..]);
                match speaker {
                    Speaker::Client(address) => format!("{address} then {rest:?}"),
                    Speaker::UnknownClient => format!("unknown then {rest:?}"),
                    Speaker::LoadBalancer => format!("itself then {rest:?}"),
                }
            }
            Err(refusal) => refusal.detail.to_owned(),
        }
    }

    #[test]
    fn a_line_tells_the_client() {
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET",
                "192.0.2.1:56324 then \"GET\"",
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                "255.255.255.255:65535 then \"\"",
            ),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4:0 then \"\""),
            (
                "PROXY TCP6 2001:db8::1 ::1 1 2\r\nx",
                "[2001:db8::1]:1 then \"x\"",
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
                "[::ffff:192.0.2.1]:1 then \"\"",
            ),
            ("PROXY UNKNOWN\r\nx", "unknown then \"x\""),
            (
                "PROXY UNKNOWN ffff:f...f:ffff 65535 whatever\r\n",
                "unknown then \"\"",
            ),
        ] {
            assert_eq!(told(line.as_bytes()), expected, "{line:?}");
        }
        let longest = format!(
            "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        assert_eq!(longest.len(), LINE_BYTES_MAX);
        assert_eq!(told(longest.as_bytes()), "unknown then \"\"");
    }

    #[test]
    fn a_line_with_a_fault_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 9\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7\r\n",
            "PROXY TCP4\r\n",
            "PROXY \r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 ::1 ::1 56324 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 56324 443\r\n",
            "PROXY TCP4 192.0.02.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 nobody 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 00 443\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWNx\r\n",
            "PROXY \u{e9}\r\n",
        ] {
            assert_eq!(
                told(line.as_bytes()),
                "the PROXY protocol line is malformed",
                "{line:?}"
            );
        }
        assert_eq!(
            told(b"PROXY TCP4 \xff\r\n"),
            "the PROXY protocol line is malformed"
        );
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(
            told(&endless.as_bytes()[..LINE_BYTES_MAX]),
            "the PROXY protocol line is too long"
        );
        assert_eq!(told(&endless.as_bytes()[..LINE_BYTES_MAX - 1]), "more");
    }

    #[test]
    fn a_binary_header_tells_the_client() {
        let mut v6_block = vec![0; 36];
        v6_block[..2].copy_from_slice(&[0x20, 0x01]);
        v6_block[15] = 9;
        v6_block[32..34].copy_from_slice(&[0x12, 0x34]);
        let extended = [V4_BLOCK, &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, expected) in [
            (binary(0x21, 0x11, V4_BLOCK), "192.0.2.1:56324"),
            (binary(0x21, 0x11, &extended), "192.0.2.1:56324"),
            (binary(0x21, 0x21, &v6_block), "[2001::9]:4660"),
            (binary(0x20, 0x00, b""), "itself"),
            (binary(0x20, 0x11, V4_BLOCK), "itself"),
            (binary(0x20, 0xff, b"anything"), "itself"),
            (binary(0x21, 0x00, b""), "unknown"),
            (binary(0x21, 0x00, b"an extension"), "unknown"),
            (binary(0x21, 0x12, V4_BLOCK), "unknown"),
            (binary(0x21, 0x31, &[0; 216]), "unknown"),
            (binary(0x20, 0x00, &[0; BLOCK_BYTES_MAX]), "itself"),
        ] {
            let buffer = [&header[..], b"GET"].concat();
            assert_eq!(
                told(&buffer),
                format!("{expected} then \"GET\""),
                "{header:x?}"
            );
        }
    }

    #[test]
    fn a_binary_header_with_a_fault_is_refused() {
        for (header, expected) in [
            (
                binary(0x11, 0x11, V4_BLOCK),
                "has an unknown version or command",
            ),
            (
                binary(0x31, 0x11, V4_BLOCK),
                "has an unknown version or command",
            ),
            (
                binary(0x22, 0x11, V4_BLOCK),
                "has an unknown version or command",
            ),
            (
                binary(0x2f, 0x11, V4_BLOCK),
                "has an unknown version or command",
            ),
            (
                binary(0x21, 0x10, V4_BLOCK),
                "has an unknown address family",
            ),
            (
                binary(0x21, 0x01, V4_BLOCK),
                "has an unknown address family",
            ),
            (
                binary(0x21, 0x41, V4_BLOCK),
                "has an unknown address family",
            ),
            (
                binary(0x21, 0x13, V4_BLOCK),
                "has an unknown address family",
            ),
            (
                binary(0x21, 0x11, &V4_BLOCK[1..]),
                "is too short for its addresses",
            ),
            (binary(0x21, 0x11, b""), "is too short for its addresses"),
            (
                binary(0x21, 0x21, &[0; 35]),
                "is too short for its addresses",
            ),
            (binary(0x21, 0x11, &[0; BLOCK_BYTES_MAX + 1]), "is too long"),
            (binary(0x20, 0x00, &[0; u16::MAX as usize]), "is too long"),
        ] {
            let expected = format!("the PROXY protocol header {expected}");
            assert_eq!(told(&header), expected, "{:x?}", &header[..16]);
        }
    }

    #[test]
    fn anything_else_is_refused_at_its_first_wrong_byte() {
        for start in [
            "G",
            "GET / HTTP/1.1\r\n",
            "PRI * HTTP/2",
            "PROXy",
            "\r\n\r\nG",
            "\n",
            "\0",
        ] {
            assert_eq!(
                told(start.as_bytes()),
                "the PROXY protocol header is missing",
                "{start:?}"
            );
        }
    }

    #[test]
    fn only_the_versions_that_are_wanted_are_taken() {
        let line = b"PROXY UNKNOWN\r\n";
        let header = binary(0x20, 0, b"");
        assert!(parse(line, Versions::One).is_ok() && parse(line, Versions::Two).is_err());
        assert!(parse(&header, Versions::Two).is_ok() && parse(&header, Versions::One).is_err());
        for versions in [Versions::One, Versions::Two, Versions::Both] {
            assert_eq!(parse(b"", versions), Ok(None));
        }
    }

    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let line = any::<(SocketAddr, u16)>().prop_map(|(source, port)| {
            let family = if source.is_ipv4() { 4 } else { 6 };
            let ip = source.ip();
            format!("PROXY TCP{family} {ip} {ip} {} {port}\r\n", source.port()).into_bytes()
        });
        let block = proptest::collection::vec(any::<u8>(), 0..300);
        let header = (any::<bool>(), 0_u8..4, 0_u8..4, block).prop_map(
            |(proxy, family, transport, block)| {
                binary(0x20 | u8::from(proxy), family << 4 | transport, &block)
            },
        );
        prop_oneof![line, header]
    }

    proptest! {
        /// Cut into two at any place, a header is the same as in one piece; and never is a whole one said to need more.
        #[test]
        fn it_does_not_matter_how_a_header_is_cut(header in headers(), rest: [u8; 4]) {
            let whole = [&header[..], &rest].concat();
            let verdict = parse(&whole, Versions::Both);
            prop_assert_ne!(verdict, Ok(None));
            for length in 0..header.len() {
                match parse(&whole[..length], Versions::Both) {
                    Ok(None) => {}
                    early => prop_assert_eq!(early, verdict),
                }
            }
            if let Ok(Some((_, length))) = verdict {
                prop_assert_eq!(length, header.len());
            }
        }

        /// Nothing that a stranger sends makes it panic or wait for ever.
        #[test]
        fn any_bytes_are_judged(mut bytes: Vec<u8>, signed: bool) {
            if signed {
                bytes = [&SIGNATURE[..], &bytes].concat();
            }
            if parse(&bytes, Versions::Both) == Ok(None) {
                bytes.resize(FIXED_BYTES + BLOCK_BYTES_MAX, 0);
                prop_assert_ne!(parse(&bytes, Versions::Both), Ok(None));
            }
        }

        /// What the line says is what is told.
        #[test]
        fn every_address_survives_the_line(source: SocketAddr) {
            let family = if source.is_ipv4() { 4 } else { 6 };
            let ip = source.ip();
            let line = format!("PROXY TCP{family} {ip} {ip} {} 1\r\n", source.port());
            let told = parse(line.as_bytes(), Versions::One);
            let source = SocketAddr::new(ip, source.port());
            prop_assert_eq!(told, Ok(Some((Speaker::Client(source), line.len()))));
        }
    }
}
