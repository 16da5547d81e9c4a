//! What is bound to a statement.

use std::borrow::Cow;

use scylla::errors::SerializationError;
use scylla::frame::response::result::ColumnType;
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::{CellWriter, WrittenCellProof};
use scylla::value::Unset;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::StoreError;

/// The longest part of a key that CQL takes.
const KEY_PART_BYTES: usize = 65_535;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'w> {
    Text(Cow<'w, str>),
    /// For a list of which any matches.
    Texts(Vec<&'w str>),
    Blob(&'w [u8]),
    Big(i64),
    Int(i32),
    Uuid(Uuid),
    /// Nothing is written. A null would be a tombstone.
    Unset,
}

impl Value<'_> {
    /// About how many bytes it takes on the wire.
    pub(super) fn len(&self) -> usize {
        let body = match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| 4 + text.len()).sum(),
            Self::Blob(bytes) => bytes.len(),
            _ => 16,
        };
        4 + body
    }
}

impl SerializeValue for Value<'_> {
    fn serialize<'b>(
        &self,
        typ: &ColumnType<'_>,
        writer: CellWriter<'b>,
    ) -> Result<WrittenCellProof<'b>, SerializationError> {
        match self {
            Self::Text(text) => text.as_ref().serialize(typ, writer),
            Self::Texts(texts) => texts.serialize(typ, writer),
            Self::Blob(bytes) => bytes.serialize(typ, writer),
            Self::Big(n) => n.serialize(typ, writer),
            Self::Int(n) => n.serialize(typ, writer),
            Self::Uuid(id) => id.serialize(typ, writer),
            Self::Unset => Unset.serialize(typ, writer),
        }
    }
}

impl<'w> From<&'w str> for Value<'w> {
    fn from(text: &'w str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value<'_> {
    fn from(n: i64) -> Self {
        Self::Big(n)
    }
}

impl From<i32> for Value<'_> {
    fn from(n: i32) -> Self {
        Self::Int(n)
    }
}

impl From<Uuid> for Value<'_> {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl<'w, T: Into<Value<'w>>> From<Option<T>> for Value<'w> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unset, Into::into)
    }
}

/// The values of a statement, in its order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::scylla::value::Value::from($value)),*] };
}
pub(super) use values;

/// A number of ours as CQL has it.
pub(super) fn big(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A part of a key.
pub(super) fn key(part: &str) -> Result<&str, StoreError> {
    if part.len() > KEY_PART_BYTES {
        let n = part.len();
        let text = format!("an id or a name of {n} bytes: at most {KEY_PART_BYTES} fit in a key");
        return Err(StoreError::Invalid(text));
    }
    Ok(part)
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Invalid(format!("no JSON: {e}")))
}

pub(super) fn read_json<T: DeserializeOwned>(table: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| {
        StoreError::Invalid(format!(
            "a row of {table} cannot be read ({e}): was it written by hand?"
        ))
    })
}
