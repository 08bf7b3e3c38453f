use proptest::prelude::*;

use super::*;

/// Proxies of ours: the machine itself and 10.0.0.0/8.
fn is_proxy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.octets()[0] == 10,
        IpAddr::V6(address) => address.is_loopback(),
    }
}

fn belief(dialect: Dialect, takes_host: bool) -> Belief {
    let scheme_fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on")];
    let scheme_fields = scheme_fields.map(|(name, https)| SchemeField {
        name: name.to_owned(),
        https: https.to_owned(),
    });
    Belief::new(dialect, takes_host, scheme_fields.into())
}

/// `client scheme host port`, each `-` where nothing is told; or the refusal.
fn read(belief: &Belief, lines: &[&str]) -> String {
    let fields: Vec<(&[u8], &[u8])> = lines
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let told = match belief.read(fields.iter().copied(), is_proxy) {
        Ok(told) => told,
        Err(refusal) => return refusal.detail.to_owned(),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let client = told.client.map(|node| match node.port {
        Some(port) => format!("{}/{port}", node.address),
        None => node.address.to_string(),
    });
    let scheme = told.is_https.map(|is| if is { "https" } else { "http" });
    [
        client,
        scheme.map(str::to_owned),
        told.host
            .map(|host| String::from_utf8_lossy(host).into_owned()),
        told.port.map(|port| port.to_string()),
    ]
    .map(or_dash)
    .join(" ")
}

fn x_forwarded(lines: &[&str]) -> String {
    read(&belief(Dialect::XForwarded, true), lines)
}

fn forwarded(lines: &[&str]) -> String {
    read(&belief(Dialect::Forwarded, true), lines)
}

#[test]
fn the_client_is_the_rightmost_address_that_is_no_proxy_of_ours() {
    for (value, client) in [
        ("1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 10.0.0.1", "1.2.3.4"),
        ("6.6.6.6,1.2.3.4,10.0.0.1,10.1.1.1", "1.2.3.4"),
        ("10.0.0.9, 1.2.3.4", "1.2.3.4"),
        // All are proxies: the one that stands furthest out is the client.
        ("10.0.0.7, 10.0.0.1", "10.0.0.7"),
        // What is no address ends the walk.
        ("1.2.3.4, unknown", "-"),
        ("1.2.3.4, unknown, 10.0.0.1", "10.0.0.1"),
        ("1.2.3.4, , 10.0.0.1", "10.0.0.1"),
        ("1.2.3.4,", "-"),
        ("", "-"),
        ("_hidden", "-"),
        ("example.org", "-"),
        ("1.2.3.4 5.6.7.8", "-"),
        ("1.2.3.4\t,\t10.0.0.1", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4, ::ffff:10.0.0.1", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:99", "2001:db8::1/99"),
        ("1.2.3.4:99", "1.2.3.4/99"),
        ("1.2.3.4:", "-"),
        ("1.2.3.4:99999", "-"),
        ("1.2.3.4:x", "-"),
        ("1.2.3.4:+9", "-"),
        ("[1.2.3.4]", "-"),
        ("[::1", "-"),
        ("[::1]x", "-"),
        ("01.2.3.4", "-"),
    ] {
        let line = format!("X-Forwarded-For: {value}");
        assert_eq!(
            x_forwarded(&[&line]),
            format!("{client} - - -"),
            "{value:?}"
        );
    }
}

#[test]
fn several_fields_are_one_list() {
    let lines = [
        "X-Forwarded-For: 6.6.6.6",
        "Accept: */*",
        "x-forwarded-for: 1.2.3.4,10.0.0.1",
        "X-FORWARDED-FOR: 10.0.0.2",
    ];
    assert_eq!(x_forwarded(&lines), "1.2.3.4 - - -");
}

#[test]
fn scheme_host_and_port_are_those_that_the_same_proxy_told() {
    let addresses = "X-Forwarded-For: 1.2.3.4, 10.0.0.1";
    // The one at the edge told https, and the one behind it http; or only the one at the edge told anything.
    for value in ["https, http", "https", "http, https, http"] {
        let line = format!("X-Forwarded-Proto: {value}");
        assert_eq!(
            x_forwarded(&[addresses, &line]),
            "1.2.3.4 https - -",
            "{value}"
        );
    }
    let lines = [
        addresses,
        "X-Forwarded-Host: evil, site.example:8443, inner",
        "X-Forwarded-Port: 1, 8443, 80",
    ];
    assert_eq!(x_forwarded(&lines), "1.2.3.4 - site.example:8443 8443");
    // What the client wrote left of it does not count.
    let lines = [
        "X-Forwarded-For: 6.6.6.6, 1.2.3.4",
        "X-Forwarded-Proto: https, http",
    ];
    assert_eq!(x_forwarded(&lines), "1.2.3.4 http - -");
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let contradiction = "the headers of the proxy contradict each other about the scheme";
    assert_eq!(
        x_forwarded(&["X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"]),
        contradiction
    );
    assert_eq!(
        x_forwarded(&["X-Forwarded-Proto: http", "X-Forwarded-Ssl: on"]),
        contradiction
    );
    assert_eq!(
        x_forwarded(&["X-Forwarded-Proto: HTTPS", "X-Forwarded-Ssl: On"]),
        "- https - -"
    );
    assert_eq!(
        x_forwarded(&["X-Forwarded-Proto: wss", "X-Forwarded-Ssl: on"]),
        "- https - -"
    );
    assert_eq!(
        x_forwarded(&["X-Forwarded-Host: a b"]),
        "the host that the proxy tells is invalid"
    );
    assert_eq!(
        x_forwarded(&["X-Forwarded-Host: ", "X-Forwarded-Port: x"]),
        "- - - -"
    );
}

#[test]
fn only_what_is_believed_is_read() {
    let all = [
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-Host: x.example",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Proto: http",
        "Forwarded: for=2.2.2.2;proto=https;host=f.example",
    ];
    for (dialect, takes_host, expected) in [
        (Dialect::XForwarded, true, "1.1.1.1 http x.example 1"),
        (Dialect::XForwarded, false, "1.1.1.1 http - -"),
        (Dialect::Forwarded, true, "2.2.2.2 https f.example -"),
        (Dialect::Forwarded, false, "2.2.2.2 https - -"),
        (Dialect::None, true, "- http - -"),
    ] {
        let belief = belief(dialect, takes_host);
        assert_eq!(read(&belief, &all), expected, "{dialect:?}");
        for line in all {
            let name = line.split(':').next().unwrap();
            let before = read(&belief, &[line]);
            assert_eq!(
                belief.concerns(name.as_bytes()),
                before != "- - - -",
                "{line}"
            );
        }
    }
    let long = "x".repeat(500);
    assert!(!belief(Dialect::XForwarded, true).concerns(long.as_bytes()));
}

#[test]
fn forwarded_is_read_as_rfc_7239_says() {
    for (value, expected) in [
        ("for=1.2.3.4", "1.2.3.4 - - -"),
        ("For=\"1.2.3.4:47011\"", "1.2.3.4/47011 - - -"),
        ("for=1.2.3.4:47011", "1.2.3.4/47011 - - -"),
        ("for=\"1.2.3.4:_port\"", "1.2.3.4 - - -"),
        (
            "for=\"[2001:db8:cafe::17]:4711\"",
            "2001:db8:cafe::17/4711 - - -",
        ),
        ("for=[2001:db8:cafe::17]", "2001:db8:cafe::17 - - -"),
        ("for=\"2001:db8:cafe::17\"", "- - - -"),
        ("for=192.0.2.43, for=\"[::1]\"", "192.0.2.43 - - -"),
        (
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            "192.0.2.60 http - -",
        ),
        (
            "for=6.6.6.6;proto=http, for=192.0.2.43;proto=https;host=a.example, for=10.0.0.1;proto=http",
            "192.0.2.43 https a.example -",
        ),
        (
            "for=192.0.2.43 ; proto=https , for=10.0.0.1",
            "192.0.2.43 https - -",
        ),
        (";;for=192.0.2.43;;", "192.0.2.43 - - -"),
        (", ,for=192.0.2.43,,", "192.0.2.43 - - -"),
        (
            "for=192.0.2.43;host=\"a.example:81\"",
            "192.0.2.43 - a.example:81 -",
        ),
        ("for=192.0.2.43;ext=\"a, for=6.6.6.6\"", "192.0.2.43 - - -"),
        (
            "for=192.0.2.43;ext=\"\\\", for=6.6.6.6\"",
            "192.0.2.43 - - -",
        ),
        // Hidden clients, and proxies that do not say for whom they speak.
        ("for=_hidden, for=10.0.0.1", "10.0.0.1 - - -"),
        ("for=6.6.6.6, for=unknown", "- - - -"),
        ("for=6.6.6.6, by=10.0.0.1", "- - - -"),
        ("for=6.6.6.6, proto=https", "- https - -"),
        ("for=\"1.2.3\\.4\"", "- - - -"),
        ("", "- - - -"),
    ] {
        let line = format!("Forwarded: {value}");
        assert_eq!(forwarded(&[&line]), expected, "{value:?}");
    }
    assert_eq!(
        forwarded(&[
            "Forwarded: for=6.6.6.6",
            "Forwarded: for=1.2.3.4,for=10.0.0.1"
        ]),
        "1.2.3.4 - - -"
    );
}

#[test]
fn a_client_cannot_hide_what_our_proxy_appended() {
    let appended = ", for=1.2.3.4;by=\"_x\"";
    for start in [
        "for=\"",
        "for=6.6.6.6;x=\"",
        "for=6.6.6.6;x=\"\\",
        "for",
        "for=",
        "=",
        "for=6.6.6.6;for=6.6.6.6",
        "for =6.6.6.6",
        "for=6.6.6.6 x",
        "for=\"6\"6",
        "\u{7f}",
    ] {
        for line in [
            format!("Forwarded: {start}{appended}"),
            format!("Forwarded: {start}"),
        ] {
            assert_eq!(
                forwarded(&[&line]),
                "the Forwarded header is malformed",
                "{line}"
            );
        }
    }
    assert_eq!(
        forwarded(&["Forwarded: for=1.2.3.4;host=\"a\\b\""]),
        "the host that the proxy tells is invalid"
    );
}

/// Addresses that no proxy of ours has.
fn stranger() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
        .prop_map(|address| address.to_canonical())
        .prop_filter("a proxy", |address| !is_proxy(*address))
}

proptest! {
    /// Whatever a client sends, its address is what the proxy at the edge appended.
    #[test]
    fn nobody_but_a_proxy_chooses_the_address(
        forged in "[ -~\t]{0,40}",
        client in stranger(),
        proxies in proptest::collection::vec(0_u8.., 0..4),
        own_line: bool,
    ) {
        let mut list = client.to_string();
        for last in proxies {
            list += &format!(", 10.0.0.{last}");
        }
        let lines = match own_line {
            true => vec![format!("X-Forwarded-For: {forged}"), format!("X-Forwarded-For: {list}")],
            false => vec![format!("X-Forwarded-For: {forged}, {list}")],
        };
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(x_forwarded(&lines), format!("{client} - - -"));
    }

    /// The same of Forwarded, unless the client broke its grammar, which is refused.
    #[test]
    fn nobody_but_a_proxy_chooses_the_address_in_forwarded(
        forged in "[-a-f=;,\"\\\\ ]{0,20}|(for=(\"1.2.3.4\"|1.2.3.4)[;, ]?){0,3}",
        client in stranger(),
        own_line: bool,
    ) {
        let node = match client {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let lines = match own_line {
            true => vec![format!("Forwarded: {forged}"), format!("Forwarded: for={node};proto=https")],
            false => vec![format!("Forwarded: {forged}, for={node};proto=https")],
        };
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let told = forwarded(&lines);
        prop_assert!(
            told == format!("{client} https - -") || told == "the Forwarded header is malformed",
            "{}", told
        );
    }

    #[test]
    fn any_bytes_are_judged(value: Vec<u8>) {
        for dialect in [Dialect::XForwarded, Dialect::Forwarded] {
            for name in [&b"Forwarded"[..], b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto"] {
                let _ = belief(dialect, true).read([(name, &value[..])].into_iter(), |_| true);
            }
        }
    }
}
