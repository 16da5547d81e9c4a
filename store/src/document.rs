//! Small documents that change together under conditions: people, their sessions and consents.
//!
//! What a document means is decided in `accounts`; here it is a text with a version.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Answer, StoreError};

/// Documents of one change, at most.
pub const CHANGED_DOCUMENTS_MAX: usize = 500;
/// Audit entries of one change, and of one answer, at most.
pub const AUDIT_ENTRIES_MAX: usize = 1_000;

/// What a document is about. Documents of a kind are sorted by their key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A user, by id.
    User,
    /// Who has an e-mail address, by the address in lower case.
    Email,
    /// A consent, by user and policy version.
    Consent,
    /// A user's or back-office person's session or revoked token, by its id.
    Session,
    /// A person of the back office, by id.
    BackOffice,
    /// A number that only grows, by its name.
    Counter,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Email, Self::Consent, Self::Session, Self::BackOffice, Self::Counter];

    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Email => "email",
            Self::Consent => "consent",
            Self::Session => "session",
            Self::BackOffice => "back_office",
            Self::Counter => "counter",
        }
    }
}

/// A document as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// From 1; one more with every change.
    pub version: u64,
    /// JSON text.
    pub text: String,
}

/// What must be true of a document for a change to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// It is there in this version.
    Version(u64),
}

/// One document of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChange {
    /// Its kind.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// What must be true of it.
    pub expect: Expect,
    /// Its text from now on; `None` removes it.
    pub text: Option<String>,
    /// When it may go by itself, microseconds; `None`: never.
    pub expires_us: Option<i64>,
}

/// An entry of the audit log. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Positive and unique.
    pub id: i64,
    /// When, microseconds.
    pub time_us: i64,
    /// `create`, `update`, `delete`, `login`, …
    pub event_type: String,
    /// Who did it, if it was a user.
    pub user_id: Option<Uuid>,
    /// Their e-mail address then.
    pub user_email: Option<String>,
    /// The rest of the entry, JSON text.
    pub text: String,
}

/// Which entries of the audit log, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only these; empty: all.
    pub event_types: Vec<String>,
    /// Only those of a user.
    pub user_id: Option<Uuid>,
    /// Only those of an e-mail address.
    pub user_email: Option<String>,
    /// At or after, microseconds.
    pub from_us: Option<i64>,
    /// Before, microseconds.
    pub to_us: Option<i64>,
    /// At most so many, and no more than [`AUDIT_ENTRIES_MAX`].
    pub limit: usize,
}

impl AuditQuery {
    /// How many entries answer it at most.
    pub(crate) fn bound(&self) -> usize {
        self.limit.min(AUDIT_ENTRIES_MAX)
    }

    /// Whether an entry is asked for. E-mail addresses are the same in any case of letters.
    pub(crate) fn admits(&self, row: &AuditRow) -> bool {
        let is_of = |email: &String| {
            row.user_email.as_ref().is_some_and(|of| of.to_lowercase() == email.to_lowercase())
        };
        (self.event_types.is_empty() || self.event_types.contains(&row.event_type))
            && self.user_id.is_none_or(|user_id| row.user_id == Some(user_id))
            && self.user_email.as_ref().is_none_or(is_of)
            && self.from_us.is_none_or(|from_us| row.time_us >= from_us)
            && self.to_us.is_none_or(|to_us| row.time_us < to_us)
    }
}

/// Refuses a change that is too large, or whose parts could contradict each other.
pub(crate) fn check_change(
    changes: &[DocumentChange],
    audit: &[AuditRow],
) -> Result<(), StoreError> {
    if changes.len() > CHANGED_DOCUMENTS_MAX || audit.len() > AUDIT_ENTRIES_MAX {
        return Err(StoreError::Invalid(format!(
            "a change of {} documents and {} audit entries: at most {CHANGED_DOCUMENTS_MAX} and \
             {AUDIT_ENTRIES_MAX} change together; make several changes of it",
            changes.len(),
            audit.len()
        )));
    }
    let mut documents = BTreeSet::new();
    match changes.iter().find(|change| !documents.insert((change.kind, &change.key))) {
        Some(twice) => Err(StoreError::Invalid(format!(
            "a change names the {} document with one key twice: name it once",
            twice.kind.name()
        ))),
        None => Ok(()),
    }
}

/// Documents and the audit log. Durable when acknowledged where [`crate::Store::settle`] is zero;
/// elsewhere a crash of all copies may take back what is younger than that.
pub trait DocumentStore: Send + Sync + 'static {
    /// A document; `None` if it is not there or has expired.
    fn document(&self, kind: Kind, key: &str) -> Answer<'_, Option<Document>>;

    /// The documents whose key begins with `prefix` and lies after `after`, by key.
    fn documents(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<'_, Vec<(String, Document)>>;

    /// Changes documents together and writes their audit entries, if everything expected is so:
    /// all of it or nothing. `false`: something was not as expected. With no changes it only
    /// writes the entries. To remove what is expected to be absent only demands that it is.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it is larger than [`CHANGED_DOCUMENTS_MAX`] and
    /// [`AUDIT_ENTRIES_MAX`] allow, or names a document twice.
    /// After [`StoreError::Unavailable`] it may have happened all the same.
    fn change(&self, changes: Vec<DocumentChange>, audit: Vec<AuditRow>) -> Answer<'_, bool>;

    /// Entries of the audit log.
    fn audit(&self, query: AuditQuery) -> Answer<'_, Vec<AuditRow>>;
}
