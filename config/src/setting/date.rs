//! A moment as RFC 3339 writes it.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::tree::Node;

/// A date and time with its offset from UTC.
pub(crate) struct Date;

impl Setting for Date {
    type Value = SystemTime;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<SystemTime> {
        let word = reader.word(node, "a date such as `2027-01-31T12:00:00Z`")?;
        let moment = parse(&word.text);
        if moment.is_none() {
            let hint = "date, time and offset as in RFC 3339: `2027-01-31T12:00:00Z`";
            return reader.wrong(node, format!("`{}` is not a date", word.shown), hint);
        }
        moment
    }

    fn blank() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.scalar(json!({ "type": "string", "format": "date-time", "$comment": "date" }))
    }
}

/// RFC 3339, section 5.6; a fraction of a second is read and dropped.
fn parse(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, rest) = rest.split_at_checked(1)?;
    let (time, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = digits(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = digits(time, ':', [2, 2, 2])?;
    // Second 60 is a leap second (section 5.7); it counts as the first of the next minute.
    let valid = matches!(separator, "T" | "t") && hour < 24 && minute < 60 && second <= 60;
    if !valid || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let end = fraction.bytes().take_while(u8::is_ascii_digit).count();
            fraction.get(end..).filter(|_| end > 0)?
        }
        None => rest,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(rest)?;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    match seconds >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(distance),
        false => SystemTime::UNIX_EPOCH.checked_sub(distance),
    }
}

/// Seconds ahead of UTC.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let [hours, minutes] = digits(&text[1..], ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Numbers of given lengths with a sign between them, and nothing else.
fn digits<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The calendar counted from a first of March, so that a leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days_before_month = (153 * month + 2) / 5;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    days_before_year + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_rfc_3339_writes_them() {
        let seconds = |text| Some(parse(text)?.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("2027-01-31T12:00:00+02:00", Some(1_801_389_600)),
            ("2027-01-31t10:00:00.25z", Some(1_801_389_600)),
            ("2027-02-29T12:00:00Z", None),
            ("2027-13-01T12:00:00Z", None),
            ("2027-01-31T24:00:00Z", None),
            ("2027-01-31 12:00:00Z", None),
            ("2027-01-31T12:00:00", None),
            ("2027-01-31T12:00:00.Z", None),
            ("2027-01-31T12:00:00+2:00", None),
            ("2027-01-31", None),
            ("é027-01-31T12:00:00Z", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        let before = parse("1969-12-31T23:59:59Z").unwrap();
        assert_eq!(SystemTime::UNIX_EPOCH.duration_since(before).unwrap().as_secs(), 1);
    }
}
