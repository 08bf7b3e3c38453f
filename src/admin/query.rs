//! What follows the question mark: `workers=4&quick`.

use crate::http::percent;

/// Names and values, decoded. The request line's limit bounds them.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &[u8]) -> Self {
        let pairs = text.split(|byte| *byte == b'&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut next = || decoded(parts.next().unwrap_or_default());
            (next(), next())
        });
        Self(pairs.collect())
    }

    /// The value that was given last; empty for a name alone.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().rev().filter(|(given, _)| given == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: `quick`, `quick=1`, `quick=true`.
    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("" | "1" | "true" | "yes"))
    }
}

/// As forms are encoded: a plus is a space.
fn decoded(text: &[u8]) -> String {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let mut scratch = Vec::new();
    String::from_utf8_lossy(percent::decode(&spaced, &mut scratch)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_taken_apart_and_decoded() {
        let query = Query::parse(b"workers=4&name=a%26b+c&quick&&workers=5&off=0");
        assert_eq!(query.get("workers"), Some("5"));
        assert_eq!(query.get("name"), Some("a&b c"));
        assert_eq!(query.get("nothing"), None);
        assert!(query.is_on("quick"));
        assert!(!query.is_on("off") && !query.is_on("nothing"));
    }
}
