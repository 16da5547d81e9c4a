//! A person of the back office: as kept, and as shown.

use millrace_schema::time::{Micros, format_us};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::Actor;
use crate::password::PasswordHash;

/// A language of the back office.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// French.
    Fr,
    /// English.
    En,
    /// German.
    De,
}

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Manage the others.
    BackOffice,
    /// Nothing yet.
    Audit,
}

/// A person, as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) shown: AuditUser,
    pub(super) kind: Kind,
    pub(super) password: PasswordHash,
    /// One more whenever all their sessions die.
    pub(super) generation: u64,
    pub(super) created_us: Micros,
    pub(super) updated_us: Micros,
    /// When they were deactivated.
    pub(super) deleted_us: Option<Micros>,
}

/// A person like any other, who is nobody.
pub(super) const DECOY: &str = r#"{"shown":{"id":0,"key":"00000000-0000-0000-0000-000000000000",
"firstName":"No","lastName":"Body","email":"nobody@example.com","phone":"","lang":"fr"},
"kind":"audit",
"password":"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
"generation":0,"created_us":1737092362000000,"updated_us":1737092362000000,"deleted_us":null}"#;

/// An audit user, as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditUser {
    /// Positive, at most 2^53 - 1.
    pub id: i64,
    /// Theirs for good.
    pub key: Uuid,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// As written; unique in lower case.
    pub email: String,
    /// As written.
    pub phone: String,
    /// `null` if it was not said.
    pub lang: Option<Lang>,
}

/// The first back-office user, as shown: without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackOfficeUser {
    /// Positive, at most 2^53 - 1.
    pub id: i64,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// As written; unique in lower case.
    pub email: String,
    /// As written.
    pub phone: String,
    /// `null` if it was not said.
    pub lang: Option<Lang>,
}

impl From<AuditUser> for BackOfficeUser {
    fn from(user: AuditUser) -> Self {
        let AuditUser { id, first_name, last_name, email, phone, lang, .. } = user;
        Self { id, first_name, last_name, email, phone, lang }
    }
}

/// A row of the list. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonRow {
    /// Who.
    #[serde(flatten)]
    pub user: AuditUser,
    /// 1: back office, 2: audit.
    pub r#type: u8,
    /// When they could sign in first.
    pub activated_at: String,
    /// When they were changed last.
    pub updated_at: String,
    /// When they were made.
    pub created_at: String,
    /// When they were deactivated.
    pub deleted_at: Option<String>,
}

impl From<Person> for PersonRow {
    fn from(person: Person) -> Self {
        Self {
            user: person.shown,
            r#type: match person.kind {
                Kind::BackOffice => 1,
                Kind::Audit => 2,
            },
            activated_at: format_us(person.created_us),
            updated_at: format_us(person.updated_us),
            created_at: format_us(person.created_us),
            deleted_at: person.deleted_us.map(format_us),
        }
    }
}

impl Person {
    pub(super) const fn is_active(&self) -> bool {
        self.deleted_us.is_none()
    }

    pub(super) fn actor(&self) -> Actor {
        Actor::BackOffice { id: self.shown.id, email: self.shown.email.clone() }
    }

    pub(super) fn resource(&self) -> String {
        format!("back_office:{}", self.shown.id)
    }
}

/// What a person is kept by: sorts as the number does.
pub(super) fn key(id: i64) -> String {
    format!("{id:016}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_is_a_person() {
        let decoy: Person = serde_json::from_str(DECOY).unwrap();
        assert_eq!(decoy.shown.id, 0);
    }
}
