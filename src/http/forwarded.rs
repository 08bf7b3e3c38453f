//! What proxies tell about the client of a request: its address, its scheme, and the host that it asked for.
//!
//! Each proxy adds to the right of what it received, so a field is read from right to left: the rightmost entry was written
//! by our peer, the next one by whoever that entry names, and so on for as long as those are proxies that we trust. What
//! stands left of the first stranger's address may have been made up by the stranger, and is never looked at.
//!
//! Addresses come from X-Forwarded-For or from Forwarded (RFC 7239), never from both: a proxy that writes one of them passes
//! the other on as its client sent it. Nothing here decides whom to trust; the caller says it.

mod element;

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use super::{Refusal, field::trim, host};
use element::Elements;

/// The fields that our proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Addresses are not taken from any field.
    None,
    /// X-Forwarded-For, and its kin.
    XForwarded,
    /// Forwarded, RFC 7239, alone.
    Forwarded,
}

/// A field that tells the scheme.
#[derive(Debug, Clone)]
pub struct SchemeField {
    pub name: String,
    /// The value that means https, compared without case.
    pub https: String,
}

/// What is believed of a trusted peer.
#[derive(Debug, Clone)]
pub struct Belief {
    dialect: Dialect,
    /// Host and port of the request are taken, too.
    takes_host: bool,
    scheme_fields: Vec<SchemeField>,
    /// A bit for each length that the name of such a field has.
    lengths: u64,
}

/// An address, with the port if it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub address: IpAddr,
    pub port: Option<u16>,
}

/// What the proxies told. `None` where they told nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told<'b> {
    pub client: Option<Node>,
    pub is_https: Option<bool>,
    /// A valid host that is not empty, with or without a port.
    pub host: Option<&'b [u8]>,
    /// The port that the client connected to.
    pub port: Option<u16>,
}

impl Told<'_> {
    /// The host as `Host` would say it: with the port that was told, if the host has none and the scheme another.
    pub fn host_with_port(&self) -> Option<Cow<'_, [u8]>> {
        let host = self.host?;
        let usual = if self.is_https == Some(true) { 443 } else { 80 };
        Some(match self.port {
            Some(port) if port != usual && !host::has_port(host) => {
                [host, b":", port.to_string().as_bytes()].concat().into()
            }
            _ => host.into(),
        })
    }
}

const FORWARDED: &str = "Forwarded";
const FOR: &str = "X-Forwarded-For";
const HOST: &str = "X-Forwarded-Host";
const PORT: &str = "X-Forwarded-Port";

impl Belief {
    /// With [`Dialect::Forwarded`] the scheme comes from that field too, and `scheme_fields` are not believed.
    pub fn new(dialect: Dialect, takes_host: bool, scheme_fields: Vec<SchemeField>) -> Self {
        let mut belief = Self {
            dialect,
            takes_host,
            scheme_fields,
            lengths: 0,
        };
        let bit = |name: &str| 1 << name.len().min(63);
        belief.lengths = belief.names().map(bit).fold(0, |bits, bit| bits | bit);
        belief
    }

    /// The fields that count.
    fn names(&self) -> impl Iterator<Item = &str> {
        let addresses: &[&str] = match (self.dialect, self.takes_host) {
            (Dialect::None, _) => &[],
            (Dialect::XForwarded, false) => &[FOR],
            (Dialect::XForwarded, true) => &[FOR, HOST, PORT],
            (Dialect::Forwarded, _) => &[FORWARDED],
        };
        let is_alone = self.dialect == Dialect::Forwarded;
        let schemes = self.scheme_fields.iter().filter(move |_| !is_alone);
        (addresses.iter().copied()).chain(schemes.map(|field| field.name.as_str()))
    }

    /// Whether a field of this name counts: where none does, there is no need to read.
    #[inline]
    pub fn concerns(&self, name: &[u8]) -> bool {
        self.lengths >> name.len().min(63) & 1 == 1 && self.names().any(|known| is(name, known))
    }

    /// Reads the fields of a request that came from a trusted peer. `is_proxy`: whether what stands left of this address was
    /// written by a proxy that is trusted, too.
    ///
    /// A refusal: the fields contradict each other, or are not what a proxy would write.
    pub fn read<'b>(
        &self,
        fields: impl DoubleEndedIterator<Item = (&'b [u8], &'b [u8])> + Clone,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) -> Result<Told<'b>, Refusal> {
        match self.dialect {
            Dialect::Forwarded => self.read_forwarded(fields, is_proxy),
            Dialect::None | Dialect::XForwarded => self.read_x_forwarded(fields, is_proxy),
        }
    }

    fn read_x_forwarded<'b>(
        &self,
        fields: impl DoubleEndedIterator<Item = (&'b [u8], &'b [u8])> + Clone,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) -> Result<Told<'b>, Refusal> {
        let mut told = Told::default();
        let mut hops = 0;
        if self.dialect == Dialect::XForwarded {
            let nodes = entries(&fields, FOR).map(|entry| node(entry, false));
            (told.client, hops) = walk(nodes, is_proxy);
        }
        for scheme in &self.scheme_fields {
            let Some(value) = at_hop(entries(&fields, &scheme.name), hops) else {
                continue;
            };
            // A proxy that tells the schemes of WebSockets writes `wss` where the others write `https`.
            let is_https =
                is(value, &scheme.https) || (is(b"https", &scheme.https) && is(value, "wss"));
            if told.is_https.is_some_and(|before| before != is_https) {
                return Err(Refusal::bad(
                    "the headers of the proxy contradict each other about the scheme",
                ));
            }
            told.is_https = Some(is_https);
        }
        if self.takes_host && self.dialect == Dialect::XForwarded {
            told.host = valid_host(at_hop(entries(&fields, HOST), hops))?;
            told.port = at_hop(entries(&fields, PORT), hops).and_then(number);
        }
        Ok(told)
    }

    fn read_forwarded<'b>(
        &self,
        fields: impl DoubleEndedIterator<Item = (&'b [u8], &'b [u8])> + Clone,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) -> Result<Told<'b>, Refusal> {
        let mut elements = Vec::new();
        for value in values(&fields, FORWARDED) {
            for element in Elements::of(value) {
                // Text that opens a quotation and does not close it would swallow what our own proxy appended.
                elements.push(element.ok_or(Refusal::bad("the Forwarded header is malformed"))?);
            }
        }
        let nodes = elements.iter().rev().map(|element| {
            let node_name = element.client.as_ref()?;
            node(node_name.plain()?, true)
        });
        let (client, hops) = walk(nodes, is_proxy);
        let mut told = Told {
            client,
            ..Told::default()
        };
        if let Some(element) = elements.iter().rev().nth(hops) {
            told.is_https = (element.scheme.as_ref()).map(|scheme| {
                let scheme = scheme.plain().unwrap_or_default();
                is(scheme, "https") || is(scheme, "wss")
            });
            if self.takes_host {
                let host = element.host.as_ref();
                told.host = valid_host(host.map(|host| host.plain().unwrap_or(b"\\")))?;
            }
        }
        Ok(told)
    }
}

/// The values of all fields of this name, in the order of arrival.
fn values<'b>(
    fields: &(impl DoubleEndedIterator<Item = (&'b [u8], &'b [u8])> + Clone),
    wanted: &str,
) -> impl DoubleEndedIterator<Item = &'b [u8]> {
    fields
        .clone()
        .filter(move |(name, _)| is(name, wanted))
        .map(|(_, value)| value)
}

/// The entries of a list from right to left: several fields are one list, RFC 9110 section 5.3.
fn entries<'b>(
    fields: &(impl DoubleEndedIterator<Item = (&'b [u8], &'b [u8])> + Clone),
    wanted: &str,
) -> impl Iterator<Item = &'b [u8]> {
    values(fields, wanted)
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
        .map(trim)
}

/// From our peer outwards to the first address that is no proxy of ours, or to the last that is told: that address, and how
/// many entries stand right of it. What is no address tells no more, and nothing left of it is believed.
fn walk(
    nodes: impl Iterator<Item = Option<Node>>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> (Option<Node>, usize) {
    let mut found = (None, 0);
    for (hops, node) in nodes.map_while(|node| node).enumerate() {
        found = (Some(node), hops);
        if !is_proxy(node.address) {
            break;
        }
    }
    found
}

/// What the proxy wrote that is `hops` away from our peer. Where the list is shorter, proxies replaced what they received in
/// place of adding to it, and the leftmost entry is the one that came furthest.
fn at_hop<'b>(mut entries: impl Iterator<Item = &'b [u8]>, hops: usize) -> Option<&'b [u8]> {
    let nearest = entries.next()?;
    Some(entries.take(hops).last().unwrap_or(nearest))
}

/// `1.2.3.4`, `1.2.3.4:80`, `[::1]`, `[::1]:80`, and `::1`, which RFC 7239 wants in brackets. No name, `unknown` and
/// no `_hidden` one. An IPv4 address in IPv6's clothes is shown as IPv4.
fn node(entry: &[u8], wants_brackets: bool) -> Option<Node> {
    let text = std::str::from_utf8(entry).ok()?;
    let (address, port): (IpAddr, &str) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), rest)
        }
        None => match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) if wants_brackets => return None,
            Ok(address) => (address, ""),
            Err(_) => {
                let colon = text.find(':')?;
                (text[..colon].parse().ok()?, &text[colon..])
            }
        },
    };
    let port = match port {
        "" => None,
        // RFC 7239 allows a port that is hidden, `_x`.
        port => match port.strip_prefix(':')? {
            hidden if hidden.starts_with('_') => None,
            port => Some(number(port.as_bytes())?),
        },
    };
    Some(Node {
        address: address.to_canonical(),
        port,
    })
}

/// A port in decimal.
fn number(text: &[u8]) -> Option<u16> {
    let is_number = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// An empty host tells nothing; one that is none is refused, as the request's own would be.
fn valid_host(text: Option<&[u8]>) -> Result<Option<&[u8]>, Refusal> {
    match text {
        None | Some(b"") => Ok(None),
        Some(text) if host::is_valid(text) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad("the host that the proxy tells is invalid")),
    }
}

#[inline]
fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

#[cfg(test)]
mod tests;
