//! A point in time, to the nanosecond, and its text of RFC 3339.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

const FIRST_SECOND: i64 = -62_167_219_200; // 0000-01-01T00:00:00Z
const LAST_SECOND: i64 = 253_402_300_799; // 9999-12-31T23:59:59Z
const SECONDS_OF_A_DAY: i64 = 86_400;

/// An instant: seconds since 1970-01-01T00:00:00Z and nanoseconds within the second.
///
/// From the beginning of the year 0 to the end of the year 9999, which is what RFC 3339 can say. There are no leap
/// seconds: a day has 86,400. An instant has no zone: a text with an offset is the same instant in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// The first instant: 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self { seconds: FIRST_SECOND, nanos: 0 };
    /// The last instant: 9999-12-31T23:59:59.999999999Z.
    pub const MAX: Self = Self { seconds: LAST_SECOND, nanos: 999_999_999 };
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self { seconds: 0, nanos: 0 };

    /// The instant so many seconds after the epoch (before it, if negative) and so many nanoseconds after that
    /// second; `None` outside of the years 0 to 9999 or with a billion nanoseconds or more.
    pub const fn new(seconds: i64, nanos: u32) -> Option<Self> {
        if seconds < FIRST_SECOND || seconds > LAST_SECOND || nanos > 999_999_999 {
            return None;
        }
        Some(Self { seconds, nanos })
    }

    /// The instant so many milliseconds after the epoch, as Kafka counts them; `None` outside of the years 0 to 9999.
    pub fn from_unix_millis(millis: i64) -> Option<Self> {
        let nanos = u32::try_from(millis.rem_euclid(1_000)).ok()? * 1_000_000;
        Self::new(millis.div_euclid(1_000), nanos)
    }

    /// Whole seconds since the epoch, rounded towards the past.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after the whole second: 0 to 999,999,999.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// Milliseconds since the epoch, rounded towards the past.
    pub const fn unix_millis(self) -> i64 {
        self.seconds * 1_000 + (self.nanos / 1_000_000) as i64
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(time: SystemTime) -> Result<Self, InvalidTimestamp> {
        let outside = InvalidTimestamp::OutsideOfYears;
        let timestamp = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self::new(i64::try_from(after.as_secs()).map_err(|_| outside)?, after.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                let seconds = -i64::try_from(before.as_secs()).map_err(|_| outside)?;
                match before.subsec_nanos() {
                    0 => Self::new(seconds, 0),
                    nanos => Self::new(seconds - 1, 1_000_000_000 - nanos),
                }
            }
        };
        timestamp.ok_or(outside)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let whole = Duration::from_secs(timestamp.seconds.unsigned_abs());
        let second = if timestamp.seconds < 0 { Self::UNIX_EPOCH - whole } else { Self::UNIX_EPOCH + whole };
        second + Duration::from_nanos(u64::from(timestamp.nanos))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with no, three, six or nine digits behind the second: the fewest that say it all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.seconds.div_euclid(SECONDS_OF_A_DAY));
        let second = self.seconds.rem_euclid(SECONDS_OF_A_DAY);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.nanos {
            0 => f.write_str("Z"),
            nanos if nanos % 1_000_000 == 0 => write!(f, ".{:03}Z", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => write!(f, ".{:06}Z", nanos / 1_000),
            nanos => write!(f, ".{nanos:09}Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Reads a date-time of RFC 3339, section 5.6: `2026-01-31T12:00:00.5+01:00`, `t` and `z` in either case.
    ///
    /// # Errors
    /// When the text is none, the day or the time does not exist (a 60th second among them), the instant lies outside
    /// of the years 0 to 9999, or a digit behind the ninth of the fraction is not zero.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let mut text = Text(text.as_bytes());
        let year = text.number(4)?;
        text.byte(b"-")?;
        let month = text.number(2)?;
        text.byte(b"-")?;
        let day = text.number(2)?;
        text.byte(b"Tt")?;
        let hour = text.number(2)?;
        text.byte(b":")?;
        let minute = text.number(2)?;
        text.byte(b":")?;
        let second = text.number(2)?;
        let nanos = text.fraction()?;
        let offset = text.offset()?;
        let exists = (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !text.0.is_empty() {
            return Err(InvalidTimestamp::NoTimestamp);
        }
        if !exists {
            return Err(InvalidTimestamp::NoSuchTime);
        }
        let days = days_until(year, month, day);
        let seconds = days * SECONDS_OF_A_DAY + hour * 3_600 + minute * 60 + second - offset;
        Self::new(seconds, nanos).ok_or(InvalidTimestamp::OutsideOfYears)
    }
}

/// What is left of a text while it is read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    // A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Result<i64, InvalidTimestamp> {
        let (number, rest) = self.0.split_at_checked(digits).ok_or(InvalidTimestamp::NoTimestamp)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return Err(InvalidTimestamp::NoTimestamp);
        }
        self.0 = rest;
        Ok(number.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn byte(&mut self, any_of: &[u8]) -> Result<u8, InvalidTimestamp> {
        match self.0.split_first() {
            Some((byte, rest)) if any_of.contains(byte) => {
                self.0 = rest;
                Ok(*byte)
            }
            _ => Err(InvalidTimestamp::NoTimestamp),
        }
    }

    // The fraction of the second in nanoseconds, if there is one.
    fn fraction(&mut self) -> Result<u32, InvalidTimestamp> {
        if self.byte(b".").is_err() {
            return Ok(0);
        }
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return Err(InvalidTimestamp::NoTimestamp);
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        if digits.iter().skip(9).any(|digit| *digit != b'0') {
            return Err(InvalidTimestamp::FinerThanNanoseconds);
        }
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        Ok(padded.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')))
    }

    // How many seconds the zone is ahead of UTC.
    fn offset(&mut self) -> Result<i64, InvalidTimestamp> {
        let sign = match self.byte(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(0),
        };
        let hours = self.number(2)?;
        self.byte(b":")?;
        let minutes = self.number(2)?;
        if hours > 23 || minutes > 59 {
            return Err(InvalidTimestamp::NoSuchTime);
        }
        Ok(sign * (hours * 3_600 + minutes * 60))
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Days from the epoch to a date of the Gregorian calendar, counted in eras of 400 years that begin in March, so that
// the leap day is the last of its year (Hinnant, "chrono-compatible low-level date algorithms").
fn days_until(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

// The date so many days after the epoch; the way back of `days_until`.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Why a text, or a time of the system, is no [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidTimestamp {
    /// It is not written as RFC 3339 says.
    NoTimestamp,
    /// The day, the time or the offset does not exist.
    NoSuchTime,
    /// It lies outside of the years 0 to 9999.
    OutsideOfYears,
    /// It says less than a nanosecond.
    FinerThanNanoseconds,
}

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTimestamp => "not a timestamp of RFC 3339 such as `2026-01-31T12:00:00Z`",
            Self::NoSuchTime => "a day or a time that does not exist",
            Self::OutsideOfYears => "an instant outside of the years 0000 to 9999",
            Self::FinerThanNanoseconds => "a timestamp finer than a nanosecond",
        })
    }
}

impl std::error::Error for InvalidTimestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn instants_print_as_they_are_known_elsewhere() {
        let known = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_700_000_000, 120_000_000, "2023-11-14T22:13:20.120Z"),
            (4_107_542_399, 1_000, "2100-02-28T23:59:59.000001Z"),
            (FIRST_SECOND, 0, "0000-01-01T00:00:00Z"),
            (LAST_SECOND, 0, "9999-12-31T23:59:59Z"),
        ];
        for (seconds, nanos, text) in known {
            let instant = Timestamp::new(seconds, nanos).unwrap();
            assert_eq!(instant.to_string(), text);
            assert_eq!(timestamp(text), instant);
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_follows_the_one_before() {
        let mut expected = (0, 1, 1);
        for days in FIRST_SECOND / SECONDS_OF_A_DAY..=LAST_SECOND / SECONDS_OF_A_DAY {
            let (year, month, day) = expected;
            assert_eq!((date_of(days), days_until(year, month, day)), (expected, days));
            expected = if day < days_of(year, month) {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn an_offset_is_the_same_instant_in_utc() {
        assert_eq!(timestamp("2026-01-01T00:30:00+01:00"), timestamp("2025-12-31t23:30:00z"));
        assert_eq!(timestamp("2026-01-01T00:30:00-23:59").to_string(), "2026-01-02T00:29:00Z");
        assert_eq!(timestamp("2026-01-01T00:00:00-00:00"), timestamp("2026-01-01T00:00:00.000000000000Z"));
    }

    #[test]
    fn what_is_no_timestamp_is_refused_with_the_reason() {
        use InvalidTimestamp::{FinerThanNanoseconds, NoSuchTime, NoTimestamp, OutsideOfYears};
        let refused = [
            ("", NoTimestamp),
            ("2026-01-01", NoTimestamp),
            ("2026-01-01 00:00:00Z", NoTimestamp),
            ("2026-01-01T00:00:00", NoTimestamp),
            ("2026-01-01T00:00:00.Z", NoTimestamp),
            ("2026-01-01T00:00:00Zz", NoTimestamp),
            ("2026-01-01T00:00:00+01", NoTimestamp),
            ("+2026-01-01T00:00:00Z", NoTimestamp),
            ("2026-1-01T00:00:00Z", NoTimestamp),
            ("2026-01-01T00:00:00Ä", NoTimestamp),
            ("2025-02-29T00:00:00Z", NoSuchTime),
            ("2026-00-01T00:00:00Z", NoSuchTime),
            ("2026-13-01T00:00:00Z", NoSuchTime),
            ("2026-01-00T00:00:00Z", NoSuchTime),
            ("2026-01-01T24:00:00Z", NoSuchTime),
            ("2016-12-31T23:59:60Z", NoSuchTime),
            ("2026-01-01T00:00:00+24:00", NoSuchTime),
            ("0000-01-01T00:00:00+00:01", OutsideOfYears),
            ("9999-12-31T23:59:59-00:01", OutsideOfYears),
            ("2026-01-01T00:00:00.0000000001Z", FinerThanNanoseconds),
        ];
        for (text, reason) in refused {
            assert_eq!(text.parse::<Timestamp>(), Err(reason), "{text}");
        }
    }

    #[test]
    fn the_system_s_time_and_kafka_s_milliseconds_are_the_same_instant() {
        for text in ["2023-11-14T22:13:20.123456789Z", "1969-12-31T23:59:59.250Z", "1969-12-31T23:59:59Z"] {
            let instant = timestamp(text);
            assert_eq!(Timestamp::try_from(SystemTime::from(instant)), Ok(instant));
        }
        let before = timestamp("1969-12-31T23:59:59.250Z");
        assert_eq!((before.unix_millis(), Timestamp::from_unix_millis(-750)), (-750, Some(before)));
        assert_eq!(Timestamp::from_unix_millis(i64::MAX), None);
        assert_eq!(Timestamp::new(0, 1_000_000_000), None);
    }
}
