//! The two text formats of Prometheus: OpenMetrics 1.0, and 0.0.4, which older collectors read.
//!
//! They differ in the name of a counter's family, in units, and in the end mark.

use std::fmt::{Display, Write as _};

/// What a collector asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// Version 0.0.4.
    Text,
}

impl Format {
    /// By the `Accept` field of the request. Prometheus names OpenMetrics first where it can read it; a person's browser or
    /// curl gets plain text. Weights are not looked at: who names OpenMetrics can read it.
    pub fn negotiate(accept: &str) -> Self {
        let mut types = accept.split(',').filter_map(|part| part.split(';').next());
        match types.any(|kind| kind.trim() == "application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Text that grows family by family.
pub(super) struct Exposition {
    format: Format,
    text: String,
    /// The family whose samples come next.
    family: String,
    kind: Kind,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::with_capacity(16 * 1024),
            family: String::new(),
            kind: Kind::Gauge,
        }
    }

    /// Begins a family. `name` is without prefix and without `_total`; it ends in its unit where it has one.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.family = format!("rgunicorn_{name}");
        self.kind = kind;
        let is_open = self.format == Format::OpenMetrics;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info if is_open => "info",
            Kind::Info => "gauge",
        };
        let named = match is_open {
            true => self.family.clone(),
            false => format!("{}{}", self.family, self.suffix()),
        };
        self.line(format_args!("# TYPE {named} {kind}"));
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(unit));
        if let Some(unit) = unit.filter(|_| is_open) {
            self.line(format_args!("# UNIT {named} {unit}"));
        }
        self.line(format_args!("# HELP {named} {help}"));
    }

    /// A sample of the current family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.write_sample(self.suffix(), labels, value);
    }

    /// The samples of a histogram: of each bucket its upper bound in seconds and what fell into it, and the sum of all.
    pub(super) fn histogram(&mut self, buckets: impl Iterator<Item = (String, u64)>, sum: f64) {
        let mut count = 0;
        for (bound, inside) in buckets {
            count += inside;
            self.write_sample("_bucket", &[("le", &bound)], count);
        }
        self.write_sample("_sum", &[], sum);
        self.write_sample("_count", &[], count);
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// What the sample's name has and the family's in OpenMetrics has not.
    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }

    fn write_sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(&self.family);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            before = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.family("sent_bytes", Kind::Counter, "Bytes sent.");
        out.sample(&[("to", "a\"b\\\n")], 7);
        out.family("build", Kind::Info, "The program.");
        out.sample(&[("version", "1"), ("more", "é")], 1);
        out.family("wait_seconds", Kind::Histogram, "How long.");
        let buckets = [("0.1".to_owned(), 2), ("+Inf".to_owned(), 1)];
        out.histogram(buckets.into_iter(), 0.5);
        out.finish()
    }

    #[test]
    fn open_metrics_names_families_without_the_suffix_and_says_where_it_ends() {
        insta::assert_snapshot!(exposed(Format::OpenMetrics), @r##"
        # TYPE rgunicorn_sent_bytes counter
        # UNIT rgunicorn_sent_bytes bytes
        # HELP rgunicorn_sent_bytes Bytes sent.
        rgunicorn_sent_bytes_total{to="a\"b\\\n"} 7
        # TYPE rgunicorn_build info
        # HELP rgunicorn_build The program.
        rgunicorn_build_info{version="1",more="é"} 1
        # TYPE rgunicorn_wait_seconds histogram
        # UNIT rgunicorn_wait_seconds seconds
        # HELP rgunicorn_wait_seconds How long.
        rgunicorn_wait_seconds_bucket{le="0.1"} 2
        rgunicorn_wait_seconds_bucket{le="+Inf"} 3
        rgunicorn_wait_seconds_sum 0.5
        rgunicorn_wait_seconds_count 3
        # EOF
        "##);
    }

    #[test]
    fn the_older_format_names_families_as_their_samples() {
        insta::assert_snapshot!(exposed(Format::Text), @r##"
        # TYPE rgunicorn_sent_bytes_total counter
        # HELP rgunicorn_sent_bytes_total Bytes sent.
        rgunicorn_sent_bytes_total{to="a\"b\\\n"} 7
        # TYPE rgunicorn_build_info gauge
        # HELP rgunicorn_build_info The program.
        rgunicorn_build_info{version="1",more="é"} 1
        # TYPE rgunicorn_wait_seconds histogram
        # HELP rgunicorn_wait_seconds How long.
        rgunicorn_wait_seconds_bucket{le="0.1"} 2
        rgunicorn_wait_seconds_bucket{le="+Inf"} 3
        rgunicorn_wait_seconds_sum 0.5
        rgunicorn_wait_seconds_count 3
        "##);
    }

    #[test]
    fn who_can_read_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Format::negotiate(prometheus), Format::OpenMetrics);
        assert_eq!(
            Format::negotiate("text/plain, application/openmetrics-text"),
            Format::OpenMetrics
        );
        for other in ["", "*/*", "text/html,*/*;q=0.8"] {
            assert_eq!(Format::negotiate(other), Format::Text, "{other}");
        }
    }
}
