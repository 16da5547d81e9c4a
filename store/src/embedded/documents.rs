//! Documents and the audit log. A change is one batch under the writer's lock, durable when
//! acknowledged.

use std::ops::Bound;

use fjall::{Readable, Slice};
use millrace_schema::time::{Micros, wall_clock_us};

use crate::document::check_change;
use crate::embedded::failure::{failed, undecodable};
use crate::embedded::space::Space;
use crate::embedded::{EmbeddedStore, Engine, key, value};
use crate::{
    Answer, AuditQuery, AuditRow, Document, DocumentChange, DocumentStore, Expect, Kind, Stamp,
    StoreError,
};

/// Of a document that never expires.
const NEVER_US: Micros = Micros::MAX;

impl DocumentStore for EmbeddedStore {
    fn document(&self, kind: Kind, key: &str) -> Answer<'_, Option<Document>> {
        let key = key.to_owned();
        self.run(move |engine| engine.document(kind, &key))
    }

    fn documents(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<'_, Vec<(String, Document)>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run(move |engine| engine.documents(kind, &prefix, after.as_deref(), limit))
    }

    fn change(&self, changes: Vec<DocumentChange>, audit: Vec<AuditRow>) -> Answer<'_, bool> {
        self.run(move |engine| engine.change(&changes, &audit))
    }

    fn audit(&self, query: AuditQuery) -> Answer<'_, Vec<AuditRow>> {
        self.run(move |engine| engine.audit(&query))
    }
}

impl Engine {
    fn document(&self, kind: Kind, key: &str) -> Result<Option<Document>, StoreError> {
        let key = key::document(kind, key).finish()?;
        let stored = self.db.snapshot().get(self.spaces.get(Space::Documents), key);
        let stored = stored.map_err(failed)?;
        read_live(stored, wall_clock_us())
    }

    fn documents(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Document)>, StoreError> {
        let all = key::document(kind, "").finish()?;
        let prefix = key::document(kind, prefix).finish()?;
        let after = after.map(|after| key::document(kind, after).finish()).transpose()?;
        let from = after.as_ref().unwrap_or(&prefix).max(&prefix).clone();
        let now_us = wall_clock_us();
        let mut documents = Vec::new();
        let snapshot = self.db.snapshot();
        for row in snapshot.range(self.spaces.get(Space::Documents), from..) {
            if documents.len() >= limit {
                break;
            }
            let (key, value) = row.into_inner().map_err(failed)?;
            if !key.starts_with(&prefix) {
                break;
            }
            if after.as_deref() == Some(&*key) {
                continue;
            }
            if let Some(document) = read_live(Some(value), now_us)? {
                let key = key.get(all.len()..).unwrap_or_default();
                documents.push((key::read_text(Space::Documents, key)?, document));
            }
        }
        Ok(documents)
    }

    fn change(&self, changes: &[DocumentChange], audit: &[AuditRow]) -> Result<bool, StoreError> {
        check_change(changes, audit)?;
        let mut draft = self.draft();
        let now_us = wall_clock_us();
        for change in changes {
            let key = key::document(change.kind, &change.key).finish()?;
            let stored = draft.get(Space::Documents, &key)?;
            let found = read_live(stored, now_us)?.map(|document| document.version);
            let expected = match change.expect {
                Expect::Absent => None,
                Expect::Version(version) => Some(version),
            };
            if found != expected {
                return Ok(false);
            }
            match &change.text {
                None => draft.remove(Space::Documents, key),
                Some(text) => {
                    let version = found.unwrap_or(0).saturating_add(1);
                    draft.put(Space::Documents, key, encode(version, change.expires_us, text));
                }
            }
        }
        for row in audit {
            let key = key::audit(row.time_us, row.id).finish()?;
            draft.put(Space::Audit, key, value::plain(row)?);
        }
        draft.commit_durably()?;
        Ok(true)
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>, StoreError> {
        let from = key::audit_from(query.from_us.unwrap_or(Micros::MIN)).finish()?;
        let to = query.to_us.map(|to_us| key::audit_from(to_us).finish()).transpose()?;
        let mut rows = Vec::new();
        if to.as_ref().is_some_and(|to| *to <= from) {
            return Ok(rows);
        }
        let range = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let snapshot = self.db.snapshot();
        for row in snapshot.range(self.spaces.get(Space::Audit), range).rev() {
            if rows.len() >= query.bound() {
                break;
            }
            let row: AuditRow = value::read_plain(Space::Audit, &row.value().map_err(failed)?)?;
            if query.admits(&row) {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

/// The version stands where other rows have their stamp, so that expiry is at the same place.
fn encode(version: u64, expires_us: Option<Micros>, text: &str) -> Vec<u8> {
    let version = Stamp(i64::try_from(version).unwrap_or(i64::MAX));
    let expires_us = expires_us.unwrap_or(NEVER_US).to_be_bytes();
    value::stamped(version, &[&expires_us, text.as_bytes()])
}

/// A document, if it is there and has not expired.
fn read_live(stored: Option<Slice>, now_us: Micros) -> Result<Option<Document>, StoreError> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    let (Stamp(version), rest) = value::read_stamped(Space::Documents, &stored)?;
    let (expires_us, text) = value::read_expiry(Space::Documents, rest)?;
    if expires_us <= now_us {
        return Ok(None);
    }
    let version = u64::try_from(version).map_err(|e| undecodable(Space::Documents, e))?;
    Ok(Some(Document { version, text: key::read_text(Space::Documents, text)? }))
}
