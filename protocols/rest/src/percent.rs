//! Percent-encoding (RFC 3986, section 2.1), read strictly: what cannot be decoded is not guessed at.

use std::borrow::Cow;

/// What a plus sign stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    /// Itself, as in a path.
    Literal,
    /// A space, as in the query that a form makes (WHATWG URL, section 5.1).
    Space,
}

/// Why a text cannot be decoded, in a sentence.
pub(crate) type Malformed = &'static str;

/// Decodes a text, borrowing it where there is nothing to decode.
pub(crate) fn decode(text: &str, plus: Plus) -> Result<Cow<'_, str>, Malformed> {
    let special = |byte: &u8| *byte == b'%' || (*byte == b'+' && plus == Plus::Space);
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(special) else { return Ok(Cow::Borrowed(text)) };

    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'%' => {
                let (high, low) = match tail {
                    [high, low, ..] => (digit(*high), digit(*low)),
                    _ => (None, None),
                };
                let (Some(high), Some(low)) = (high, low) else {
                    return Err("has a `%` that is not followed by two hexadecimal digits");
                };
                decoded.push(high << 4 | low);
                rest = &tail[2..];
            }
            b'+' if plus == Plus::Space => decoded.push(b' '),
            other => decoded.push(*other),
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| "is not UTF-8 once it is decoded")
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plus_is_a_space_in_a_query_alone() {
        assert_eq!(decode("a+b%20c", Plus::Space).unwrap(), "a b c");
        assert_eq!(decode("a+b%20c", Plus::Literal).unwrap(), "a+b c");
        assert!(matches!(decode("plain", Plus::Space), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_with_the_reason() {
        let digits = Err("has a `%` that is not followed by two hexadecimal digits");
        for text in ["%", "%4", "a%zz", "%%41", "%+1"] {
            assert_eq!(decode(text, Plus::Literal), digits, "{text}");
        }
        for text in ["%ff", "%c3", "%ed%a0%80"] {
            assert_eq!(decode(text, Plus::Literal), Err("is not UTF-8 once it is decoded"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in "(%[0-9a-fA-F]{0,2}|[+%a-zé]){0,12}|.{0,20}") {
            let _ = (decode(&text, Plus::Space), decode(&text, Plus::Literal));
        }

        #[test]
        fn what_was_encoded_comes_back(text in ".{0,20}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&encoded, Plus::Space).unwrap(), text.as_str());
        }
    }
}
