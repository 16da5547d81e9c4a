//! Signing in with Google.

use std::net::IpAddr;

use millrace_schema::id::new_id;
use millrace_store::Kind;

use super::money::Money;
use super::user::{EmailOwner, Permissions, Person, Role, User};
use super::{AccessToken, NAME_CHARS_MAX, People, PeopleError, email, preferences};
use crate::audit::Entry;
use crate::documents::{self, Stored};
use crate::field::{self, Fields};
use crate::google::{GoogleError, GoogleUser};
use crate::retry::Tries;

impl People {
    /// Signs in by an ID token of Google's; makes the account at the first time.
    ///
    /// # Errors
    /// 501 when it is not configured, 400 for a token that is not good, 503 when Google's keys
    /// cannot be had.
    pub async fn google(&self, body: &[u8], from: IpAddr) -> Result<AccessToken, PeopleError> {
        let google = self.google.as_ref().ok_or(PeopleError::NotConfigured("Google sign-in"))?;
        let mut fields = Fields::parse(body)?;
        let token = fields.required("id_token", field::text);
        let token = fields.finish(token)?;
        let now_us = self.core.clock.now_us();
        let counted = self.core.logins.count_address(from, now_us);
        counted.map_err(PeopleError::TooManyRequests)?;
        let found = google.check(&token).await;
        if found != Err(GoogleError::BadToken) {
            self.core.logins.forgive_address(from);
        }
        let found = found.map_err(|error| match error {
            GoogleError::BadToken => PeopleError::BadCredentials,
            GoogleError::Unavailable => {
                PeopleError::Unavailable("Google's keys cannot be fetched; try again shortly")
            }
        })?;
        let person = self.google_person(found).await?;
        self.must_be_allowed_in(&person)?;
        self.sign_in(&person, "signed in with Google").await
    }

    async fn google_person(&self, found: GoogleUser) -> Result<Person, PeopleError> {
        let address = found.email;
        email::check(&address).map_err(|_| PeopleError::BadCredentials)?;
        let mut tries = Tries::default();
        loop {
            match self.core.email_owner(&address).await? {
                // The back office's people do not sign in here.
                Some(Stored { value: EmailOwner::BackOffice(_), .. }) => {
                    return Err(PeopleError::BadCredentials);
                }
                Some(Stored { value: EmailOwner::User(id), .. }) => {
                    // It may have become another's since its owner was read.
                    if let Some(person) = self.person(id).await?
                        && email::key(&person.value.user.email) == email::key(&address)
                        && let Some(person) = self.prove(person).await?
                    {
                        return Ok(person);
                    }
                }
                None => {
                    let user = self.google_user(&address, found.name.clone());
                    let actor = user.actor();
                    self.add(user, None, actor, "registered with Google").await?;
                    continue;
                }
            }
            tries.again().await?;
        }
    }

    /// An account of an address that nobody had verified may have been made by anybody, who must
    /// not share it with the address's owner: its password and tokens die. `None`: it was changed
    /// meanwhile.
    async fn prove(&self, person: Stored<Person>) -> Result<Option<Person>, PeopleError> {
        if person.value.user.is_verified || !person.value.user.is_active {
            return Ok(Some(person.value));
        }
        let old = person.value.user.clone();
        let mut proven = person.value;
        proven.user.is_verified = true;
        proven.password = None;
        proven.end_tokens();
        proven.updated_us = self.core.clock.now_us();
        let what = "verified with Google; the password from before was removed";
        let entry = Entry::new("update", old.actor(), old.resource(), what);
        let row = self.core.audit.row(entry.with_difference(&old, &proven.user)).await?;
        let key = old.id.to_string();
        let change = documents::replace(Kind::User, key, person.version, &proven)?;
        let is_changed = self.core.store.change(vec![change], vec![row]).await?;
        Ok(is_changed.then_some(proven))
    }

    fn google_user(&self, address: &str, name: Option<String>) -> User {
        User {
            id: new_id(self.core.clock.now_us()),
            email: address.to_owned(),
            name: name.filter(|name| name.chars().count() <= NAME_CHARS_MAX),
            role: Role::Advertiser,
            budget: Money::default(),
            credit: Money::default(),
            campaign_count: 0,
            creative_count: 0,
            placement_count: 0,
            is_active: true,
            is_superuser: false,
            is_verified: true,
            permissions: Permissions::new(),
            preferences: preferences::defaults(),
        }
    }
}
