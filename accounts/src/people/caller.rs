//! Who calls.

use std::net::IpAddr;

use millrace_store::Kind;
use uuid::Uuid;

use super::{People, PeopleError, User};
use crate::token::Access;

/// A user who is signed in.
#[derive(Clone, Debug)]
pub struct Caller {
    user: User,
    pub(super) token: Access,
    /// Where they call from.
    pub(super) from: IpAddr,
}

impl Caller {
    /// As they are now.
    pub const fn user(&self) -> &User {
        &self.user
    }

    pub(super) const fn id(&self) -> Uuid {
        self.user.id
    }

    pub(super) fn is_admin(&self) -> bool {
        self.user.is_admin()
    }

    pub(super) fn must_be_admin(&self) -> Result<(), PeopleError> {
        if self.is_admin() { Ok(()) } else { Err(PeopleError::Forbidden) }
    }

    /// Only admins may know whether another user exists.
    pub(super) fn must_be_admin_or(&self, id: Uuid) -> Result<(), PeopleError> {
        if id == self.id() { Ok(()) } else { self.must_be_admin() }
    }
}

impl People {
    /// Whom an access token stands for that came from an address of the network.
    ///
    /// # Errors
    /// [`PeopleError::Unauthorized`] without a token, or with one that is bad, expired or revoked.
    pub async fn caller(&self, token: Option<&str>, from: IpAddr) -> Result<Caller, PeopleError> {
        let token = token.and_then(|token| self.core.tokens.read::<Access>(token));
        self.whose(token.ok_or(PeopleError::Unauthorized)?, from).await
    }

    /// A caller as they are now: since they called, their token may have died, or their rights.
    pub(super) async fn anew(&self, caller: &Caller) -> Result<Caller, PeopleError> {
        self.whose(caller.token.clone(), caller.from).await
    }

    async fn whose(&self, token: Access, from: IpAddr) -> Result<Caller, PeopleError> {
        let person = self.person(token.sub).await?.ok_or(PeopleError::Unauthorized)?.value;
        if !person.user.is_active || person.generation != token.generation {
            return Err(PeopleError::Unauthorized);
        }
        let revoked = self.core.store.document(Kind::Session, &revocation_key(&token)).await?;
        if revoked.is_some() {
            return Err(PeopleError::Unauthorized);
        }
        Ok(Caller { user: person.user, token, from })
    }
}

pub(super) fn revocation_key(token: &Access) -> String {
    format!("revoked/{}/{}", token.sub, token.jti)
}
