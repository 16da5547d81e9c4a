//! The back office: its people, who are not the users of the accounts API.
//!
//! Owns what each call takes, who may make it, and what it changes. Must not know HTTP.

mod audit_user;
mod bootstrap;
mod error;
mod list;
mod operator;
mod person;
mod rules;
mod session;

use std::fmt;
use std::sync::Arc;

use millrace_store::Kind as DocumentKind;

use crate::core::Core;
use crate::counter::Ids;
use crate::documents::{self, Stored};
use crate::people::EmailOwner;

pub use bootstrap::{Bootstrap, BootstrapSettings};
pub use error::{BackOfficeError, InvalidField};
pub use list::{Page, Pagination};
pub use person::{AuditUser, BackOfficeUser, Lang, PersonRow};
pub use session::{BackOfficeCaller, Refreshed, SignedIn};

use person::Person;

/// Ids that a process takes at a time: few are needed.
const ID_BLOCK: i64 = 10;

/// The calls of the back office.
pub struct BackOffice {
    core: Arc<Core>,
    ids: Ids,
    bootstrap: Option<Bootstrap>,
}

impl BackOffice {
    /// The back office of a store; without `bootstrap` every bootstrap secret is wrong.
    pub fn new(core: Arc<Core>, bootstrap: Option<Bootstrap>) -> Self {
        let ids = Ids::new(Arc::clone(&core.store), "back_office", ID_BLOCK);
        Self { core, ids, bootstrap }
    }

    async fn person(&self, id: i64) -> Result<Option<Stored<Person>>, BackOfficeError> {
        let key = person::key(id);
        Ok(documents::load(&*self.core.store, DocumentKind::BackOffice, &key).await?)
    }

    /// The person of an address. For an unknown one as much is done.
    async fn person_of(&self, address: &str) -> Result<Option<Stored<Person>>, BackOfficeError> {
        let id = match self.core.email_owner(address).await? {
            Some(Stored { value: EmailOwner::BackOffice(id), .. }) => id,
            _ => 0,
        };
        let (store, key) = (&*self.core.store, person::key(id));
        Ok(documents::load_alike(store, DocumentKind::BackOffice, &key, person::DECOY).await?)
    }
}

impl fmt::Debug for BackOffice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackOffice").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
