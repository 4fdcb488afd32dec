//! A decimal number, kept exactly as it was written.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::str::FromStr;

// A 256-bit integer has 78 digits; a hundred leaves room for its fraction and bounds what a comparison costs.
const MAX_DIGITS: usize = 100;

// The widest standard format, decimal128 of IEEE 754, ends at 6,176. The bound keeps a short text from meaning a long number.
const MAX_SCALE: i32 = 10_000;
const SCALES: RangeInclusive<i32> = -MAX_SCALE..=MAX_SCALE;

// Fifteen decimal digits survive the way into a double and back (`f64::DIGITS`).
const DIGITS_OF_A_DOUBLE: usize = f64::DIGITS as usize;

/// An exact decimal number: a sign, up to 100 digits, and a scale from -10,000 to 10,000 that says how many of them
/// stand behind the point.
///
/// What is parsed prints with the same digits and the same scale: `1.50` stays `1.50`. Equality, order and hash go by
/// value: `1.50` equals `1.5`. There is no negative zero. It is made to be carried, not to be calculated with.
#[derive(Clone)]
pub struct Decimal {
    negative: bool,
    /// Without leading zeros; a single `0` for zero.
    digits: Box<str>,
    scale: i32,
}

impl Decimal {
    /// The number `unscaled` × 10^-`scale`; `None` if the scale is not from -10,000 to 10,000.
    pub fn new(unscaled: i128, scale: i32) -> Option<Self> {
        if !SCALES.contains(&scale) {
            return None;
        }
        Some(Self { negative: unscaled < 0, digits: unscaled.unsigned_abs().to_string().into(), scale })
    }

    /// Whether the number is below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The digits without point and leading zeros: `150` for `-1.50`, `0` for zero.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// How many of the digits stand behind the point: 2 for `1.50`, -3 for `1e3`.
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// The digits with their sign as an integer, to be read with [`Decimal::scale`]; `None` beyond 128 bits.
    pub fn unscaled(&self) -> Option<i128> {
        let magnitude: i128 = self.digits.parse().ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The whole number this is; `None` if it is not whole or not from -2⁶³ to 2⁶³ - 1.
    pub fn to_i64(&self) -> Option<i64> {
        i64::try_from(self.to_i128()?).ok()
    }

    /// The whole number this is; `None` if it is not whole or not from 0 to 2⁶⁴ - 1.
    pub fn to_u64(&self) -> Option<u64> {
        u64::try_from(self.to_i128()?).ok()
    }

    /// The nearest double; infinite beyond its range.
    pub fn to_f64(&self) -> f64 {
        self.to_string().parse().expect("a decimal prints as a number")
    }

    /// The double whose shortest text means exactly this number; `None` if no double has such a text.
    pub fn to_exact_f64(&self) -> Option<f64> {
        let nearest = self.to_f64();
        let short = self.significant().0.len() <= DIGITS_OF_A_DOUBLE;
        if short && nearest.is_normal() {
            return Some(nearest);
        }
        let same = nearest.is_finite() && Self::from_f64(nearest).as_ref() == Some(self);
        same.then_some(nearest)
    }

    /// The number that a double's shortest text means; `None` if it is not finite.
    pub fn from_f64(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        // In the words of the writer: where two texts of a double are equally short, it is his that will be read again.
        let text = serde_json::to_string(&number).expect("a double can be written");
        Some(text.parse().expect("a finite double prints as a number of at most 17 digits"))
    }

    // Not bounded to what fits, but enough for both widths of integer.
    fn to_i128(&self) -> Option<i128> {
        let (digits, exponent) = self.significant();
        let power = 10_i128.checked_pow(u32::try_from(exponent).ok()?)?;
        let magnitude = digits.parse::<i128>().ok()?.checked_mul(power)?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    // The digits without the zeros at their end, and the power of ten they are multiplied by; the same for equal numbers.
    fn significant(&self) -> (&str, i32) {
        let digits = self.digits.trim_end_matches('0');
        if digits.is_empty() {
            return ("0", 0);
        }
        (digits, narrow(self.digits.len() - digits.len()) - self.scale)
    }

    // The power of ten of the first digit: by it numbers of the same sign are ordered before any digit is looked at.
    fn magnitude(&self) -> i32 {
        narrow(self.digits.len()) - self.scale
    }

    fn is_zero(&self) -> bool {
        &*self.digits == "0"
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    /// Reads a number as JSON writes it (RFC 8259, section 6): `-12.50`, `1e400`. Digits and scale stay as written;
    /// zeros behind the hundredth digit go into the scale.
    ///
    /// # Errors
    /// When the text is no such number, has more than 100 digits that count, or a scale beyond 10,000.
    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return Err(InvalidDecimal::NoNumber),
            None => (mantissa, ""),
        };
        if !is_digits(whole) || whole.len() > 1 && whole.starts_with('0') {
            return Err(InvalidDecimal::NoNumber);
        }
        let scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(exponent);
        Self::assembled(negative, whole, fraction, scale)
    }
}

impl Decimal {
    fn assembled(negative: bool, whole: &str, fraction: &str, scale: i64) -> Result<Self, InvalidDecimal> {
        let counting = || whole.bytes().chain(fraction.bytes()).skip_while(|byte| *byte == b'0');
        let mut digits: String = counting().take(MAX_DIGITS).map(char::from).collect();
        let mut surplus = 0_i64;
        for byte in counting().skip(MAX_DIGITS) {
            if byte != b'0' {
                return Err(InvalidDecimal::TooManyDigits);
            }
            surplus += 1;
        }
        if digits.is_empty() {
            // Zero is zero at any scale.
            let scale = i32::try_from(scale.clamp(-i64::from(MAX_SCALE), i64::from(MAX_SCALE))).unwrap_or(0);
            digits.push('0');
            return Ok(Self { negative: false, digits: digits.into(), scale });
        }
        match i32::try_from(scale.saturating_sub(surplus)) {
            Ok(scale) if SCALES.contains(&scale) => Ok(Self { negative, digits: digits.into(), scale }),
            _ => Err(InvalidDecimal::ScaleBeyondBounds),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

// The exponent, saturated: what is beyond the bounds of a scale stays beyond them.
fn exponent(text: &str) -> Result<i64, InvalidDecimal> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if !is_digits(digits) {
        return Err(InvalidDecimal::NoNumber);
    }
    // Far beyond any scale and far from the end of i64, so that adding the length of a text cannot overflow.
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 48);
    Ok(if negative { -magnitude } else { magnitude })
}

// Digits are at most a hundred.
fn narrow(length: usize) -> i32 {
    i32::try_from(length).expect("a decimal has at most a hundred digits")
}

impl fmt::Display for Decimal {
    /// `-12.50`, or with an exponent (`1e400`, `5e-20`) where the point would stand far from the digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let digits = &*self.digits;
        let behind = match usize::try_from(self.scale) {
            Ok(0) => return f.write_str(digits),
            // Six zeros after the point are still read at a glance; the same bound as in Java and ECMAScript.
            Ok(behind) if behind <= digits.len() + 6 => behind,
            _ => return write!(f, "{digits}e{}", -self.scale),
        };
        match digits.len().checked_sub(behind) {
            Some(0) | None => write!(f, "0.{digits:0>behind$}"),
            Some(before) => write!(f, "{}.{}", &digits[..before], &digits[before..]),
        }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decimal({self})")
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.negative == other.negative && self.significant() == other.significant()
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.negative.hash(state);
        self.significant().hash(state);
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.cmp_magnitude(other),
            (true, true) => other.cmp_magnitude(self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Decimal {
    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        // With the first digits in the same place, the digits compare as text does.
        self.magnitude().cmp(&other.magnitude()).then_with(|| self.significant().0.cmp(other.significant().0))
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self { negative: number < 0, digits: number.unsigned_abs().to_string().into(), scale: 0 }
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self { negative: false, digits: number.to_string().into(), scale: 0 }
    }
}

/// Why a text is no [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidDecimal {
    /// It is not written as a number.
    NoNumber,
    /// More than 100 digits count.
    TooManyDigits,
    /// The point is more than 10,000 places away from the digits.
    ScaleBeyondBounds,
}

impl fmt::Display for InvalidDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => f.write_str("not a decimal number such as `-12.50`"),
            Self::TooManyDigits => write!(f, "a number of more than {MAX_DIGITS} digits"),
            Self::ScaleBeyondBounds => write!(f, "a number whose exponent is beyond {MAX_SCALE}"),
        }
    }
}

impl std::error::Error for InvalidDecimal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_decimal_prints_with_the_digits_and_the_scale_it_was_written_with() {
        for text in ["0", "0.00", "1.50", "-12.5", "100", "0.000001", "5e-20", "1e400", "-125e399", "0e3", "0e-12"] {
            let read = decimal(text);
            assert_eq!(read.to_string(), text);
            assert_eq!(decimal(&read.to_string()).scale(), read.scale());
        }
        assert_eq!(decimal("12.5E+400").to_string(), "125e399");
        assert_eq!(decimal("-0.0").to_string(), "0.0");
    }

    #[test]
    fn equality_order_and_hash_go_by_value() {
        use std::collections::HashSet;
        assert_eq!(decimal("1.50"), decimal("15e-1"));
        assert_eq!(decimal("-0"), decimal("0.000"));
        assert_eq!(HashSet::from([decimal("1.50"), decimal("1.5"), decimal("150e-2")]).len(), 1);
        let mut sorted = ["10", "9.99", "-2", "0", "0.1", "-10", "1e-8", "1e400", "1.05"].map(decimal);
        sorted.sort();
        let texts = sorted.map(|number| number.to_string());
        assert_eq!(texts, ["-10", "-2", "0", "1e-8", "0.1", "1.05", "9.99", "10", "1e400"]);
    }

    #[test]
    fn what_is_no_number_of_json_is_refused() {
        for text in
            ["", "-", "+1", ".5", "5.", "05", "1e", "1e+", "1.e3", "0x1", "NaN", " 1", "1 ", "1_000", "--1", "1e1.5"]
        {
            assert_eq!(text.parse::<Decimal>(), Err(InvalidDecimal::NoNumber), "{text}");
        }
    }

    #[test]
    fn digits_and_scale_are_bounded_but_zeros_cost_nothing() {
        let nines = "9".repeat(100);
        assert_eq!(decimal(&nines).to_string(), nines);
        assert_eq!(format!("{nines}9").parse::<Decimal>(), Err(InvalidDecimal::TooManyDigits));
        assert_eq!(decimal(&format!("1{}", "0".repeat(5_000))), decimal("1e5000"));
        assert_eq!(decimal(&format!("0.{}1", "0".repeat(5_000))), decimal("1e-5001"));
        assert_eq!("1e10001".parse::<Decimal>(), Err(InvalidDecimal::ScaleBeyondBounds));
        assert_eq!("1e-99999999999999999999".parse::<Decimal>(), Err(InvalidDecimal::ScaleBeyondBounds));
        assert_eq!("1e2147483648".parse::<Decimal>(), Err(InvalidDecimal::ScaleBeyondBounds));
        assert_eq!(decimal("0e99999999999999999999"), decimal("0"));
    }

    #[test]
    fn whole_numbers_are_read_whatever_way_they_are_written() {
        assert_eq!(decimal("1.2e1").to_i64(), Some(12));
        assert_eq!(decimal("-9223372036854775808.0").to_i64(), Some(i64::MIN));
        assert_eq!(decimal("9223372036854775808").to_i64(), None);
        assert_eq!(decimal("18446744073709551615").to_u64(), Some(u64::MAX));
        assert_eq!(decimal("-1").to_u64(), None);
        assert_eq!(decimal("0.5").to_i64(), None);
        assert_eq!(decimal("1e9999").to_i64(), None);
        assert_eq!(decimal("0e9999").to_i64(), Some(0));
    }

    #[test]
    fn a_double_stands_for_a_number_only_where_its_shortest_text_means_it() {
        assert_eq!(decimal("0.1").to_exact_f64(), Some(0.1));
        assert_eq!(decimal("0.1000").to_exact_f64(), Some(0.1));
        assert_eq!(decimal("1.7976931348623157e308").to_exact_f64(), Some(f64::MAX));
        assert_eq!(decimal("5e-324").to_exact_f64(), Some(5e-324));
        assert_eq!(decimal("4e-324").to_exact_f64(), None);
        assert_eq!(decimal("0.10000000000000001").to_exact_f64(), None);
        assert_eq!(decimal("1e400").to_exact_f64(), None);
        assert_eq!(decimal("1e-400").to_exact_f64(), None);
    }

    #[test]
    fn an_unscaled_number_and_its_scale_make_a_decimal() {
        let price = Decimal::new(-1250, 2).unwrap();
        assert_eq!((price.to_string(), price.unscaled()), ("-12.50".to_owned(), Some(-1250)));
        assert_eq!((Decimal::new(1, 10_001), Decimal::new(1, i32::MIN)), (None, None));
        assert_eq!(decimal(&"9".repeat(39)).unscaled(), None);
    }
}
