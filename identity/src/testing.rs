//! An issuer for tests: keys made anew in each process, and tokens signed with them. Nothing here is for a gateway.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Algorithm;

/// A pair of keys that signs.
pub struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

const MADE: &str = "a test's keys can be made";

impl SigningKey {
    /// An RSA key of 2048 bits, made in some tenths of a second.
    pub fn rs256(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect(MADE)) }
    }

    /// A key on P-256, made in no time.
    pub fn es256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(MADE);
        Self { id: id.to_owned(), pair: Pair::P256(pair) }
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::P256(_) => Algorithm::Es256,
        }
    }

    /// Its public half as the members of a JSON Web Key, `kid` among them.
    pub fn members(&self) -> Vec<(&'static str, String)> {
        let mut members = match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = components(pair.public_key().as_ref());
                vec![("kty", "RSA".to_owned()), ("n", encode(n)), ("e", encode(e))]
            }
            Pair::P256(pair) => {
                // Uncompressed: a four, then both coordinates (SEC 1, section 2.3.3).
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                vec![("kty", "EC".to_owned()), ("crv", "P-256".to_owned()), ("x", x), ("y", y)]
            }
        };
        members.push(("kid", self.id.clone()));
        members
    }

    /// Its public half as a JSON Web Key.
    pub fn jwk(&self) -> String {
        object(&self.members())
    }

    /// A token with the usual header for these claims, which are JSON.
    pub fn token(&self, claims: &str) -> String {
        let header = object(&[
            ("alg", self.algorithm().name().to_owned()),
            ("typ", "at+jwt".to_owned()),
            ("kid", self.id.clone()),
        ]);
        self.token_of(&header, claims)
    }

    /// A token with any header and claims, true or not.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        format!("{message}.{}", encode(&self.sign(message.as_bytes())))
    }

    /// A signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect(MADE);
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).expect(MADE).as_ref().to_vec(),
        }
    }

    /// The public half in its raw form: what somebody who confuses algorithms takes for the secret of HS256.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm().name(), self.id)
    }
}

/// A key set of the public halves.
pub fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// Base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An object of texts that need no escapes.
fn object(members: &[(&'static str, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    format!("{{{}}}", members.join(","))
}

/// Modulus and exponent out of an `RSAPublicKey` (RFC 8017, appendix A.1.1): a sequence of two integers in DER.
fn components(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    // A leading zero keeps a large number from being negative.
    (n.strip_prefix(&[0]).unwrap_or(n), e)
}

/// The content of the first element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, at) = match der[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let octets = usize::from(long & 0x7f);
            (der[2..2 + octets].iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), 2 + octets)
        }
    };
    der[at..].split_at(length)
}
