//! Durations and sizes as people write them: `15m`, `1d12h`, `64MiB`.
//!
//! A bare number is refused everywhere: nobody can tell seconds from minutes at 3 a.m.
//! Parsing happens here, once; the rest of Muster holds [`Span`] and [`ByteSize`].

use std::{fmt, str::FromStr, time::Duration};

/// A length of time: a sum of `<integer><unit>` with units `ms`, `s`, `m`, `h`, `d`, `w`. `0s` is allowed.
///
/// **Units**: whole milliseconds inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

/// An amount of bytes: `<number><unit>` with units `B`, `KiB`, `MiB`, `GiB`, `TiB` and `kB`, `MB`, `GB`, `TB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Says why a duration or size was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Only digits: the unit is missing.
    #[error("`{0}` has no unit: write {1}")]
    NoUnit(String, String),
    /// The unit is not one of the known ones.
    #[error("`{text}` has an unknown unit `{unit}`: use {known}")]
    UnknownUnit {
        /// What was written.
        text: String,
        /// The part that was not understood.
        unit: String,
        /// The units that are.
        known: &'static str,
    },
    /// Not of the form number and unit.
    #[error("`{0}` is not {1}")]
    Malformed(String, &'static str),
}

const SPAN_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

impl Span {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the standard-library form.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Returns the length in seconds, with fractions.
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Says how long something took: with tenths below a minute, in whole seconds above.
    pub fn told(seconds: f64) -> String {
        if seconds < 60.0 {
            return format!("{seconds:.1}s");
        }
        Duration::try_from_secs_f64(seconds.round())
            .map_or_else(|_| format!("{seconds:.0}s"), |duration| Self(duration).to_string())
    }
}

impl From<Duration> for Span {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const WHAT: &str = "a duration like `30s`, `15m`, `1h30m` or `7d`";
        let malformed = || UnitError::Malformed(text.to_owned(), WHAT);
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(malformed());
        }
        if rest.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UnitError::NoUnit(text.to_owned(), format!("`{rest}s`, `{rest}m` or `{rest}h`")));
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| malformed())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = &rest[..letters];
            if unit.is_empty() {
                return Err(malformed());
            }
            let (_, factor) =
                SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| UnitError::UnknownUnit {
                    text: text.to_owned(),
                    unit: unit.to_owned(),
                    known: "ms, s, m, h, d, w",
                })?;
            total = number.checked_mul(*factor).and_then(|n| n.checked_add(total)).ok_or_else(malformed)?;
            rest = &rest[letters..];
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, factor) in SPAN_UNITS.iter().rev().filter(|(name, _)| *name != "w") {
            let count = rest / factor;
            if count > 0 {
                write!(f, "{count}{name}")?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const WHAT: &str = "a size like `500MB` or `64MiB`";
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        if unit.is_empty() && !number.is_empty() {
            return Err(UnitError::NoUnit(text.to_owned(), format!("`{number}MB` or `{number}MiB`")));
        }
        let number: f64 = number.parse().map_err(|_| UnitError::Malformed(text.to_owned(), WHAT))?;
        let factor: u64 = match unit.trim() {
            "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            other => {
                return Err(UnitError::UnknownUnit {
                    text: text.to_owned(),
                    unit: other.to_owned(),
                    known: "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB",
                });
            }
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates, and sizes near 2^64 do not exist"
        )]
        Ok(Self((number * factor as f64) as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        if unit == 0 { write!(f, "{} B", self.0) } else { write!(f, "{value:.1} {}", UNITS[unit]) }
    }
}

macro_rules! text_form {
    ($type:ty, $name:literal, $description:literal, $pattern:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "description": $description, "pattern": $pattern})
            }
        }
    };
}
pub(crate) use text_form;
text_form!(Span, "Span", "a duration with unit: 30s, 15m, 1h30m, 7d", r"^([0-9]+(ms|s|m|h|d|w))+$");
text_form!(ByteSize, "ByteSize", "a size with unit: 500MB, 64MiB", r"^[0-9.]+ ?([kKMGT]i?)?B$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_what_it_writes() {
        for text in ["0s", "30s", "15m", "1h30m", "7d", "1500ms"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{text}");
        }
        assert_eq!("1h30m".parse::<Span>().unwrap().to_string(), "1h30m");
    }

    #[test]
    fn a_bare_number_is_refused_with_the_units_to_choose_from() {
        let error = "15".parse::<Span>().unwrap_err();
        assert_eq!(error.to_string(), "`15` has no unit: write `15s`, `15m` or `15h`");
        assert!("1 fortnight".parse::<Span>().is_err());
        assert!("64".parse::<ByteSize>().is_err());
    }

    #[test]
    fn a_size_knows_binary_and_decimal_units() {
        assert_eq!("1MiB".parse::<ByteSize>().unwrap().0, 1_048_576);
        assert_eq!("1.5GB".parse::<ByteSize>().unwrap().0, 1_500_000_000);
    }
}
