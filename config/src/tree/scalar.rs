//! A single value and its type by YAML's core schema (YAML 1.2.2, section 10.3.2).

use serde_json::{Number, Value};

/// A single value as it was written, escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its text.
    pub text: String,
    /// Whether quotes, a block or a tag make it a text whatever it looks like.
    pub quoted: bool,
}

impl Scalar {
    /// Its value as JSON.
    pub fn to_json(&self) -> Value {
        if self.quoted {
            return Value::String(self.text.clone());
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
        }
    }

    /// What it is, with its article.
    pub(super) fn describe(&self) -> &'static str {
        match self.to_json() {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            _ => "a text",
        }
    }
}

/// A number of the core schema: decimal, `0o17`, `0x1F`, or a float. Past 64 bits it is as near as a float comes.
fn number(text: &str) -> Option<Number> {
    let radix = match text.get(..2) {
        Some("0o") => Some(8),
        Some("0x") => Some(16),
        _ => None,
    };
    if let Some(radix) = radix {
        let digits = &text[2..];
        let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        return valid.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Number::from);
    }
    if !looks_like_a_float(text) {
        return None;
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = unsigned.parse::<u64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = unsigned.parse::<i64>() {
        return Some(whole.into());
    }
    unsigned.parse::<f64>().ok().and_then(Number::from_f64)
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn looks_like_a_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_have_the_type_the_core_schema_gives_them() {
        let typed = |text: &str| Scalar { text: text.to_owned(), quoted: false }.to_json();
        for (text, value) in [
            ("12", json!(12)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("0o17", json!(15)),
            ("0x1f", json!(31)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("99999999999999999999", json!(99999999999999999999.0)),
            ("1e999", json!("1e999")),
            ("0x", json!("0x")),
            ("0xg", json!("0xg")),
            (".", json!(".")),
            ("-", json!("-")),
            ("+-1", json!("+-1")),
            ("1e", json!("1e")),
            ("e5", json!("e5")),
            ("1.2.3", json!("1.2.3")),
            ("nan", json!("nan")),
            ("inf", json!("inf")),
            ("off", json!("off")),
            ("é", json!("é")),
            ("True", json!(true)),
            ("NULL", json!(null)),
        ] {
            assert_eq!(typed(text), value, "{text}");
        }
    }
}
