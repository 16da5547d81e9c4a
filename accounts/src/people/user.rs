//! A user: as shown, and as kept.

use std::collections::BTreeMap;

use millrace_schema::time::Micros;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::money::Money;
use crate::audit::Actor;
use crate::field::{self, Wrong};
use crate::password::PasswordHash;

/// What a user is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Buys.
    Advertiser,
    /// Sells.
    Retailer,
    /// Runs the installation.
    Admin,
}

impl Role {
    /// The role of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "advertiser" => Some(Self::Advertiser),
            "retailer" => Some(Self::Retailer),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    pub(crate) fn read(value: &RawValue) -> Result<Self, Wrong> {
        field::text(value).ok().and_then(|name| Self::from_name(&name)).ok_or_else(Self::none_such)
    }

    pub(crate) fn none_such() -> Wrong {
        Wrong::new("enum", "Input should be 'advertiser', 'retailer' or 'admin'")
    }
}

/// Rights by area, kept as they come.
pub type Permissions = BTreeMap<String, Vec<String>>;

/// A user, as shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Theirs for good.
    pub id: Uuid,
    /// As written; unique in lower case.
    pub email: String,
    /// What they are called.
    pub name: Option<String>,
    /// What they are here for.
    pub role: Role,
    /// What is there to be spent.
    pub budget: Money,
    /// What is there on credit.
    pub credit: Money,
    /// How many campaigns they own.
    pub campaign_count: i64,
    /// How many creatives they own.
    pub creative_count: i64,
    /// How many placements they own.
    pub placement_count: i64,
    /// Whether they may sign in.
    pub is_active: bool,
    /// Whether they may do everything.
    pub is_superuser: bool,
    /// Whether they have shown that they read the address.
    pub is_verified: bool,
    /// Rights by area.
    pub permissions: Permissions,
    /// Language, notifications, and what else they keep here.
    pub preferences: Map<String, Value>,
}

impl User {
    /// Whether they may do everything.
    pub fn is_admin(&self) -> bool {
        self.is_superuser || self.role == Role::Admin
    }

    /// Whether they may do everything, and may sign in to do it.
    pub(super) fn is_active_admin(&self) -> bool {
        self.is_active && self.is_admin()
    }

    /// Whether they may change the budgets of advertisers.
    pub(crate) fn may_change_budgets(&self) -> bool {
        let has_right = |rights: &Vec<String>| rights.iter().any(|right| right == "budget");
        self.role == Role::Retailer && self.permissions.get("admin").is_some_and(has_right)
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::User { id: self.id, email: self.email.clone() }
    }

    pub(crate) fn resource(&self) -> String {
        format!("user:{}", self.id)
    }
}

/// A user, as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) user: User,
    /// `None`: they sign in elsewhere.
    pub(crate) password: Option<PasswordHash>,
    /// One more whenever all their tokens die.
    pub(crate) generation: u64,
    pub(crate) created_us: Micros,
    pub(crate) updated_us: Micros,
}

/// A person like any other, who is nobody.
pub(super) const DECOY: &str = r#"{"user":{"id":"00000000-0000-0000-0000-000000000000",
"email":"nobody@example.com","name":"Nobody","role":"advertiser","budget":0,"credit":0,
"campaign_count":0,"creative_count":0,"placement_count":0,"is_active":false,"is_superuser":false,
"is_verified":false,"permissions":{},"preferences":{"etc":{"language":"ko"},"notification_methods":
{"email":true,"slack":false,"sms":false},"notification_methods_data":{"slack":"","sms":""},
"notifications":{"attribute_deleted":true,"campaign_finished":true,"publish_approval":true,
"publish_request":true}}},
"password":"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
"generation":0,"created_us":1737092362000000,"updated_us":1737092362000000}"#;

impl Person {
    /// Sets another password; every token dies.
    pub(crate) fn set_password(&mut self, password: PasswordHash) {
        self.password = Some(password);
        self.end_tokens();
    }

    pub(crate) fn end_tokens(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }
}

/// Whose an e-mail address is: users and the people of the back office share none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EmailOwner {
    User(Uuid),
    BackOffice(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_is_a_person() {
        let decoy: Person = serde_json::from_str(DECOY).unwrap();
        assert!(decoy.user.id.is_nil() && decoy.password.is_some());
    }
}
