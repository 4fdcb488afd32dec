//! Judges a token: what is cheap first, the signature last.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_exchange::value::Value;

use crate::key_set::{Key, NoKey, fingerprint};
use crate::{Algorithm, KeySet, Refusal, Token};

/// Which tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Who issued them: `iss` is this text, to the letter (RFC 7519, section 4.1.1).
    pub issuer: Arc<str>,
    /// For whom they are: `aud` names one of these. `None` takes tokens for anybody.
    pub audiences: Option<Vec<Arc<str>>>,
    /// Algorithms that are taken; a key of another one is not used.
    pub algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// The claim that names the consumer.
    pub consumer_claim: Arc<str>,
}

/// Judges the tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    rules: Rules,
    keys: Arc<KeySet>,
}

/// A token in which all is right but for the signature, which nobody has looked at yet.
pub struct Examined<'t, 'v> {
    token: &'t Token<'t>,
    candidates: Vec<&'v Key>,
    claims: Claims,
}

/// What a verified token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// The consumer's name as the issuer has it.
    pub consumer: Arc<str>,
    /// What the caller was granted: `scope` (RFC 8693, section 4.2) or, where there is none, `scp`.
    pub scopes: Arc<[Arc<str>]>,
    /// From when on it is refused: `exp` and the leeway.
    pub expires: SystemTime,
    /// The name of the key that signed it: one of [`KeySet::names`].
    pub key: Arc<str>,
    /// Names the token in a log, and tells nothing of it.
    pub fingerprint: String,
}

struct Claims {
    consumer: Arc<str>,
    scopes: Arc<[Arc<str>]>,
    expires: SystemTime,
}

impl Verifier {
    /// The judge of these rules and keys.
    pub fn new(rules: Rules, keys: Arc<KeySet>) -> Self {
        Self { rules, keys }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The keys.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Judges all but the signature, which costs a hundred times as much: [`Examined::verify`] is left to do. What a token says
    /// of itself decides here whether it is looked at, never whether it is believed.
    ///
    /// # Errors
    /// The first thing that is wrong; [`Refusal::Issuer`] before all others, so that another issuer's judge can be asked.
    pub fn examine<'t, 'v>(&'v self, token: &'t Token<'t>, now: SystemTime) -> Result<Examined<'t, 'v>, Refusal> {
        if token.claim("iss").and_then(Value::as_str) != Some(&self.rules.issuer) {
            return Err(Refusal::Issuer);
        }
        if !token.header.kind.as_deref().is_none_or(is_access_token) {
            return Err(Refusal::Type);
        }
        if token.header.is_critical {
            // RFC 7515, section 4.1.11: who does not know an extension must refuse.
            return Err(Refusal::Critical);
        }
        let algorithm = Algorithm::named(token.algorithm()).filter(|it| self.rules.algorithms.contains(it));
        let algorithm = algorithm.ok_or(Refusal::Algorithm)?;
        self.audience(token)?;
        let claims = self.claims(token, now)?;
        let candidates = self.keys.candidates(token, algorithm).map_err(|why| match why {
            NoKey::Unknown => Refusal::UnknownKey,
            NoKey::TooMany => Refusal::NoKeyId,
        })?;
        Ok(Examined { token, candidates, claims })
    }

    fn audience(&self, token: &Token<'_>) -> Result<(), Refusal> {
        let Some(audiences) = &self.rules.audiences else { return Ok(()) };
        let is_ours = |named: &str| audiences.iter().any(|audience| **audience == *named);
        let is_for_us = match token.claim("aud") {
            None => return Err(missing("aud")),
            Some(Value::Text(named)) => is_ours(named),
            Some(Value::List(named)) => {
                let named: Option<Vec<&str>> = named.iter().map(Value::as_str).collect();
                named.ok_or_else(|| Refusal::Claim("aud".into()))?.into_iter().any(is_ours)
            }
            Some(_) => return Err(Refusal::Claim("aud".into())),
        };
        if is_for_us { Ok(()) } else { Err(Refusal::Audience) }
    }

    fn claims(&self, token: &Token<'_>, now: SystemTime) -> Result<Claims, Refusal> {
        let leeway = self.rules.leeway;
        let expires = date(token, "exp")?.ok_or_else(|| missing("exp"))? + leeway;
        if expires <= now {
            return Err(Refusal::Expired);
        }
        if date(token, "nbf")?.is_some_and(|begins| begins > now + leeway) {
            return Err(Refusal::NotYet);
        }
        if date(token, "iat")?.is_some_and(|issued| issued > now + leeway) {
            return Err(Refusal::IssuedLater);
        }
        let name = &self.rules.consumer_claim;
        let consumer = match token.claim(name) {
            None => return Err(Refusal::Missing(name.clone())),
            Some(Value::Text(consumer)) if !consumer.is_empty() => consumer.as_str().into(),
            Some(_) => return Err(Refusal::Claim(name.clone())),
        };
        Ok(Claims { consumer, scopes: scopes(token)?, expires })
    }
}

impl Examined<'_, '_> {
    /// Judges the signature: some 15 µs for RS256, twice that for ES256, times the keys that may be the one.
    ///
    /// # Errors
    /// [`Refusal::Signature`].
    pub fn verify(self) -> Result<Verified, Refusal> {
        let Self { token, candidates, claims } = self;
        let signed = candidates.into_iter().find(|key| key.has_signed(token.message, &token.signature));
        let key = signed.ok_or(Refusal::Signature)?.name().clone();
        let Claims { consumer, scopes, expires } = claims;
        Ok(Verified { consumer, scopes, expires, key, fingerprint: fingerprint(token.text) })
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { consumer, scopes, expires, key, fingerprint } = self;
        write!(f, "Verified({consumer}, {scopes:?}, until {expires:?}, {key}.{fingerprint})")
    }
}

/// `typ` of RFC 7519, section 5.1, and of RFC 9068, section 2.1, with or without `application/`, in any case (RFC 7515, section
/// 4.1.9). What says that it is a logout token, a proof or an event was not made to be shown here (RFC 8725, section 3.11).
fn is_access_token(kind: &str) -> bool {
    const PREFIX: &str = "application/";
    let has_prefix = kind.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    let kind = if has_prefix { &kind[PREFIX.len()..] } else { kind };
    kind.eq_ignore_ascii_case("jwt") || kind.eq_ignore_ascii_case("at+jwt")
}

/// A `NumericDate` (RFC 7519, section 2): seconds since 1970, with a fraction where somebody likes that, up to the year 9999.
fn date(token: &Token<'_>, name: &'static str) -> Result<Option<SystemTime>, Refusal> {
    const END: u64 = 253_402_300_799;
    let seconds = match token.claim(name) {
        None => return Ok(None),
        Some(Value::F64(seconds)) if (0.0..=END as f64).contains(seconds) => Duration::from_secs_f64(*seconds),
        Some(value) => match value.as_u64() {
            Some(seconds) if seconds <= END => Duration::from_secs(seconds),
            _ => return Err(Refusal::Claim(name.into())),
        },
    };
    Ok(Some(SystemTime::UNIX_EPOCH + seconds))
}

/// One text with spaces between, or a list.
fn scopes(token: &Token<'_>) -> Result<Arc<[Arc<str>]>, Refusal> {
    let Some((name, value)) = ["scope", "scp"].iter().find_map(|name| Some((*name, token.claim(name)?))) else {
        return Ok(Arc::default());
    };
    match value {
        Value::Text(listed) => Ok(listed.split(' ').filter(|scope| !scope.is_empty()).map(Arc::from).collect()),
        Value::List(listed) => {
            let listed: Option<Vec<Arc<str>>> = listed.iter().map(|scope| scope.as_str().map(Arc::from)).collect();
            listed.map(Arc::from).ok_or_else(|| Refusal::Claim(name.into()))
        }
        _ => Err(Refusal::Claim(name.into())),
    }
}

fn missing(name: &'static str) -> Refusal {
    Refusal::Missing(name.into())
}

#[cfg(test)]
mod tests;
