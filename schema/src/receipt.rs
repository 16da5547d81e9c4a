//! The receipt of a deletion: what it says, and how its hashes are made.
//!
//! A receipt is a JWT (RFC 7519) signed with Ed25519 (`EdDSA`, RFC 8037) under a `kid` of the
//! JWKS. Its header's `typ` is [`TYP`], so that it can be taken for nothing else.

use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{Fence, Reach};

/// The `typ` of a receipt's header (RFC 7515, section 4.1.9).
pub const TYP: &str = "deletion-receipt+jwt";

/// What a receipt says: the claims of the JWT. Times are RFC 3339 in UTC unless it says seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who signed it, as configured.
    pub iss: String,
    /// When it was signed, seconds since 1970.
    pub iat: i64,
    /// Its own id.
    pub jti: Uuid,
    /// The project.
    pub project_id: String,
    /// The job.
    pub job_id: Uuid,
    /// When the front door took the job.
    pub accepted_at: String,
    /// When it was known that all of it had settled: nothing older is left, and no crash of the
    /// database can bring it back.
    pub settled_at: String,
    /// When the read-back was done.
    pub completed_at: String,
    /// Number of users, duplicates merged.
    pub users: u64,
    /// Which they were, without naming them.
    pub ids: IdsHash,
    /// What was erased of each.
    pub erased: Vec<Reach>,
    /// Where the job's markers stand in the log: what stands before one is erased.
    pub fence: Vec<Fence>,
    /// What was looked for afterwards.
    pub read_back: ReadBack,
    /// Where copies may still lie, and until when.
    pub residuals: Vec<Residual>,
    /// The place in the project's chain of receipts, from 1.
    pub number: u64,
    /// The receipt before it; none for the first.
    pub previous: Option<Previous>,
}

/// A salted hash of the users' ids; see [`ids_hash`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdsHash {
    /// How the hash is made: [`IDS_HASH_ALGORITHM`].
    pub alg: String,
    /// Hexadecimal.
    pub salt: String,
    /// Hexadecimal.
    pub hash: String,
}

/// The only `alg` of [`IdsHash`].
pub const IDS_HASH_ALGORITHM: &str = "sha256-salt-length32le-id-sorted";

/// Users that were read back after the erasure: the profile, the devices, and of the events the
/// newest few thousand dated before the job was accepted and as many dated since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// How many, picked at random when the job was accepted.
    pub sampled: u64,
    /// How many of them still had anything older than their marker: 0, or there is no receipt.
    pub found: u64,
}

/// Where copies may still lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residual {
    /// `log`, `dead_letters`; of the embedded store `store_journal`, of a database
    /// `store_tombstones`; of both `store_erasures`.
    pub place: String,
    /// Gone at the latest then; `None`: it cannot be said, see `note`. Of `store_tombstones` it is
    /// the earliest time at which the last of them may go.
    pub until: Option<String>,
    /// What it is.
    pub note: String,
}

/// The receipt before in a project's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its job.
    pub job_id: Uuid,
    /// [`token_hash`] of it.
    pub hash: String,
}

/// SHA-256 over the salt's bytes and then, of each id in ascending byte order, its length (4
/// bytes, little-endian) and its bytes; hexadecimal. `ids` must ascend, each once.
pub fn ids_hash<'a>(salt: &[u8], ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    for id in ids {
        // Longer ids are not accepted.
        let len = u32::try_from(id.len()).unwrap_or(u32::MAX);
        context.update(&len.to_le_bytes());
        context.update(id.as_bytes());
    }
    hex(context.finish().as_ref())
}

/// SHA-256 over a receipt's token (the JWT, as it is served), hexadecimal.
pub fn token_hash(token: &str) -> String {
    hex(digest(&SHA256, token.as_bytes()).as_ref())
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits; `None` if they are something else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    // `from_str_radix` alone would take a sign.
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_ids_is_as_documented() {
        let bytes = [9, 8, 1, 0, 0, 0, b'a', 2, 0, 0, 0, b'b', b'c'];
        assert_eq!(ids_hash(&[9, 8], ["a", "bc"]), hex(digest(&SHA256, &bytes).as_ref()));
    }

    #[test]
    fn hexadecimal_digits_come_back_as_they_went() {
        assert_eq!(hex(&[0, 0xaf]), "00af");
        assert_eq!(unhex("00aF"), Some(vec![0, 0xaf]));
        for bad in ["0", "0g", "é", "+1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
