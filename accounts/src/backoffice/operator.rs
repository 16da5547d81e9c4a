//! What the operator does at the command line, without a caller.

use millrace_store::{AuditRow, Kind as DocumentKind};
use serde_json::value::to_raw_value;

use super::person::Person;
use super::{AuditUser, BackOffice, BackOfficeError, PersonRow, person, rules};
use crate::audit::{Actor, Entry};
use crate::documents;
use crate::password::Password;
use crate::retry::Tries;

impl BackOffice {
    /// All people of the back office, oldest first.
    ///
    /// # Errors
    /// The store is away.
    pub async fn all_people(&self) -> Result<Vec<PersonRow>, BackOfficeError> {
        let store = &*self.core.store;
        let all = documents::load_all::<Person>(store, DocumentKind::BackOffice, "").await?;
        Ok(all.into_iter().map(|(_, person)| person.value.into()).collect())
    }

    /// Deactivates the person of an address; every session ends.
    ///
    /// # Errors
    /// 404 for an unknown address.
    pub async fn deactivate_as_operator(
        &self,
        address: &str,
    ) -> Result<AuditUser, BackOfficeError> {
        let now_us = self.core.clock.now_us();
        self.change(address, "deactivated", |person| person.deleted_us.replace(now_us).is_none())
            .await
    }

    /// Sets the password of the person of an address; every session ends.
    ///
    /// # Errors
    /// 404 for an unknown address, 400 for the password.
    pub async fn set_password_as_operator(
        &self,
        address: &str,
        password: &str,
    ) -> Result<AuditUser, BackOfficeError> {
        if self.person_of(address).await?.is_none() {
            return Err(BackOfficeError::NotFound);
        }
        let value = to_raw_value(password).map_err(|_| BackOfficeError::Internal)?;
        let password = rules::password(&value)
            .map_err(|wrong| BackOfficeError::field("body", "password", wrong))?;
        let hash = self.core.passwords.hash(Password::new(password)).await?;
        self.change(address, "password set", |person| {
            person.password = hash.clone();
            true
        })
        .await
    }

    /// `put` says whether it changes anything.
    async fn change(
        &self,
        address: &str,
        what: &'static str,
        put: impl Fn(&mut Person) -> bool,
    ) -> Result<AuditUser, BackOfficeError> {
        let mut tries = Tries::default();
        loop {
            let person = self.person_of(address).await?.ok_or(BackOfficeError::NotFound)?;
            let old = PersonRow::from(person.value.clone());
            let mut changed = person.value;
            if !put(&mut changed) {
                return Ok(changed.shown);
            }
            changed.generation = changed.generation.saturating_add(1);
            changed.updated_us = self.core.clock.now_us();
            let entry = Entry::new("update", Actor::Operator, changed.resource(), what)
                .with_difference(&old, &PersonRow::from(changed.clone()));
            let row = self.core.audit.row(entry).await?;
            if self.replace(person.version, &changed, vec![row]).await? {
                return Ok(changed.shown);
            }
            tries.again().await?;
        }
    }

    /// `false`: the person was changed meanwhile.
    pub(super) async fn replace(
        &self,
        version: u64,
        person: &Person,
        audit: Vec<AuditRow>,
    ) -> Result<bool, BackOfficeError> {
        let key = person::key(person.shown.id);
        let change = documents::replace(DocumentKind::BackOffice, key, version, person)?;
        Ok(self.core.store.change(vec![change], audit).await?)
    }
}
