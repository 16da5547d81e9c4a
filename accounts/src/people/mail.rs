//! What goes by mail: setting a new password, verifying an address.

use std::net::IpAddr;

use millrace_store::Kind;
use uuid::Uuid;

use super::user::{Person, User};
use super::{PasswordUse, People, PeopleError, check_password, email, preferences};
use crate::audit::Entry;
use crate::documents::{self, Stored};
use crate::field::{self, Fields};
use crate::mailer::{Mail, Purpose};
use crate::password::Password;
use crate::retry::Tries;
use crate::token::{Reset, Verify, fingerprint};

impl People {
    /// Sends a mail by which a user sets a new password, if there is such a user. Whether there is
    /// shows nowhere: not in the answer, nor in the work done for it.
    ///
    /// # Errors
    /// 422, and 429 after too many mails.
    pub async fn forgot_password(&self, body: &[u8], from: IpAddr) -> Result<(), PeopleError> {
        let address = self.address_for_mail(body, from)?;
        let person = self.person_of(&address).await?.map(|person| person.value);
        let is_wanted = person.as_ref().is_some_and(|person| person.user.is_active);
        let hash = person.as_ref().and_then(|person| person.password.as_ref());
        let id = person.as_ref().map_or(Uuid::nil(), |person| person.user.id);
        let generation = person.as_ref().map_or(0, |person| person.generation);
        let fingerprint = fingerprint(hash, &email::key(&address));
        let claims = Reset::new(&self.core.clock, id, fingerprint, generation);
        let token = self.core.tokens.sign(&claims)?;
        self.post(Purpose::Reset, address, person, token, is_wanted);
        Ok(())
    }

    /// Sends a mail by which a user shows that they read the address, if there is such a user
    /// and they have not yet. Shows as little as [`People::forgot_password`].
    ///
    /// # Errors
    /// 422, and 429 after too many mails.
    pub async fn request_verify(&self, body: &[u8], from: IpAddr) -> Result<(), PeopleError> {
        let address = self.address_for_mail(body, from)?;
        let person = self.person_of(&address).await?.map(|person| person.value);
        let is_unverified = |user: &User| user.is_active && !user.is_verified;
        let is_wanted = person.as_ref().is_some_and(|person| is_unverified(&person.user));
        let id = person.as_ref().map_or(Uuid::nil(), |person| person.user.id);
        let generation = person.as_ref().map_or(0, |person| person.generation);
        let claims = Verify::new(&self.core.clock, id, email::key(&address), generation);
        let token = self.core.tokens.sign(&claims)?;
        self.post(Purpose::Verify, address, person, token, is_wanted);
        Ok(())
    }

    fn address_for_mail(&self, body: &[u8], from: IpAddr) -> Result<String, PeopleError> {
        let mut fields = Fields::parse(body)?;
        let address = fields.required("email", email::read);
        let address = fields.finish(address)?;
        let counted = self.core.mails.count(&address, from, self.core.clock.now_us());
        counted.map_err(PeopleError::TooManyRequests)?;
        Ok(address)
    }

    fn post(
        &self,
        purpose: Purpose,
        asked_for: String,
        person: Option<Person>,
        token: String,
        is_wanted: bool,
    ) {
        let (to, language) = match person {
            Some(Person { user, .. }) => {
                (user.email, preferences::language(&user.preferences).to_owned())
            }
            // As long as one to a user who chose no language.
            None => (asked_for, "ko".to_owned()),
        };
        self.mailer.post(&Mail { purpose, to, language, token }, is_wanted);
    }

    /// Sets a new password by the token of a mail, which is good once. Every token of the user
    /// dies.
    ///
    /// # Errors
    /// 400 for the token or the password, 429 after too many passwords.
    pub async fn reset_password(&self, body: &[u8], from: IpAddr) -> Result<(), PeopleError> {
        let mut fields = Fields::parse(body)?;
        let token = fields.required("token", field::text);
        let password = fields.required("password", field::text);
        let (token, password) = fields.finish(token.zip(password))?;
        let password = Password::new(password);
        let token = self.core.tokens.read::<Reset>(&token).ok_or(PeopleError::BadResetToken)?;
        let person = self.to_reset(&token).await?;
        let address = &person.value.user.email;
        check_password(&password, address, PasswordUse::Reset)?;
        let hash = self.core.hash(address, from, password).await?;
        let mut tries = Tries::default();
        loop {
            let Stored { version, value: mut person } = self.to_reset(&token).await?;
            let old = person.user.clone();
            person.set_password(hash.clone());
            if self.save(version, &old, &person, "password reset").await? {
                return Ok(());
            }
            tries.again().await?;
        }
    }

    /// The user that a reset token is still good for.
    async fn to_reset(&self, token: &Reset) -> Result<Stored<Person>, PeopleError> {
        let person = self.person(token.sub).await?.filter(|person| person.value.user.is_active);
        person
            .filter(|person| person.value.generation == token.generation)
            .filter(|Stored { value, .. }| {
                let address = email::key(&value.user.email);
                fingerprint(value.password.as_ref(), &address) == token.fingerprint
            })
            .ok_or(PeopleError::BadResetToken)
    }

    /// Verifies an address by the token of a mail.
    ///
    /// # Errors
    /// 400 for the token, or if the address was verified before.
    pub async fn verify(&self, body: &[u8]) -> Result<User, PeopleError> {
        let mut fields = Fields::parse(body)?;
        let token = fields.required("token", field::text);
        let token = fields.finish(token)?;
        let token = self.core.tokens.read::<Verify>(&token).ok_or(PeopleError::BadVerifyToken)?;
        let mut tries = Tries::default();
        loop {
            let person = self.person(token.sub).await?.filter(|person| {
                person.value.user.is_active
                    && person.value.generation == token.generation
                    && email::key(&person.value.user.email) == token.email
            });
            let Stored { version, value: mut person } =
                person.ok_or(PeopleError::BadVerifyToken)?;
            if person.user.is_verified {
                return Err(PeopleError::AlreadyVerified);
            }
            let old = person.user.clone();
            person.user.is_verified = true;
            if self.save(version, &old, &person, "address verified").await? {
                return Ok(person.user);
            }
            tries.again().await?;
        }
    }

    /// Keeps a change of a user that they made themselves; `false`: it was changed meanwhile.
    async fn save(
        &self,
        version: u64,
        old: &User,
        person: &Person,
        description: &str,
    ) -> Result<bool, PeopleError> {
        let user = &person.user;
        let person = Person { updated_us: self.core.clock.now_us(), ..person.clone() };
        let entry = Entry::new("update", user.actor(), user.resource(), description);
        let row = self.core.audit.row(entry.with_difference(old, user)).await?;
        let change = documents::replace(Kind::User, user.id.to_string(), version, &person)?;
        Ok(self.core.store.change(vec![change], vec![row]).await?)
    }
}
