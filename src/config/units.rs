//! Durations and sizes as people write them: a bare number of seconds or bytes, or a text with units.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `30`, `0.5`, `"30s"`, `"1m30s"`, `"500ms"`. Serialised in the last form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// `1048576`, `"1MiB"`, `"64k"`. Every prefix is a power of 1024, as in nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Marks a key in the schema whose texts are measured in this unit, for the range check.
pub(super) const UNIT: &str = "x-rgunicorn-unit";

/// What the schema says of a text; digits are bounded so that no sum overflows.
const TIME_PATTERN: &str = r"^\s*([0-9]{1,9}(\.[0-9]{1,3})?\s*(ms|s|m|h|d)\s*)+$";
const SIZE_PATTERN: &str = r"^\s*[0-9]{1,6}(\.[0-9]{1,3})?\s*([kKmMgGtT]([iI]?[bB])?|[bB])\s*$";

const TIME_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("b", 1),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
];

impl Time {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// `None` where the text is no duration. Repeated units add up.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (number, after) = split_number(rest)?;
            let letters = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit)?.1;
            total = total.checked_add(scale(number, factor)?)?;
            rest = after.trim_start();
        }
        (!text.trim().is_empty()).then_some(Self(Duration::from_millis(total)))
    }
}

impl Size {
    pub const fn kibibytes(count: u64) -> Self {
        Self(count << 10)
    }

    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// `None` where the text is no size.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text.trim())?;
        let unit = unit.trim_end().to_ascii_lowercase();
        let prefix = match unit.as_str() {
            "b" => "b",
            other => other
                .strip_suffix("ib")
                .or_else(|| other.strip_suffix('b'))
                .unwrap_or(other),
        };
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == prefix)?.1;
        scale(number, factor).map(Self)
    }
}

/// The digits (with a point) in front, and what follows without leading blanks.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    (!number.is_empty()).then(|| (number, rest.trim_start()))
}

/// Whole units exactly, a fraction rounded to the nearest one.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let fraction = format!("0.{fraction}").parse::<f64>().ok()?;
    whole.checked_add((fraction * factor as f64).round() as u64)
}

/// The largest units first, as a person would say it: `1h30m`. Up to two minutes seconds are more usual: `75s`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        let is_short = rest < 120_000;
        for (unit, factor) in TIME_UNITS.iter().rev() {
            if rest >= *factor && !(is_short && *unit == "m") {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match self.0 {
            n if fits(40) => write!(f, "{}TiB", n >> 40),
            n if fits(30) => write!(f, "{}GiB", n >> 30),
            n if fits(20) => write!(f, "{}MiB", n >> 20),
            n if fits(10) => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl de::Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Time, E> {
        Ok(Time::seconds(seconds))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Time, E> {
        Duration::try_from_secs_f64(seconds)
            .map(Time)
            .map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        Time::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": 86_400,
            "pattern": TIME_PATTERN,
            UNIT: "seconds",
        })
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": 1_u64 << 50,
            "pattern": SIZE_PATTERN,
            UNIT: "bytes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_units_and_sums_of_them() {
        let milliseconds = |text| Time::parse(text).map(|time| time.0.as_millis());
        assert_eq!(milliseconds("30s"), Some(30_000));
        assert_eq!(milliseconds("1m30s"), Some(90_000));
        assert_eq!(milliseconds("1m 30 s"), Some(90_000));
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("1.5h"), Some(5_400_000));
        for wrong in [
            "",
            "30",
            "s",
            "1x",
            "-1s",
            "1s2",
            "1.2.3s",
            "99999999999999999999d",
        ] {
            assert_eq!(milliseconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        let bytes = |text| Size::parse(text).map(|size| size.0);
        assert_eq!(bytes("64k"), Some(65_536));
        assert_eq!(bytes("10MiB"), Some(10 << 20));
        assert_eq!(bytes("10mb"), Some(10 << 20));
        assert_eq!(bytes("1.5 G"), Some(3 << 29));
        assert_eq!(bytes("512B"), Some(512));
        for wrong in ["", "10", "MiB", "1X", "-1k", "99999999999T"] {
            assert_eq!(bytes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_shown_can_be_written_again() {
        for text in ["0s", "250ms", "75s", "2m30s", "1d", "1h1ms"] {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        for text in ["0B", "1000B", "64KiB", "100MiB", "1GiB", "1TiB"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
    }
}
