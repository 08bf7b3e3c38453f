//! Addresses: where to listen, and which peers to believe.

use std::path::Path;

use ipnet::{IpNet, Ipv4Net};

use super::Resolver;
use crate::config::{
    Bind, Proxy, ProxyProtocol, SchemeHeader, Statsd, StatsdHost, Trusted, file, layer::escape,
};

impl Resolver<'_> {
    pub(super) fn bind(&mut self, texts: &[String], chdir: &Path) -> Vec<Bind> {
        let mut binds = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let pointer = format!("/bind/{index}");
            match Bind::parse(text, chdir) {
                Err(reason) => {
                    self.problem(&pointer, format!("the address `{text}` {reason}"), "", None)
                }
                Ok(bind) if binds.contains(&bind) && !takes_any_port(&bind) => {
                    self.problem(
                        &pointer,
                        format!("the address `{text}` is there twice"),
                        "",
                        None,
                    );
                }
                Ok(bind) => {
                    if let Some(path) = bind.socket_file() {
                        self.file_to_make(&pointer, path.to_owned());
                    }
                    binds.push(bind);
                }
            }
        }
        binds
    }

    pub(super) fn statsd(&mut self, statsd: file::Statsd, chdir: &Path) -> Statsd {
        let host = statsd.host.map(|text| {
            StatsdHost::parse(&text, chdir).map_err(|reason| {
                let title = format!("the address `{text}` {reason}");
                self.problem("/statsd/host", title, "", None);
            })
        });
        Statsd {
            host: host.and_then(Result::ok),
            prefix: statsd.prefix.trim_end_matches('.').to_owned(),
            tags: statsd.tags.0,
        }
    }

    pub(super) fn proxy(&mut self, proxy: file::Proxy) -> Proxy {
        let forwarded_allow_ips = self.trusted("forwarded_allow_ips", &proxy.forwarded_allow_ips.0);
        if proxy.protocol != ProxyProtocol::Off && forwarded_allow_ips == Trusted::Everyone {
            self.problem(
                "/proxy/forwarded_allow_ips",
                "`\"*\"` would believe what every client says, since `proxy.protocol` puts it in its load balancer's place"
                    .to_owned(),
                "",
                Some("name the networks of the proxies behind the load balancer, or write `[]`".to_owned()),
            );
        }
        let headers = proxy.scheme_headers.into_iter();
        Proxy {
            forwarded_allow_ips,
            forwarded: proxy.forwarded,
            forwarded_host: proxy.forwarded_host,
            scheme_headers: headers
                .map(|(name, value)| self.scheme_header(name, value))
                .collect(),
            header_map: proxy.header_map,
            protocol: proxy.protocol,
            protocol_allow_ips: self.trusted("protocol_allow_ips", &proxy.protocol_allow_ips.0),
        }
    }

    fn trusted(&mut self, key: &str, texts: &[String]) -> Trusted {
        if texts.iter().any(|text| text == "*") {
            return Trusted::Everyone;
        }
        let mut networks = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let pointer = format!("/proxy/{key}/{index}");
            let network = text.parse::<IpNet>().ok();
            let network =
                network.or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
            match network {
                Some(network) if network.trunc() == network => networks.push(canonical(network)),
                Some(network) => {
                    let help = format!(
                        "write `\"{}\"`, or `\"{}\"` for this one address",
                        network.trunc(),
                        network.addr()
                    );
                    let title = format!("`{text}` has address bits beyond its network");
                    self.problem(&pointer, title, "", Some(help));
                }
                None => {
                    let title = format!("`{text}` is neither an address nor a network");
                    self.problem(
                        &pointer,
                        title,
                        "",
                        Some("such as `\"10.0.0.5\"` or `\"10.0.0.0/8\"`".to_owned()),
                    );
                }
            }
        }
        Trusted::Networks(networks)
    }

    fn scheme_header(&mut self, name: String, value: String) -> SchemeHeader {
        // RFC 9110, 5.6.2: the letters of a token; an underscore would pass for a hyphen in the environ.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            let pointer = format!("/proxy/scheme_headers/{}", escape(&name));
            let help = name
                .contains('_')
                .then(|| format!("write `{}`", name.replace('_', "-")));
            self.problem_with_key(
                &pointer,
                format!("`{name}` is not the name of a header"),
                help,
            );
        }
        SchemeHeader { name, value }
    }
}

/// Addresses of IPv4 in IPv6's clothes (RFC 4291 section 2.5.5.2) as those of IPv4, which is how a peer's is compared.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    let length = network.prefix_len().checked_sub(MAPPED_BITS);
    let mapped = mapped.zip(length);
    mapped
        .and_then(|(address, length)| Ipv4Net::new(address, length).ok())
        .map_or(network, IpNet::V4)
}

fn takes_any_port(bind: &Bind) -> bool {
    matches!(bind, Bind::Tcp(tcp) if tcp.port == 0)
}

#[cfg(test)]
mod tests {
    use crate::config::test_config;

    #[test]
    fn an_address_of_ipv4_in_the_clothes_of_ipv6_is_that_address() {
        let trusts = |network: &str, peer: &str| {
            let config = test_config(&format!("proxy.forwarded_allow_ips = '{network}'"));
            let trusted = config.proxy.forwarded_allow_ips;
            trusted.includes(peer.parse().unwrap())
        };
        for network in ["::ffff:10.0.0.5", "::ffff:10.0.0.0/104", "10.0.0.5"] {
            assert!(trusts(network, "10.0.0.5"), "{network}");
            assert!(trusts(network, "::ffff:10.0.0.5"), "{network}");
            assert!(!trusts(network, "11.0.0.5"), "{network}");
        }
        assert!(trusts("2001:db8::/32", "2001:db8::1"));
    }
}
