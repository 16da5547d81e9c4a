//! Receipts, read and verified without any of the product's own code for that.
//!
//! Owns signatures and keys. Must not know what a receipt ought to say.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_schema::receipt::{Receipt, TYP};
use serde::Deserialize;

/// Public keys by `kid`.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<String, Vec<u8>>);

/// The key that a receipt names.
///
/// # Errors
/// It is no token.
pub fn kid(token: &str) -> Result<String> {
    Ok(header(token)?.kid)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl Keys {
    /// Reads a JWKS (RFC 7517) of Ed25519 keys (RFC 8037).
    ///
    /// # Errors
    /// It is none.
    pub fn parse(jwks: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            crv: String,
            kid: String,
            x: String,
        }
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<Jwk>,
        }
        let mut keys = BTreeMap::new();
        for Jwk { kty, crv, kid, x } in serde_json::from_slice::<Jwks>(jwks)?.keys {
            ensure!((&*kty, &*crv) == ("OKP", "Ed25519"), "a key of {kty} {crv}");
            keys.insert(kid, URL_SAFE_NO_PAD.decode(x)?);
        }
        Ok(Self(keys))
    }

    /// What a receipt says, if one of these keys has signed it.
    ///
    /// # Errors
    /// None has, or it is no receipt.
    pub fn verify(&self, token: &str) -> Result<Receipt> {
        let (signed, signature) = token.rsplit_once('.').context("no signature")?;
        let (_, claims) = signed.split_once('.').context("no claims")?;
        let Header { alg, typ, kid } = header(token)?;
        ensure!((&*alg, &*typ) == ("EdDSA", TYP), "a token of {alg} and {typ}");
        let key = self.0.get(&kid).with_context(|| format!("no key {kid} in the JWKS"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        let verified = UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature);
        ensure!(verified.is_ok(), "the signature is not that of key {kid}");
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?)
    }
}

fn header(token: &str) -> Result<Header> {
    let (header, _) = token.split_once('.').context("no header")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?)
}
