//! Takes a token apart: the compact form of RFC 7515, section 7.1, read in exactly one way.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portolan_exchange::value::json::{self, DecodeErrorKind, DecodeLimits};
use portolan_exchange::value::{Map, Type, Value};

use crate::Refusal;

/// The longest token that is read, in bytes. Tokens with many groups take some 8 KiB; a head is bounded by the listener anyway.
pub const MAX_TOKEN: usize = 16 * 1_024;

/// The longest `kid`, in bytes.
pub const MAX_KEY_ID: usize = 256;

/// What header and claims may hold: a token takes no more memory than some twenty times its length.
const LIMITS: DecodeLimits = DecodeLimits { depth: 16, values: 4_096 };

/// A token taken apart, and not verified: nothing it says is to be believed yet.
pub struct Token<'t> {
    pub(crate) header: Header,
    pub(crate) claims: Map,
    /// What is signed: header and claims as they were sent, with the dot between them.
    pub(crate) message: &'t [u8],
    pub(crate) signature: Vec<u8>,
    /// All of it, as it was sent.
    pub(crate) text: &'t [u8],
}

/// What a token's header says (RFC 7515, section 4.1). Keys and places of keys that it brings along (`jwk`, `jku`, `x5c`,
/// `x5u`) are not looked at: a token does not say by itself who may sign it.
pub(crate) struct Header {
    pub(crate) algorithm: String,
    pub(crate) key_id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) is_critical: bool,
}

impl<'t> Token<'t> {
    /// Takes a token apart. Time and memory are linear in its length, which is bounded by [`MAX_TOKEN`].
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for whatever is not three parts in base64url without padding (RFC 7515, section 2), the first two
    /// JSON objects in which no member stands twice.
    pub fn parse(text: &'t [u8]) -> Result<Self, Refusal> {
        if text.len() > MAX_TOKEN {
            return Err(malformed("it is longer than 16 KiB"));
        }
        let mut dots = text.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second)) = (dots.next(), dots.next()) else {
            return Err(malformed("a token has three parts with dots between them"));
        };
        if dots.next().is_some() {
            // Five parts are an encrypted token (RFC 7516, section 7.1).
            return Err(malformed("a signed token has three parts, and encrypted ones are not read"));
        }
        let header = Header::of(object(&text[..first], "header")?)?;
        let claims = object(&text[first + 1..second], "claims")?;
        let signature = decoded(&text[second + 1..]).ok_or_else(|| malformed("the signature is not in base64url"))?;
        Ok(Self { header, claims, message: &text[..second], signature, text })
    }

    /// A claim.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// The `kid` of the header.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// The `alg` of the header.
    pub fn algorithm(&self) -> &str {
        &self.header.algorithm
    }

    /// What is signed.
    pub fn message(&self) -> &'t [u8] {
        self.message
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Debug for Token<'_> {
    /// Its length alone: a token is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.text.len())
    }
}

impl Header {
    fn of(members: Map) -> Result<Self, Refusal> {
        let text = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(malformed("a member of the header is not text")),
        };
        let Some(algorithm) = text("alg")? else {
            return Err(malformed("the header has no `alg`"));
        };
        let key_id = text("kid")?;
        if key_id.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
            return Err(malformed("the `kid` is longer than 256 bytes"));
        }
        Ok(Self { algorithm, key_id, kind: text("typ")?, is_critical: members.contains("crit") })
    }
}

fn object(part: &[u8], which: &'static str) -> Result<Map, Refusal> {
    let text = decoded(part).ok_or_else(|| malformed(format!("its {which} is not in base64url")))?;
    match json::decode(&text, &Type::Any, LIMITS) {
        Ok(Value::Map(members)) => Ok(members),
        Ok(_) => Err(malformed(format!("its {which} is no JSON object"))),
        // What the reader says would repeat what the token says.
        Err(error) if error.kind == DecodeErrorKind::Limit => {
            Err(malformed(format!("its {which} is nested or filled beyond all measure")))
        }
        Err(_) => Err(malformed(format!("its {which} is no JSON in which every name stands once"))),
    }
}

/// Base64url without padding; bits that would be lost, and any other sign, are refused: one token has one form.
fn decoded(part: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn malformed(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::Malformed(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn refused(text: &str) -> String {
        match Token::parse(text.as_bytes()) {
            Ok(_) => "taken".to_owned(),
            Err(Refusal::Malformed(why)) => why.into_owned(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_is_taken_apart() {
        let (header, claims) = (encoded(r#"{"alg":"RS256","kid":"a","typ":"JWT"}"#), encoded(r#"{"iss":"b"}"#));
        let text = format!("{header}.{claims}.AQI");
        let token = Token::parse(text.as_bytes()).unwrap();
        assert_eq!((token.algorithm(), token.key_id(), token.signature()), ("RS256", Some("a"), &[1, 2][..]));
        assert_eq!(token.claim("iss").and_then(Value::as_str), Some("b"));
        assert_eq!(token.message(), format!("{header}.{claims}").as_bytes());
        assert_eq!(format!("{token:?}"), format!("Token({} bytes)", text.len()));
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_reason() {
        let (header, claims) = (encoded(r#"{"alg":"RS256"}"#), encoded("{}"));
        let three = "a token has three parts with dots between them";
        let once = "its claims is no JSON in which every name stands once";
        for (text, why) in [
            (String::new(), three),
            ("a.b".into(), three),
            (format!("{header}.{claims}"), three),
            (format!("{header}.{claims}..."), "a signed token has three parts, and encrypted ones are not read"),
            (format!("{header}=.{claims}."), "its header is not in base64url"),
            (format!("{header} .{claims}."), "its header is not in base64url"),
            // The last sign holds bits that no byte has.
            (format!("{header}.{claims}.AB"), "the signature is not in base64url"),
            (format!("{header}.{claims}.A+"), "the signature is not in base64url"),
            (format!("{header}.{}.", encoded("[]")), "its claims is no JSON object"),
            (format!("{header}.{}.", encoded("")), once),
            (format!("{header}.{}.", encoded("{} ")), "taken"),
            (format!("{header}.{}.", encoded("{}{}")), once),
            (format!("{header}.{}.", encoded(r#"{"a":1,"a":2}"#)), once),
            (format!("{header}.{}.", encoded(r#"{"a":{"b":1,"b":2}}"#)), once),
            (format!("{}.{claims}.", encoded(r#"{"kid":"a"}"#)), "the header has no `alg`"),
            (format!("{}.{claims}.", encoded(r#"{"alg":1}"#)), "a member of the header is not text"),
            (format!("{}.{claims}.", encoded(r#"{"alg":"RS256","kid":7}"#)), "a member of the header is not text"),
            (
                format!("{}.{claims}.", encoded(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(257)))),
                "the `kid` is longer than 256 bytes",
            ),
            (
                format!("{header}.{}.", encoded(&format!("{{\"a\":{}{}}}", "[".repeat(20), "]".repeat(20)))),
                "its claims is nested or filled beyond all measure",
            ),
            (
                format!("{header}.{}.", encoded(&format!("{{\"a\":[{}0]}}", "0,".repeat(4_100)))),
                "its claims is nested or filled beyond all measure",
            ),
            ("a".repeat(MAX_TOKEN + 1), "it is longer than 16 KiB"),
        ] {
            assert_eq!(refused(&text), why, "{text:.80}");
        }
    }
}
