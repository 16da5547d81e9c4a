//! The first person of the back office: made once, by a secret of the configuration.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use millrace_store::Kind as DocumentKind;
use serde_json::json;

use super::audit_user::NewPerson;
use super::person::Kind;
use super::{BackOffice, BackOfficeError, BackOfficeUser};
use crate::audit::Actor;
use crate::documents;
use crate::field::{self, Fields};
use crate::retry::Tries;

/// There once the first person was made.
const BOOTSTRAPPED: &str = "back_office_bootstrapped";

/// What the configuration says of the first person.
#[derive(Clone)]
pub struct BootstrapSettings {
    /// Whoever knows it may make them.
    pub secret: String,
    /// Their address.
    pub email: String,
    /// Their password.
    pub password: String,
    /// Their given name.
    pub first_name: String,
    /// Their family name.
    pub last_name: String,
    /// Their phone.
    pub phone: String,
    /// Their language: `fr`, `en` or `de`.
    pub lang: Option<String>,
}

impl fmt::Debug for BootstrapSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootstrapSettings").finish_non_exhaustive()
    }
}

/// The first person, checked.
pub struct Bootstrap {
    secret: String,
    person: NewPerson,
}

impl Bootstrap {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`BackOfficeError::Invalid`] names the fields that break the rules of an audit user.
    pub fn new(settings: BootstrapSettings) -> Result<Self, BackOfficeError> {
        let body = json!({
            "firstName": settings.first_name,
            "lastName": settings.last_name,
            "email": settings.email,
            "phone": settings.phone,
            "password": settings.password,
            "lang": settings.lang,
        });
        let person = NewPerson::parse(body.to_string().as_bytes())?;
        if settings.secret.is_empty() {
            return Err(BackOfficeError::field("body", "secret", field::Wrong::missing()));
        }
        Ok(Self { secret: settings.secret, person })
    }

    fn is_secret(&self, given: &str) -> bool {
        let (ours, given) =
            (digest(&SHA256, self.secret.as_bytes()), digest(&SHA256, given.as_bytes()));
        verify_slices_are_equal(ours.as_ref(), given.as_ref()).is_ok()
    }
}

impl fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bootstrap").finish_non_exhaustive()
    }
}

impl BackOffice {
    /// Makes the first person.
    ///
    /// # Errors
    /// 401 for a wrong secret, 409 the second time or for a used address.
    pub async fn bootstrap(
        &self,
        body: &[u8],
        from: IpAddr,
    ) -> Result<BackOfficeUser, BackOfficeError> {
        let mut fields = Fields::parse(body)?;
        let secret = fields.required("secret", field::text);
        let secret = fields.finish(secret)?;
        let counted = self.core.logins.count_address(from, self.core.clock.now_us());
        counted.map_err(BackOfficeError::TooManyRequests)?;
        let bootstrap = self.bootstrap.as_ref().filter(|bootstrap| bootstrap.is_secret(&secret));
        let bootstrap = bootstrap.ok_or(BackOfficeError::BadSecret)?;
        self.core.logins.forgive_address(from);
        let store = &*self.core.store;
        let done = documents::create(DocumentKind::Counter, BOOTSTRAPPED.to_owned(), &1)?;
        let mut tries = Tries::default();
        loop {
            let new = bootstrap.person.clone();
            // Before it is asked who was made: the first person takes the address.
            let owner = self.core.email_owner(new.address()).await?;
            if store.document(DocumentKind::Counter, BOOTSTRAPPED).await?.is_some() {
                return Err(BackOfficeError::AlreadyBootstrapped);
            }
            if owner.is_some() {
                return Err(BackOfficeError::EmailTaken);
            }
            let hash = self.core.passwords.hash(new.password()).await?;
            let (kind, with) = (Kind::BackOffice, [done.clone()]);
            if let Some(made) = self.add(new, hash, kind, Actor::Operator, &with).await? {
                return Ok(made.into());
            }
            tries.again().await?;
        }
    }
}
