//! Reads the keys that tokens are signed with: a JSON Web Key Set (RFC 7517, section 5).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portolan_exchange::value::json::{self, DecodeLimits};
use portolan_exchange::value::{Map, Type, Value};

use crate::token::{MAX_KEY_ID, Token};

/// Keys of one set. Issuers have one or two, large tenants some tens.
pub const MAX_KEYS: usize = 100;

/// Keys that are tried for a token whose `kid` does not say which it is: each try costs a signature's time.
pub const MAX_TRIES: usize = 4;

const LIMITS: DecodeLimits = DecodeLimits { depth: 16, values: 10_000 };

/// An algorithm (RFC 7518, section 3.1). Each key belongs to one: a token cannot choose another for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Its name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm of this name, told from upper and lower case as the header tells it.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The public keys of an issuer.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public key.
pub struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    name: Arc<str>,
    public: ParsedPublicKey,
}

/// Something to tell of a key set: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which member, such as `keys[1].n`; empty for the whole.
    pub path: String,
    /// What is wrong or passed over, in a sentence.
    pub message: String,
}

/// Why no token that says so can have been signed with a key of this set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// None fits.
    Unknown,
    /// More fit than are tried.
    TooMany,
}

impl KeySet {
    /// Reads a set. Keys for other uses and algorithms are passed over, as RFC 7517, section 5, wants it; the notes say which.
    ///
    /// # Errors
    /// All that is wrong: no JSON, a name twice, a key that is weak (RSA below 2048 bits), broken, private or of the same `kid`
    /// as another, and a set without a key that can be used.
    pub fn read(text: &[u8]) -> Result<(Self, Vec<Note>), Vec<Note>> {
        let set = json::decode(text, &Type::Any, LIMITS)
            .map_err(|error| vec![note("", format!("this is not JSON: {error}"))])?;
        let Some(listed) = set.get("keys").and_then(Value::as_list) else {
            return Err(vec![note("", "a key set is an object with a list `keys`")]);
        };
        if listed.len() > MAX_KEYS {
            return Err(vec![note("keys", format!("there are {} keys, and {MAX_KEYS} may be", listed.len()))]);
        }
        let (mut keys, mut wrong, mut passed) = (Vec::<Key>::new(), Vec::new(), Vec::new());
        for (index, written) in listed.iter().enumerate() {
            let path = format!("keys[{index}]");
            match Key::read(written) {
                Ok(Ok(key)) => {
                    if key.id.is_some()
                        && keys.iter().any(|known| known.id == key.id && known.algorithm == key.algorithm)
                    {
                        wrong.push(note(&format!("{path}.kid"), "another key has the same `kid`"));
                    }
                    keys.push(key);
                }
                Ok(Err(why)) => passed.push(note(&path, format!("passed over: {why}"))),
                Err((member, why)) => wrong.push(note(&format!("{path}{member}"), why)),
            }
        }
        if keys.is_empty() && wrong.is_empty() {
            let why = "no key of it can verify RS256 or ES256";
            wrong.extend(passed.drain(..).chain([note("keys", why)]));
        }
        if wrong.is_empty() { Ok((Self { keys }, passed)) } else { Err(wrong) }
    }

    /// The names of the keys: what they are told apart by where a `kid` is missing or reused. A name is made from the whole
    /// key (RFC 7638).
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.keys.iter().map(|key| &key.name)
    }

    /// The keys of this algorithm that may have signed a token: those of its `kid`, else those without one; all of them for a
    /// token without. Never more than [`MAX_TRIES`].
    pub(crate) fn candidates<'k>(&'k self, token: &Token<'_>, algorithm: Algorithm) -> Result<Vec<&'k Key>, NoKey> {
        let of_algorithm = self.keys.iter().filter(|key| key.algorithm == algorithm);
        let found: Vec<_> = match token.key_id() {
            None => of_algorithm.take(MAX_TRIES + 1).collect(),
            Some(wanted) => match of_algorithm.clone().find(|key| key.id.as_deref() == Some(wanted)) {
                Some(key) => vec![key],
                None => of_algorithm.filter(|key| key.id.is_none()).take(MAX_TRIES + 1).collect(),
            },
        };
        match found.len() {
            0 => Err(NoKey::Unknown),
            1..=MAX_TRIES => Ok(found),
            _ => Err(NoKey::TooMany),
        }
    }
}

impl Key {
    /// `Ok(Err(why))` for a key that is for something else.
    fn read(written: &Value) -> Result<Result<Self, &'static str>, (String, String)> {
        let Some(members) = written.as_map() else {
            return Err((String::new(), "a key is an object".to_owned()));
        };
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(&**text)),
            Some(_) => Err((format!(".{name}"), "this is not text".to_owned())),
        };
        let Some(kind) = text("kty")? else {
            return Err((String::new(), "the key has no `kty`".to_owned()));
        };
        // A file that everybody may read is no place for them; what can sign is the issuer's alone.
        if kind != "oct" && ["d", "p", "q", "dp", "dq", "qi"].iter().any(|name| members.contains(name)) {
            let why =
                "this is a private key, which belongs to the issuer alone; put the public one here and make a new pair";
            return Err((String::new(), why.to_owned()));
        }
        if text("use")?.is_some_and(|wanted| wanted != "sig") {
            return Ok(Err("it is not for signatures by its `use`"));
        }
        if let Some(operations) = members.get("key_ops") {
            let verifies = |value: &Value| value.as_str() == Some("verify");
            if !operations.as_list().is_some_and(|operations| operations.iter().any(verifies)) {
                return Ok(Err("it is not for verifying by its `key_ops`"));
            }
        }
        let algorithm = match (kind, text("crv")?) {
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            _ => return Ok(Err("it is of a kind that neither RS256 nor ES256 has")),
        };
        if text("alg")?.is_some_and(|wanted| wanted != algorithm.name()) {
            return Ok(Err("it is for another algorithm by its `alg`"));
        }
        let id = text("kid")?;
        if id.is_some_and(|id| id.len() > MAX_KEY_ID) {
            return Err((".kid".to_owned(), format!("the `kid` is longer than {MAX_KEY_ID} bytes")));
        }
        let (public, thumb) = match algorithm {
            Algorithm::Rs256 => rsa(members)?,
            Algorithm::Es256 => p256(members)?,
        };
        Ok(Ok(Self { id: id.map(Box::from), algorithm, name: name_of(&thumb), public }))
    }

    /// What it is told apart by.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it signed this.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {:?} {})", self.algorithm.name(), self.id, self.name)
    }
}

type Read = (ParsedPublicKey, String);

/// RFC 7518, section 6.3.1.
fn rsa(members: &Map) -> Result<Read, (String, String)> {
    let (n, e) = (number(members, "n")?, number(members, "e")?);
    let bits = n.len() * 8 - n[0].leading_zeros() as usize;
    if bits < 2_048 {
        // RFC 7518, section 3.3.
        return Err((".n".to_owned(), format!("an RSA key of {bits} bits is weak; it needs 2048 at least")));
    }
    if bits > 8_192 {
        // Every token would cost ten times as much to verify.
        return Err((".n".to_owned(), format!("an RSA key of {bits} bits is too long; it may have 8192 at most")));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    // With an exponent of 1 whatever one sends is its own signature; beyond 32 bits verifying becomes slow.
    if !is_odd(&e) || e == [1] || e.len() > 4 {
        return Err((".e".to_owned(), "this is no exponent of an RSA key; 65537 (`AQAB`) is usual".to_owned()));
    }
    let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    match components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256) {
        Ok(public) if is_odd(&n) => {
            let (n, e) = (URL_SAFE_NO_PAD.encode(&n), URL_SAFE_NO_PAD.encode(&e));
            Ok((public, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
        }
        _ => Err((".n".to_owned(), "this is no RSA key".to_owned())),
    }
}

/// RFC 7518, section 6.2.1: coordinates have the length of the field, leading zeros and all.
fn p256(members: &Map) -> Result<Read, (String, String)> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = bytes(members, name)?;
        if coordinate.len() != 32 {
            return Err((format!(".{name}"), "a coordinate of P-256 has 32 bytes".to_owned()));
        }
        point.extend(coordinate);
    }
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
        .map_err(|_| (String::new(), "this is no point of P-256".to_owned()))?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    Ok((public, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)))
}

/// A number in big-endian bytes. Some issuers write a leading zero, which RFC 7518, section 2, does not allow and which
/// changes nothing.
fn number(members: &Map, name: &str) -> Result<Vec<u8>, (String, String)> {
    let mut bytes = bytes(members, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    if bytes.is_empty() { Err((format!(".{name}"), "the number is zero".to_owned())) } else { Ok(bytes) }
}

fn bytes(members: &Map, name: &str) -> Result<Vec<u8>, (String, String)> {
    let Some(text) = members.get(name).and_then(Value::as_str) else {
        return Err((String::new(), format!("the key has no text `{name}`")));
    };
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| (format!(".{name}"), "this is not in base64url without padding".to_owned()))
}

/// The beginning of the key's thumbprint (RFC 7638): 48 bits tell the keys of one gateway apart.
fn name_of(members: &str) -> Arc<str> {
    fingerprint(members.as_bytes()).into()
}

/// Names some bytes without telling anything of them: the first 48 bits of their SHA-256.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn note(path: &str, message: impl Into<String>) -> Note {
    Note { path: path.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests;
