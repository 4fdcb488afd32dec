//! Why a token is not taken.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Why a token is not taken: a code for machines and logs, and a sentence for the caller that repeats nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is no token in the compact form, or holds what no token may.
    Malformed(Cow<'static, str>),
    /// It is from another issuer: it may be somebody else's to judge.
    Issuer,
    /// Its `typ` says that it is something else than an access token.
    Type,
    /// It asks for an extension (`crit`), and none is known here.
    Critical,
    /// Its algorithm is not one that is taken.
    Algorithm,
    /// No key fits it.
    UnknownKey,
    /// It has no `kid`, and too many keys could be the one.
    NoKeyId,
    /// It is not for this audience.
    Audience,
    /// It has no claim of this name.
    Missing(Arc<str>),
    /// The claim of this name is not of its type.
    Claim(Arc<str>),
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYet,
    /// It says that it was issued later than now.
    IssuedLater,
    /// Its signature does not fit.
    Signature,
}

impl Refusal {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_token",
            Self::Issuer => "wrong_issuer",
            Self::Type => "wrong_type",
            Self::Critical => "critical_header",
            Self::Algorithm => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::NoKeyId => "key_id_missing",
            Self::Audience => "wrong_audience",
            Self::Missing(_) => "claim_missing",
            Self::Claim(_) => "claim_malformed",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::IssuedLater => "token_issued_later",
            Self::Signature => "bad_signature",
        }
    }

    /// Every code, for the page that lists them.
    pub const CODES: [&'static str; 14] = [
        "malformed_token",
        "wrong_issuer",
        "wrong_type",
        "critical_header",
        "algorithm_not_allowed",
        "unknown_key",
        "key_id_missing",
        "wrong_audience",
        "claim_missing",
        "claim_malformed",
        "token_expired",
        "token_not_yet_valid",
        "token_issued_later",
        "bad_signature",
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "this is not a token that can be read: {why}"),
            Self::Issuer => f.write_str("the token is from an issuer that is not trusted here"),
            Self::Type => f.write_str("the token is not an access token by its `typ`"),
            Self::Critical => f.write_str("the token asks for an extension (`crit`), and none is known here"),
            Self::Algorithm => f.write_str("the token is signed by an algorithm that is not taken here"),
            Self::UnknownKey => f.write_str("the token is signed with a key that is not known here"),
            Self::NoKeyId => f.write_str("the token does not say by `kid` which key signed it"),
            Self::Audience => f.write_str("the token is for another audience"),
            Self::Missing(claim) => write!(f, "the token lacks the claim `{claim}`"),
            Self::Claim(claim) => write!(f, "the claim `{claim}` of the token cannot be read"),
            Self::Expired => f.write_str("the token has expired"),
            Self::NotYet => f.write_str("the token is not valid yet"),
            Self::IssuedLater => f.write_str("the token says that it was issued later than now"),
            Self::Signature => f.write_str("the signature of the token does not fit"),
        }
    }
}

impl std::error::Error for Refusal {}
