//! Checks a receipt with the keys of a JWK set, and nothing else.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use millrace_schema::receipt::{Receipt, TYP};

use super::Jwks;

/// Bytes of a token; what is longer is refused unread. The fence has an entry a partition and
/// topic, of about 100 bytes.
const TOKEN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a token is not a receipt of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a JWT of the kind of receipts: form, algorithm, type or claims.
    #[error("it is not a receipt: {0}")]
    Malformed(String),
    /// Signed with a key that is not in the set.
    #[error("it is signed with the key {0:?}, which is not among the keys of receipts")]
    UnknownKey(String),
    /// The signature does not fit.
    #[error("its signature is wrong: it was not issued as it is")]
    BadSignature,
}

/// What a receipt says, if it is genuine. The algorithm is EdDSA and the type that of receipts,
/// whatever the token would have.
///
/// # Errors
/// [`ReceiptError`]: it proves nothing.
pub fn verify_receipt(token: &str, keys: &Jwks) -> Result<Receipt, ReceiptError> {
    let malformed = |why: &str| ReceiptError::Malformed(why.to_owned());
    if token.len() > TOKEN_BYTES_MAX {
        return Err(malformed("it is too long"));
    }
    let header = decode_header(token).map_err(|error| malformed(&error.to_string()))?;
    if header.alg != Algorithm::EdDSA {
        return Err(malformed("its algorithm is not EdDSA"));
    }
    if header.typ.as_deref() != Some(TYP) {
        return Err(malformed("its type is not that of receipts"));
    }
    let kid = header.kid.ok_or_else(|| malformed("it names no key"))?;
    let key = keys.ed25519(&kid).ok_or(ReceiptError::UnknownKey(kid))?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    // A receipt is for anybody, and for good.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims(&["iss"]);
    let receipt = decode::<Receipt>(token, &DecodingKey::from_ed_der(&key), &validation);
    receipt.map(|receipt| receipt.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => ReceiptError::BadSignature,
        _ => malformed(&error.to_string()),
    })
}
