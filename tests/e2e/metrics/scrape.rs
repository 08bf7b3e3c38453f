//! How the tests of the metrics ask, and what the official parsers say to the answers.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use crate::{
    admin::support,
    harness::{
        Address, Client, Response, Server, Setup, eventually, free_port, venv_python, wait_in_time,
    },
};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3";

/// Each sample by its name and labels, as they stand in the text.
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    #[track_caller]
    pub(super) fn of(server: &Server) -> Self {
        Self::parse(&scrape(&address(server), "text/plain").unwrap().text())
    }

    /// `None` when the connection was cut, as an upgrade does.
    pub(super) fn try_at(address: &Address) -> Option<Self> {
        let response = scrape(address, "text/plain").ok()?;
        Some(Self::parse(&response.text()))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    /// One sample; the name is without its prefix.
    #[track_caller]
    pub(super) fn get(&self, name: &str) -> f64 {
        let found = self.0.get(&format!("rgunicorn_{name}"));
        *found.unwrap_or_else(|| panic!("there is no {name} in {:#?}", self.0))
    }

    /// The sum of all samples whose name and labels begin so.
    pub(super) fn sum(&self, beginning: &str) -> f64 {
        let beginning = format!("rgunicorn_{beginning}");
        let samples = self.0.iter();
        let found = samples.filter(|(name, _)| name.starts_with(&beginning));
        found.map(|(_, value)| value).sum()
    }

    /// Counters of the samples before must not have gone down.
    #[track_caller]
    pub(super) fn must_follow(&self, before: &Self) {
        let is_counter = |name: &str| {
            let family = name.split('{').next().unwrap();
            ["_total", "_bucket", "_count", "_sum"]
                .iter()
                .any(|end| family.ends_with(end))
        };
        for (name, value) in before.0.iter().filter(|(name, _)| is_counter(name)) {
            let now = self.0.get(name).copied().unwrap_or(0.0);
            assert!(now >= *value, "{name} went from {value} to {now}");
        }
    }
}

pub(super) fn address(server: &Server) -> Address {
    Address::Unix(support::socket(server))
}

fn scrape(address: &Address, accept: &str) -> io::Result<Response> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    let mut client = Client::try_to(address)?;
    client.send(request);
    let response = client.try_response("GET")?;
    assert_eq!(response.status, 200, "{response:?}");
    Ok(response)
}

/// Waits until a sample has that value: a request is counted a moment after its client has the answer.
#[track_caller]
pub(super) fn becomes(server: &Server, name: &str, wanted: f64) -> Samples {
    let mut last = f64::NAN;
    let mut samples = None;
    eventually(&format!("{name} is {wanted}"), || {
        let now = Samples::of(server);
        last = now.get(name);
        samples = Some(now);
        assert!(
            last <= wanted || !name.contains("_total"),
            "{name} is {last}"
        );
        last == wanted
    });
    samples.unwrap()
}

/// Reads a text with an official parser; prints each sample.
#[track_caller]
fn parsed(parser: &str, text: &str) -> String {
    let script = format!(
        "import sys\nfrom prometheus_client.{parser} import text_string_to_metric_families\n\
         for family in text_string_to_metric_families(sys.stdin.read()):\n    \
         assert family.documentation, family\n    \
         for sample in family.samples:\n        \
         print(family.type, family.unit, sample.name, sorted(sample.labels.items()), float(sample.value))\n"
    );
    let mut child = Command::new(venv_python())
        .args(["-c", &script])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = wait_in_time(child).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{text}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_official_parsers_read_both_formats() {
    let server = Server::start("threads = 2\nproc_name = 'a \"b\"'");
    server.text("/");
    assert_eq!(server.get("/error").status, 500);
    becomes(
        &server,
        "requests_total{method=\"GET\",status=\"5xx\"}",
        1.0,
    );

    let address = address(&server);
    let open = scrape(&address, OPEN_METRICS).unwrap();
    let content_type = open.field("content-type").unwrap();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    let told = parsed("openmetrics.parser", &open.text());
    let line = "counter  rgunicorn_requests_total [('method', 'GET'), ('status', '2xx')] 1.0";
    assert!(told.contains(line), "{told}");
    assert!(told.contains("histogram seconds rgunicorn_request_duration_seconds_count [] 2.0"));

    let plain = scrape(&address, "*/*").unwrap();
    let content_type = plain.field("content-type").unwrap();
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    let told = parsed("parser", &plain.text());
    assert!(told.contains(line), "{told}");
}

#[test]
fn a_collector_may_be_let_in_without_the_token() {
    let port = free_port();
    let config = format!(
        "[admin]\naddress = '127.0.0.1:{port}'\ntoken = '0123456789abcdef'\nopen = '/metrics'"
    );
    let _server = Server::start(&config);
    let address = Address::Tcp(([127, 0, 0, 1], port).into());
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        Client::to(&address).request(&request).status
    };
    assert_eq!(ask("/metrics"), 200);
    assert_eq!(ask("/metrics.json"), 401);
}

#[test]
fn the_same_figures_are_there_as_json() {
    let server = Setup::with("workers = 2").start();
    for _ in 0..3 {
        server.text("/");
    }
    becomes(
        &server,
        "requests_total{method=\"GET\",status=\"2xx\"}",
        3.0,
    );
    let figures = support::get(&server, "/metrics.json").json();
    assert_eq!(figures["requests"], 3);
    assert_eq!(figures["requests_by_code"]["200"], 3);
    assert_eq!(figures["requests_by_method"]["GET"], 3);
    assert_eq!(figures["workers"]["ready"], 2);
    let duration = &figures["request_duration"];
    let counts = duration["counts"].as_array().unwrap();
    let sum: u64 = counts.iter().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(sum, 3);
    let bounds = duration["bounds_seconds"].as_array().unwrap();
    assert_eq!(bounds.len() + 1, counts.len());
    assert!(figures["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(figures["worker_memory_bytes"].as_array().unwrap().len(), 2);
}
