//! The audit log: who changed what, written with the change.
//!
//! Owns an entry's form. Secrets never reach it: values come from what is shown on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_schema::time::format_us;
use millrace_store::{AuditQuery, AuditRow, DocumentStore, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::Clock;
use crate::counter::Ids;

/// Ids that a process takes at a time.
const ID_BLOCK: i64 = 100;

/// In place of a secret.
const HIDDEN: &str = "***";

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A user.
    User { id: Uuid, email: String },
    /// A person of the back office.
    BackOffice { id: i64, email: String },
    /// Whoever runs the installation, at the command line or by its configuration.
    Operator,
}

/// Named values, each as on the wire.
pub(crate) type Values = BTreeMap<String, Box<RawValue>>;

/// An entry before it has an id and a time.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event_type: &'static str,
    pub(crate) actor: Actor,
    /// `user:{id}`, `consent:{user}/{version}`, …
    pub(crate) resource: String,
    pub(crate) description: String,
    pub(crate) old: Values,
    pub(crate) new: Values,
}

impl Entry {
    /// An entry without values.
    pub(crate) fn new(
        event_type: &'static str,
        actor: Actor,
        resource: String,
        description: impl Into<String>,
    ) -> Self {
        let (old, new) = (Values::new(), Values::new());
        Self { event_type, actor, resource, description: description.into(), old, new }
    }

    pub(crate) fn with_old(self, old: &impl Serialize) -> Self {
        Self { old: values(old), ..self }
    }

    pub(crate) fn with_new(self, new: &impl Serialize) -> Self {
        Self { new: values(new), ..self }
    }

    /// Keeps of both values what differs.
    pub(crate) fn with_difference(self, old: &impl Serialize, new: &impl Serialize) -> Self {
        let (mut old, mut new) = (values(old), values(new));
        let same: Vec<String> = old
            .iter()
            .filter(|(name, value)| new.get(*name).is_some_and(|new| new.get() == value.get()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in same {
            old.remove(&name);
            new.remove(&name);
        }
        Self { old, new, ..self }
    }

    /// Hides the values in an object that is a member of a value; what is empty may be seen to be.
    pub(crate) fn hiding(mut self, [value, member]: [&str; 2]) -> Self {
        for values in [&mut self.old, &mut self.new] {
            if let Some(shown) = values.get_mut(value) {
                *shown = hidden(shown, member);
            }
        }
        self
    }
}

fn hidden(shown: &RawValue, member: &str) -> Box<RawValue> {
    let mut object: Map<String, Value> = serde_json::from_str(shown.get()).unwrap_or_default();
    if let Some(Value::Object(secrets)) = object.get_mut(member) {
        for secret in secrets.values_mut().filter(|secret| **secret != "") {
            *secret = Value::from(HIDDEN);
        }
    }
    to_raw_value(&object).unwrap_or_default()
}

/// The members of what is an object on the wire.
fn values(of: &impl Serialize) -> Values {
    let text = serde_json::to_string(of).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The part of an entry that the store does not look into.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Rest {
    affected_resource: String,
    description: String,
    old_value: Values,
    new_value: Values,
}

/// An entry as it is shown.
#[derive(Debug, Serialize)]
pub struct AuditLog {
    /// `create`, `update`, `delete`, `login`, …
    pub event_type: String,
    /// Positive and unique.
    pub id: i64,
    /// The address of who did it.
    pub user_email: Option<String>,
    /// Who did it, if it was a user.
    pub user_id: Option<Uuid>,
    /// What it was done to: `user:{id}`.
    pub affected_resource: String,
    /// For people.
    pub description: String,
    /// What was changed, afterwards.
    pub new_value: BTreeMap<String, Box<RawValue>>,
    /// What was changed, before.
    pub old_value: BTreeMap<String, Box<RawValue>>,
    /// When, RFC 3339.
    pub timestamp: String,
}

/// Writes and reads the audit log.
pub struct Audit {
    store: Arc<dyn DocumentStore>,
    ids: Ids,
    clock: Clock,
}

impl Audit {
    /// The audit log of a store.
    pub fn new(store: Arc<dyn DocumentStore>, clock: Clock) -> Self {
        let ids = Ids::new(Arc::clone(&store), "audit", ID_BLOCK);
        Self { store, ids, clock }
    }

    /// The row of an entry, to be written with its change.
    pub(crate) async fn row(&self, entry: Entry) -> Result<AuditRow, StoreError> {
        let (user_id, user_email, by) = match entry.actor {
            Actor::User { id, email } => (Some(id), Some(email), String::new()),
            Actor::BackOffice { id, email } => {
                (None, Some(email), format!(" by person {id} of the back office"))
            }
            Actor::Operator => (None, None, " by the operator".to_owned()),
        };
        let rest = Rest {
            affected_resource: entry.resource,
            description: format!("{}{by}", entry.description),
            old_value: entry.old,
            new_value: entry.new,
        };
        let text = serde_json::to_string(&rest)
            .map_err(|_| StoreError::Invalid("an audit entry cannot be written".to_owned()))?;
        Ok(AuditRow {
            id: self.ids.next().await?,
            time_us: self.clock.now_us(),
            event_type: entry.event_type.to_owned(),
            user_id,
            user_email,
            text,
        })
    }

    /// Writes an entry of its own.
    pub(crate) async fn write(&self, entry: Entry) -> Result<(), StoreError> {
        let row = self.row(entry).await?;
        self.store.change(Vec::new(), vec![row]).await.map(|_| ())
    }

    /// Entries, newest first.
    pub(crate) async fn read(&self, query: AuditQuery) -> Result<Vec<AuditLog>, StoreError> {
        Ok(self.store.audit(query).await?.into_iter().map(shown).collect())
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

fn shown(row: AuditRow) -> AuditLog {
    let rest: Rest = serde_json::from_str(&row.text).unwrap_or_default();
    AuditLog {
        event_type: row.event_type,
        id: row.id,
        user_email: row.user_email,
        user_id: row.user_id,
        affected_resource: rest.affected_resource,
        description: rest.description,
        new_value: rest.new_value,
        old_value: rest.old_value,
        timestamp: format_us(row.time_us),
    }
}
