//! Numbers and nouns with units: `30s`, `64KiB`, `50%`, and whole numbers within bounds.

use std::marker::PhantomData;
use std::time::Duration;

use serde_json::{Value, json};

use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::tree::Node;

/// Bounds of a [`Span`], in milliseconds.
pub(crate) const MILLISECOND: u64 = 1;
pub(crate) const SECOND: u64 = 1000 * MILLISECOND;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

const DURATIONS: [(&str, u64); 5] = [("ms", MILLISECOND), ("s", SECOND), ("m", MINUTE), ("h", HOUR), ("d", DAY)];

/// Decimal and binary multiples of a byte (IEC 80000-13).
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A duration from `MIN` to `MAX` milliseconds.
pub(crate) struct Span<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Setting for Span<MIN, MAX> {
    type Value = Duration;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Duration> {
        let word = reader.word(node, "a duration such as `30s`")?;
        let Some(milliseconds) = with_unit(&word.text, &DURATIONS) else {
            let message = format!("`{}` is not a duration", word.shown);
            return reader.wrong(node, message, "a whole number and a unit: `500ms`, `30s`, `1m`, `2h`, `1d`");
        };
        if !(MIN..=MAX).contains(&milliseconds) {
            let message = format!("`{}` is not within {} and {}", word.shown, short(MIN), short(MAX));
            return reader.wrong(node, message, "");
        }
        Some(Duration::from_millis(milliseconds))
    }

    fn blank() -> Duration {
        Duration::from_millis(MIN)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "$comment": format!("duration, {} to {}", short(MIN), short(MAX)),
        }))
    }
}

/// Milliseconds in the largest unit that leaves no rest.
fn short(milliseconds: u64) -> String {
    let fitting = DURATIONS.iter().rev().find(|(_, unit)| milliseconds.is_multiple_of(*unit) && milliseconds > 0);
    let (name, unit) = fitting.unwrap_or(&("ms", 1));
    format!("{}{name}", milliseconds / unit)
}

/// A number of bytes from `MIN` to `MAX`.
pub(crate) struct Size<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Setting for Size<MIN, MAX> {
    type Value = usize;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<usize> {
        let word = reader.word(node, "a size such as `64KiB`")?;
        let Some(bytes) = with_unit(&word.text, &SIZES) else {
            let message = format!("`{}` is not a size", word.shown);
            return reader.wrong(node, message, "a whole number and a unit: `512B`, `64KiB`, `1MiB`, `10MB`");
        };
        let fits = (MIN..=MAX).contains(&bytes).then(|| usize::try_from(bytes).ok()).flatten();
        if fits.is_none() {
            let message = format!("`{}` is not within {} and {}", word.shown, short_size(MIN), short_size(MAX));
            return reader.wrong(node, message, "");
        }
        fits
    }

    fn blank() -> usize {
        usize::try_from(MIN).unwrap_or(usize::MAX)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({
            "type": "string",
            "pattern": "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)$",
            "$comment": format!("size, {} to {}", short_size(MIN), short_size(MAX)),
        }))
    }
}

fn short_size(bytes: u64) -> String {
    let fitting = SIZES[..3].iter().rev().find(|(_, unit)| bytes.is_multiple_of(*unit) && bytes > 0);
    let (name, unit) = fitting.unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit)
}

/// `30s` by a table of units; the number in the smallest of them.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A share above 0 % and up to 100 %, as a number above 0 and up to 1.
pub(crate) struct Ratio;

impl Setting for Ratio {
    type Value = f64;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<f64> {
        let word = reader.word(node, "a share such as `50%`")?;
        let digits = word.text.strip_suffix('%').filter(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        match digits.and_then(|text| text.parse::<f64>().ok()) {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Some(percent / 100.0),
            Some(_) => reader.wrong(node, format!("`{}` is not above 0% and up to 100%", word.shown), ""),
            None => reader.wrong(node, format!("`{}` is not a share", word.shown), "a number and `%`: `50%`"),
        }
    }

    fn blank() -> f64 {
        1.0
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^[0-9]*\\.?[0-9]+\\.?%$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "share, above 0% to 100%" }))
    }
}

/// A whole number from `MIN` to `MAX`.
pub(crate) struct Whole<T, const MIN: u64, const MAX: u64>(PhantomData<T>);

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> Setting for Whole<T, MIN, MAX> {
    type Value = T;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<T> {
        let word = reader.word(node, "a whole number")?;
        if !word.plain {
            return reader.mistyped(node, "a whole number");
        }
        let Ok(number) = word.text.parse::<u64>() else {
            return reader.wrong(node, format!("`{}` is not a whole number", word.shown), "digits alone: `100`");
        };
        let fits = (MIN..=MAX).contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fits.is_none() {
            return reader.wrong(node, format!("`{}` is not within {MIN} and {MAX}", word.shown), "");
        }
        fits
    }

    fn blank() -> T {
        match T::try_from(MIN) {
            Ok(least) => least,
            Err(_) => unreachable!("the bounds in the tables fit their types"),
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let comment = format!("whole number, {MIN} to {MAX}");
        schemas.scalar(json!({ "type": "integer", "minimum": MIN, "maximum": MAX, "$comment": comment }))
    }
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Setting for Flag {
    type Value = bool;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<bool> {
        let word = reader.word(node, "`true` or `false`")?;
        match word.text.as_str() {
            "true" if word.plain => Some(true),
            "false" if word.plain => Some(false),
            _ => reader.wrong(node, format!("`{}` is neither `true` nor `false`", word.shown), ""),
        }
    }

    fn blank() -> bool {
        false
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "boolean", "$comment": "`true` or `false`" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_read_and_others_refused() {
        for (text, milliseconds) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1m", Some(60_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("1M", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(with_unit(text, &DURATIONS), milliseconds, "{text}");
        }
        for (text, bytes) in [("64KiB", Some(65_536)), ("10MB", Some(10_000_000)), ("7B", Some(7)), ("7", None)] {
            assert_eq!(with_unit(text, &SIZES), bytes, "{text}");
        }
    }

    #[test]
    fn bounds_are_said_in_the_largest_unit_that_fits() {
        assert_eq!([short(1), short(90_000), short(DAY), short(0)], ["1ms", "90s", "1d", "0ms"]);
        assert_eq!([short_size(1), short_size(65_536), short_size(1 << 30)], ["1B", "64KiB", "1GiB"]);
    }
}
