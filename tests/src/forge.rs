//! Tokens as a stranger, or a thief of the secret, would make them (RFC 7515).
//!
//! Owns signatures. Must not know what a token ought to say, nor use the product's code for it.

use anyhow::{Context, Result};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// What signs a token.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'k> {
    /// Nothing: the signature is empty.
    Nobody,
    /// HMAC with SHA-256, -384 or -512.
    Hmac(hmac::Algorithm, &'k [u8]),
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rsa(&'k RsaKeyPair),
    /// Ed25519.
    Ed25519(&'k Ed25519KeyPair),
}

impl Signer<'_> {
    fn sign(self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Nobody => Vec::new(),
            Self::Hmac(algorithm, secret) => {
                hmac::sign(&hmac::Key::new(algorithm, secret), bytes).as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature)?;
                signature
            }
            Self::Ed25519(key) => key.sign(bytes).as_ref().to_vec(),
        })
    }
}

/// A token of any header and claims.
///
/// # Errors
/// The key does not sign.
pub fn token(header: &Value, claims: &Value, signer: Signer<'_>) -> Result<String> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

/// A token as the holder of the secret makes it.
///
/// # Errors
/// As [`token`].
pub fn hs256(claims: &Value, secret: &str) -> Result<String> {
    let header = json!({"typ": "JWT", "alg": "HS256"});
    token(&header, claims, Signer::Hmac(hmac::HMAC_SHA256, secret.as_bytes()))
}

/// Header and claims of a token, unchecked.
///
/// # Errors
/// It is none.
pub fn parts(token: &str) -> Result<(Value, Value)> {
    let mut parts = token.split('.');
    let mut part = || -> Result<Value> {
        let text = parts.next().context("a part is missing")?;
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text)?)?)
    };
    Ok((part()?, part()?))
}

/// The same claims but for one, which is set, or taken away by `null`.
#[must_use]
pub fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    if let Value::Object(members) = &mut claims {
        members.remove(name);
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    }
    claims
}

/// Keys that nobody was told of, and one that everybody knows.
#[derive(Debug)]
pub struct Keys {
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
    /// The installation's public key, as it is published: PEM.
    public_pem: String,
}

impl Keys {
    /// New keys, and the installation's public key.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate(public_pem: String) -> Result<Self> {
        let ed25519 = Ed25519KeyPair::generate()?;
        Ok(Self { rsa: RsaKeyPair::generate(KeySize::Rsa2048)?, ed25519, public_pem })
    }

    /// What is in a genuine token, signed in every way that a confused checker takes for its own:
    /// with a public key as the secret, with another key, with another algorithm, with none.
    ///
    /// # Errors
    /// It is no token.
    pub fn confused(&self, genuine: &str, secret: &[u8]) -> Result<Vec<String>> {
        let (header, claims) = parts(genuine)?;
        let der = self.rsa.public_key().as_der()?;
        let pem = pem(der.as_ref());
        let published = der_of(&self.public_pem)?;
        let own = self.ed25519.public_key().as_ref().to_vec();
        let hmac256 = |key| ("HS256", Signer::Hmac(hmac::HMAC_SHA256, key));
        let ways = [
            hmac256(pem.as_bytes()),
            hmac256(pem.trim_end().as_bytes()),
            hmac256(der.as_ref()),
            hmac256(self.public_pem.as_bytes()),
            hmac256(self.public_pem.trim_end().as_bytes()),
            hmac256(&published),
            hmac256(published.last_chunk::<32>().context("no key")?),
            hmac256(&own),
            hmac256(b"\0"),
            ("HS384", Signer::Hmac(hmac::HMAC_SHA384, secret)),
            ("HS512", Signer::Hmac(hmac::HMAC_SHA512, secret)),
            ("RS256", Signer::Rsa(&self.rsa)),
            ("EdDSA", Signer::Ed25519(&self.ed25519)),
            // Named otherwise than it is signed.
            ("RS256", Signer::Hmac(hmac::HMAC_SHA256, secret)),
            ("EdDSA", Signer::Hmac(hmac::HMAC_SHA256, secret)),
            ("HS256", Signer::Rsa(&self.rsa)),
            ("HS256", Signer::Ed25519(&self.ed25519)),
        ];
        ways.into_iter()
            .map(|(alg, signer)| token(&with(&header, "alg", json!(alg)), &claims, signer))
            .collect()
    }
}

/// What is in a genuine token, not signed at all.
///
/// # Errors
/// It is no token.
pub fn unsigned(genuine: &str) -> Result<Vec<String>> {
    let (header, claims) = parts(genuine)?;
    let (_, signature) = genuine.rsplit_once('.').context("no signature")?;
    let mut tokens = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let bare = token(&with(&header, "alg", json!(alg)), &claims, Signer::Nobody)?;
        tokens.extend([format!("{bare}{signature}"), bare.trim_end_matches('.').to_owned(), bare]);
    }
    tokens.push(token(&with(&header, "alg", Value::Null), &claims, Signer::Nobody)?);
    Ok(tokens)
}

/// A genuine token with something changed, and its signature as it was, or without a good one.
///
/// # Errors
/// It is no token.
pub fn tampered(genuine: &str) -> Result<Vec<String>> {
    let (header, claims) = parts(genuine)?;
    let (signed, signature) = genuine.rsplit_once('.').context("no signature")?;
    let (head, body) = signed.split_once('.').context("no claims")?;
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let other_head = encoded(&with(&header, "typ", json!("jwt")));
    let other_body = encoded(&with(&claims, "exp", json!(i64::from(u32::MAX))));
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let stranger = Signer::Hmac(hmac::HMAC_SHA256, b"a secret that only the stranger knows....");
    Ok(vec![
        format!("{other_head}.{body}.{signature}"),
        format!("{head}.{other_body}.{signature}"),
        format!("{signed}.{first}{}", &signature[1..]),
        format!("{signed}.{}", &signature[..signature.len() - 4]),
        format!("{signed}.{signature}AAAA"),
        format!("{signed}."),
        signed.to_owned(),
        format!("{genuine}.{signature}"),
        format!("{genuine}="),
        format!("x{genuine}"),
        token(&header, &claims, stranger)?,
    ])
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// The bytes of a PEM file.
///
/// # Errors
/// It is none.
pub fn der_of(pem: &str) -> Result<Vec<u8>> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    Ok(STANDARD.decode(lines.collect::<String>())?)
}
