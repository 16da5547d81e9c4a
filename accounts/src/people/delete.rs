//! Deleting users.

use millrace_store::{DocumentChange, Kind};
use uuid::Uuid;

use super::consent::{self, ConsentRow};
use super::update::UserUpdate;
use super::user::{Person, User};
use super::{Caller, People, PeopleError, email, preferences};
use crate::audit::Entry;
use crate::documents::{self, Stored};
use crate::retry::Tries;

/// Counts the admins who were deleted, deactivated or demoted: two at once must see each other, so
/// that one stays.
const LOST_ADMINS: &str = "lost_admins";

impl People {
    /// Deletes a user: the account and the consents go, all tokens die, the address is free
    /// again. Audit entries stay, and revocations of tokens until these would have ended.
    ///
    /// # Errors
    /// 403 unless the caller is an admin, 404 for an unknown user, 409 for the last admin.
    pub async fn delete_user(&self, caller: &Caller, body: &[u8]) -> Result<User, PeopleError> {
        caller.must_be_admin()?;
        let (id, _) = UserUpdate::parse_with_id(body)?;
        let mut tries = Tries::default();
        loop {
            // The consents are read after the user: who adds one changes the user's version.
            let person = self.person(id).await?.ok_or(PeopleError::NotFound)?;
            if self.delete(caller, &person).await? {
                return Ok(person.value.user);
            }
            tries.again().await?;
        }
    }

    /// `false`: something was changed meanwhile.
    async fn delete(&self, caller: &Caller, person: &Stored<Person>) -> Result<bool, PeopleError> {
        let user = &person.value.user;
        let Some(held) = self.core.email_owner(&user.email).await? else { return Ok(false) };
        let mut changes = vec![
            documents::remove(Kind::User, user.id.to_string(), person.version),
            documents::remove(Kind::Email, email::key(&user.email), held.version),
        ];
        let prefix = consent::prefix(user.id);
        let consents = documents::load_all::<ConsentRow>(&*self.core.store, Kind::Consent, &prefix);
        for (key, consent) in consents.await? {
            changes.push(documents::remove(Kind::Consent, key, consent.version));
        }
        if user.is_admin() {
            changes.push(self.another_admin_stays(user.id).await?);
        }
        let actor = caller.user().actor();
        let entry = Entry::new("delete", actor, user.resource(), "deleted").with_old(user);
        let row = self.core.audit.row(entry.hiding(preferences::SECRETS)).await?;
        Ok(self.core.store.change(changes, vec![row]).await?)
    }

    /// What must not change meanwhile, so that the loss of an admin leaves one who may act.
    pub(super) async fn another_admin_stays(
        &self,
        leaving: Uuid,
    ) -> Result<DocumentChange, PeopleError> {
        let key = LOST_ADMINS.to_owned();
        let store = &*self.core.store;
        let count = documents::load::<u64>(store, Kind::Counter, LOST_ADMINS).await?;
        let all = documents::load_all::<Person>(store, Kind::User, "").await?;
        let mut others = all.iter().map(|(_, person)| &person.value.user);
        if !others.any(|user| user.id != leaving && user.is_active_admin()) {
            return Err(PeopleError::LastAdmin);
        }
        Ok(match count {
            None => documents::create(Kind::Counter, key, &1_u64)?,
            Some(count) => {
                let next = count.value.saturating_add(1);
                documents::replace(Kind::Counter, key, count.version, &next)?
            }
        })
    }
}
