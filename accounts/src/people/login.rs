//! Signing in and out.

use std::net::IpAddr;

use millrace_store::{DocumentChange, Expect, Kind};
use serde::Serialize;

use super::caller::revocation_key;
use super::form::LoginForm;
use super::user::Person;
use super::{Caller, People, PeopleError};
use crate::audit::Entry;
use crate::claims::US_PER_SECOND;
use crate::documents::{self, Stored};
use crate::password::{PasswordHash, Verdict};
use crate::token::Access;

/// Seconds that a revocation outlives its token: a call may have begun before the token ended.
const REVOCATION_OUTLIVES_S: i64 = 60;

/// The answer to a login.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct AccessToken {
    /// The token.
    pub access_token: String,
    /// Always `bearer`.
    pub token_type: &'static str,
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

impl People {
    /// Signs in by a form with `username` (the address) and `password`, sent from an address of
    /// the network. An unknown user costs the same hash.
    ///
    /// # Errors
    /// 400 for whatever is wrong with the credentials, 429 after too many of those, or of all.
    pub async fn login(&self, form: &[u8], from: IpAddr) -> Result<AccessToken, PeopleError> {
        let LoginForm { username, password } = LoginForm::parse(form)?;
        self.core.count_login(&username, from).map_err(PeopleError::TooManyRequests)?;
        let person = self.person_of(&username).await?;
        let known = person.as_ref().and_then(|person| person.value.password.clone());
        let verdict = match self.core.passwords.verify(password, known).await {
            Ok(verdict) => verdict,
            Err(error) => {
                self.core.forget_login(&username, from);
                return Err(error.into());
            }
        };
        let (Verdict::Right { rehashed }, Some(person)) = (verdict, person) else {
            return Err(PeopleError::BadCredentials);
        };
        self.core.logins.forgive(&username, from);
        self.must_be_allowed_in(&person.value)?;
        if let Some(hash) = rehashed {
            self.keep_rehashed(&person, hash).await?;
        }
        self.sign_in(&person.value, "signed in").await
    }

    pub(super) fn must_be_allowed_in(&self, person: &Person) -> Result<(), PeopleError> {
        if !person.user.is_active {
            return Err(PeopleError::BadCredentials);
        }
        if self.core.must_verify && !person.user.is_verified {
            return Err(PeopleError::NotVerified);
        }
        Ok(())
    }

    pub(super) async fn sign_in(
        &self,
        person: &Person,
        how: &str,
    ) -> Result<AccessToken, PeopleError> {
        let user = &person.user;
        let claims = Access::new(&self.core.clock, user.id, person.generation);
        let access_token = self.core.tokens.sign(&claims)?;
        self.core.audit.write(Entry::new("login", user.actor(), user.resource(), how)).await?;
        Ok(AccessToken { access_token, token_type: "bearer" })
    }

    /// Keeps the hash at today's cost. If the person was changed meanwhile, the next login does.
    async fn keep_rehashed(
        &self,
        person: &Stored<Person>,
        hash: PasswordHash,
    ) -> Result<(), PeopleError> {
        let key = person.value.user.id.to_string();
        let changed = Person { password: Some(hash), ..person.value.clone() };
        let change = documents::replace(Kind::User, key, person.version, &changed)?;
        self.core.store.change(vec![change], Vec::new()).await?;
        Ok(())
    }

    /// Signs out: the caller's token is revoked.
    ///
    /// # Errors
    /// The store is away.
    pub async fn logout(&self, caller: &Caller) -> Result<(), PeopleError> {
        let user = caller.user();
        let entry = Entry::new("logout", user.actor(), user.resource(), "signed out");
        let row = self.core.audit.row(entry).await?;
        let end_s = caller.token.exp.saturating_add(REVOCATION_OUTLIVES_S);
        let revocation = DocumentChange {
            kind: Kind::Session,
            key: revocation_key(&caller.token),
            expect: Expect::Absent,
            text: Some("{}".to_owned()),
            expires_us: Some(end_s.saturating_mul(US_PER_SECOND)),
        };
        // What is there already was revoked by another call at the same time.
        self.core.store.change(vec![revocation], vec![row]).await?;
        Ok(())
    }
}
