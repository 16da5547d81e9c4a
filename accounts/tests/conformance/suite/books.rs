//! All that is stored, held against itself: whose each address is, and that every version of
//! every document has its audit entry.

use std::collections::{BTreeMap, BTreeSet};

use millrace_store::{AUDIT_ENTRIES_MAX, AuditQuery, AuditRow, Document, DocumentStore, Kind};
use serde_json::{Value, json};

/// A document's version and content.
type Rows = BTreeMap<String, (u64, Value)>;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Books {
    pub(crate) users: Rows,
    pub(crate) people: Rows,
    pub(crate) emails: Rows,
    pub(crate) consents: Rows,
    /// Type and resource of each entry, by its id.
    pub(crate) entries: BTreeMap<i64, (String, String)>,
}

impl Books {
    /// Reads everything.
    pub(crate) async fn read(store: &dyn DocumentStore) -> Self {
        let mut entries = BTreeMap::new();
        let all = all_entries(store).await;
        let number = all.len();
        for row in all {
            let rest: Value = serde_json::from_str(&row.text).unwrap();
            let resource = rest["affected_resource"].as_str().unwrap().to_owned();
            entries.insert(row.id, (row.event_type, resource));
        }
        assert_eq!(entries.len(), number, "an id was given twice");
        Self {
            users: rows(store, Kind::User).await,
            people: rows(store, Kind::BackOffice).await,
            emails: rows(store, Kind::Email).await,
            consents: rows(store, Kind::Consent).await,
            entries,
        }
    }

    pub(crate) fn must_add_up(&self) {
        self.each_has_one_address();
        let wanted = self.users.keys().map(|id| format!("user:{id}"));
        let wanted = wanted.chain(self.people.values().map(|(_, person)| resource(person)));
        let made: BTreeSet<String> = self.of("create", "user:", "back_office:");
        let deleted = self.of("delete", "user:", "back_office:");
        let present: BTreeSet<String> = made.difference(&deleted).cloned().collect();
        assert_eq!(present, wanted.collect(), "who is there and who was made and not deleted");
        for (id, (version, _)) in &self.users {
            let consents = self.entries_of(&format!("consent:{id}/"), "");
            let updates = self.entries_of(&format!("user:{id}"), "update");
            assert_eq!(*version, 1 + updates + consents, "versions and entries of user {id}");
        }
        for (version, person) in self.people.values() {
            let updates = self.entries_of(&resource(person), "update");
            assert_eq!(*version, 1 + updates, "versions and entries of {}", resource(person));
        }
        for (key, (version, consent)) in &self.consents {
            let written = self.entries_of(&format!("consent:{key}"), "");
            assert_eq!(*version, written, "versions and entries of consent {key}");
            let user = consent["user_id"].as_str().unwrap();
            assert!(self.users.contains_key(user), "a consent of nobody");
        }
    }

    fn each_has_one_address(&self) {
        let address = |value: &Value| value["email"].as_str().unwrap().to_lowercase();
        let users = self.users.iter().map(|(id, (_, person))| {
            assert_eq!(person["user"]["id"], json!(id));
            (address(&person["user"]), json!({"user": id}))
        });
        let people = self.people.values().map(|(_, person)| {
            (address(&person["shown"]), json!({"back_office": person["shown"]["id"]}))
        });
        let wanted: Vec<(String, Value)> = users.chain(people).collect();
        let number = wanted.len();
        let wanted: BTreeMap<String, Value> = wanted.into_iter().collect();
        assert_eq!(wanted.len(), number, "two have one address");
        let held = self.emails.iter().map(|(key, (_, owner))| (key.clone(), owner.clone()));
        assert_eq!(held.collect::<BTreeMap<_, _>>(), wanted, "whose the addresses are");
    }

    /// The resources of entries of a type that begin with either.
    fn of(&self, event_type: &str, one: &str, other: &str) -> BTreeSet<String> {
        let all = self.entries.values().filter(|(is, resource)| {
            is == event_type && (resource.starts_with(one) || resource.starts_with(other))
        });
        let all: Vec<String> = all.map(|(_, resource)| resource.clone()).collect();
        let number = all.len();
        let all: BTreeSet<String> = all.into_iter().collect();
        assert_eq!(all.len(), number, "{event_type} of one twice");
        all
    }

    /// How many entries there are of a resource (a whole one, or what it begins with before a `/`)
    /// and a type; the empty type is all.
    fn entries_of(&self, resource: &str, event_type: &str) -> u64 {
        let is_of = |of: &str| match resource.ends_with('/') {
            true => of.starts_with(resource),
            false => of == resource,
        };
        let is_one =
            |(is, of): &&(String, String)| is_of(of) && (event_type.is_empty() || is == event_type);
        u64::try_from(self.entries.values().filter(is_one).count()).unwrap()
    }
}

fn resource(person: &Value) -> String {
    format!("back_office:{}", person["shown"]["id"])
}

/// The whole audit log, answer by answer.
async fn all_entries(store: &dyn DocumentStore) -> Vec<AuditRow> {
    let mut all = BTreeMap::new();
    let mut to_us = None;
    loop {
        let query = AuditQuery { to_us, limit: AUDIT_ENTRIES_MAX, ..AuditQuery::default() };
        let rows = store.audit(query).await.unwrap();
        let is_last = rows.len() < AUDIT_ENTRIES_MAX;
        // Those of the same moment are asked for again.
        to_us = rows.last().map(|row| row.time_us + 1);
        all.extend(rows.into_iter().map(|row| ((row.time_us, row.id), row)));
        if is_last {
            return all.into_values().collect();
        }
    }
}

async fn rows(store: &dyn DocumentStore, kind: Kind) -> Rows {
    let all = store.documents(kind, "", None, usize::MAX).await.unwrap();
    let row = |(key, document): (String, Document)| {
        (key, (document.version, serde_json::from_str(&document.text).unwrap()))
    };
    all.into_iter().map(row).collect()
}
