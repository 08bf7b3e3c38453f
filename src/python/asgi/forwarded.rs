//! Who the client is when a trusted proxy stands between: the rightmost address of X-Forwarded-For that is not itself a
//! trusted proxy's, for what stands left of it may have been made up by the client.

use std::net::IpAddr;

use crate::config::Trusted;

/// The client that the values of X-Forwarded-For tell, in the order they came; `None` when they tell none.
pub(super) fn client<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    trusted: &Trusted,
) -> Option<IpAddr> {
    let values: Vec<&[u8]> = values.into_iter().collect();
    let mut leftmost = None;
    for entry in values
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
    {
        // What is no address was not written by a proxy that we know: nothing left of it is believed either.
        let Some(address) = address(entry) else { break };
        leftmost = Some(address);
        if !is_trusted(trusted, address) {
            break;
        }
    }
    leftmost
}

fn is_trusted(trusted: &Trusted, address: IpAddr) -> bool {
    match trusted {
        Trusted::Everyone => true,
        Trusted::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
    }
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok(),
        None => text
            .parse()
            .ok()
            .or_else(|| text.split_once(':')?.0.parse().ok()),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &[&str]) -> Option<String> {
        let trusted = Trusted::Networks(vec![
            "127.0.0.1/32".parse().unwrap(),
            "10.0.0.0/8".parse().unwrap(),
        ]);
        let values = values.iter().map(|value| value.as_bytes());
        client(values, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_trusted_proxy() {
        assert_eq!(
            told(&["6.6.6.6, 1.2.3.4, 10.0.0.1"]).as_deref(),
            Some("1.2.3.4")
        );
        assert_eq!(
            told(&["6.6.6.6", "1.2.3.4,10.0.0.1", "10.1.1.1"]).as_deref(),
            Some("1.2.3.4")
        );
    }

    #[test]
    fn where_all_are_proxies_it_is_the_leftmost() {
        assert_eq!(told(&["10.0.0.7, 10.0.0.1"]).as_deref(), Some("10.0.0.7"));
    }

    #[test]
    fn ports_and_brackets_are_taken_off() {
        assert_eq!(told(&["1.2.3.4:99"]).as_deref(), Some("1.2.3.4"));
        assert_eq!(told(&["[2001:db8::1]:99"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(told(&["2001:db8::1"]).as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(told(&["1.2.3.4, unknown"]), None);
        assert_eq!(
            told(&["1.2.3.4, unknown, 10.0.0.1"]).as_deref(),
            Some("10.0.0.1")
        );
    }
}
