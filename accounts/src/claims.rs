//! What an API key says: a JWT (RFC 7519) signed with Ed25519 (`EdDSA`, RFC 8037).

use millrace_store::{ApiKey, Scope};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The `typ` of the header: nothing that is signed for another end may pass as an API key.
pub(crate) const TYP: &str = "JWT";
pub(crate) const ISSUER: &str = "millrace";
pub(crate) const AUDIENCE: &str = "millrace-api";
pub(crate) const US_PER_SECOND: i64 = 1_000_000;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) jti: Uuid,
    pub(crate) project_id: String,
    pub(crate) scopes: Vec<Scope>,
    /// Seconds since 1970.
    pub(crate) iat: i64,
    /// Seconds since 1970; a key without it never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<i64>,
}

impl Claims {
    pub(crate) fn of(key: &ApiKey) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            jti: key.id,
            project_id: key.project.clone(),
            scopes: key.scopes.clone(),
            iat: key.created_us.div_euclid(US_PER_SECOND),
            exp: key.expires_us.map(|us| us.div_euclid(US_PER_SECOND)),
        }
    }
}
