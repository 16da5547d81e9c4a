//! Typed documents: how a person, a consent or a counter becomes a text of the store and back.

use std::hint::black_box;

use millrace_schema::time::Micros;
use millrace_store::{Document, DocumentChange, DocumentStore, Expect, Kind, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Documents of one page when all of a kind are read.
const PAGE: usize = 500;

/// A document that was read, with the version it was read in.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) version: u64,
    pub(crate) value: T,
}

pub(crate) async fn load<T: DeserializeOwned>(
    store: &dyn DocumentStore,
    kind: Kind,
    key: &str,
) -> Result<Option<Stored<T>>, StoreError> {
    store.document(kind, key).await?.map(|document| read(kind, document)).transpose()
}

/// As [`load`], but what is not there takes as long: a decoy is read in its place.
pub(crate) async fn load_alike<T: DeserializeOwned>(
    store: &dyn DocumentStore,
    kind: Kind,
    key: &str,
    decoy: &str,
) -> Result<Option<Stored<T>>, StoreError> {
    let found = load(store, kind, key).await?;
    if found.is_none() {
        black_box(serde_json::from_str::<T>(decoy).is_ok());
    }
    Ok(found)
}

/// All documents whose key begins with `prefix`, by key.
pub(crate) async fn load_all<T: DeserializeOwned>(
    store: &dyn DocumentStore,
    kind: Kind,
    prefix: &str,
) -> Result<Vec<(String, Stored<T>)>, StoreError> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.documents(kind, prefix, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        for (key, document) in page {
            all.push((key, read(kind, document)?));
        }
        if is_last {
            return Ok(all);
        }
        after = all.last().map(|(key, _)| key.clone());
    }
}

fn read<T: DeserializeOwned>(kind: Kind, document: Document) -> Result<Stored<T>, StoreError> {
    // The text may hold personal data, and serde_json's errors quote it: only the place is told.
    let value = serde_json::from_str(&document.text).map_err(|error| {
        let (kind, column) = (kind.name(), error.column());
        StoreError::Invalid(format!("a document of kind {kind} is unreadable at byte {column}"))
    })?;
    Ok(Stored { version: document.version, value })
}

/// A change that makes a document; it must not be there yet.
pub(crate) fn create<T: Serialize>(
    kind: Kind,
    key: String,
    value: &T,
) -> Result<DocumentChange, StoreError> {
    change(kind, key, Expect::Absent, value)
}

/// A change that replaces a document of a version.
pub(crate) fn replace<T: Serialize>(
    kind: Kind,
    key: String,
    version: u64,
    value: &T,
) -> Result<DocumentChange, StoreError> {
    change(kind, key, Expect::Version(version), value)
}

/// A change that removes a document of a version.
pub(crate) fn remove(kind: Kind, key: String, version: u64) -> DocumentChange {
    DocumentChange { kind, key, expect: Expect::Version(version), text: None, expires_us: None }
}

/// The same change of a document that goes by itself.
pub(crate) fn expiring(change: DocumentChange, expires_us: Micros) -> DocumentChange {
    DocumentChange { expires_us: Some(expires_us), ..change }
}

fn change<T: Serialize>(
    kind: Kind,
    key: String,
    expect: Expect,
    value: &T,
) -> Result<DocumentChange, StoreError> {
    let text = serde_json::to_string(value).map_err(|_| {
        StoreError::Invalid(format!("a document of kind {} cannot be written", kind.name()))
    })?;
    Ok(DocumentChange { kind, key, expect, text: Some(text), expires_us: None })
}
