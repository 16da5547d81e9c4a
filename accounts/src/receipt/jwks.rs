//! Public keys as a JWK set (RFC 7517; Ed25519 as in RFC 8037, section 2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_store::ReceiptKey;
use serde::{Deserialize, Serialize};

const KTY: &str = "OKP";
const CRV: &str = "Ed25519";

/// A set of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// One public key. What is no Ed25519 key is read too, and never used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The kind of key.
    pub kty: String,
    /// The curve.
    #[serde(default)]
    pub crv: String,
    /// The 32 bytes of the key, base64url without padding.
    #[serde(default)]
    pub x: String,
    /// What tokens call it.
    #[serde(default)]
    pub kid: String,
    /// What it is for.
    #[serde(default)]
    pub alg: String,
    /// What it is for.
    #[serde(default, rename = "use")]
    pub usage: String,
}

impl Jwks {
    /// The set of some keys.
    pub fn of(keys: &[ReceiptKey]) -> Self {
        let jwk = |key: &ReceiptKey| Jwk {
            kty: KTY.to_owned(),
            crv: CRV.to_owned(),
            x: URL_SAFE_NO_PAD.encode(&key.public),
            kid: key.kid.clone(),
            alg: "EdDSA".to_owned(),
            usage: "sig".to_owned(),
        };
        Self { keys: keys.iter().map(jwk).collect() }
    }

    /// The 32 bytes of the Ed25519 key of this name.
    pub(super) fn ed25519(&self, kid: &str) -> Option<Vec<u8>> {
        let known = |key: &&Jwk| (&*key.kty, &*key.crv, &*key.kid) == (KTY, CRV, kid);
        let x = &self.keys.iter().find(known)?.x;
        URL_SAFE_NO_PAD.decode(x).ok().filter(|bytes| bytes.len() == 32)
    }
}
