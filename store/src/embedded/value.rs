//! Values: a format version, the stamp of the write where rows compete, and the row.

use millrace_schema::time::Micros;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::embedded::failure::undecodable;
use crate::embedded::space::Space;
use crate::{Stamp, StoreError};

/// The format's version; a reader refuses any other.
const VERSION: u8 = 1;

/// A value of a row that competes by its stamp.
pub(super) fn stamped(stamp: Stamp, parts: &[&[u8]]) -> Vec<u8> {
    let len = 9 + parts.iter().map(|p| p.len()).sum::<usize>();
    let mut value = Vec::with_capacity(len);
    value.push(VERSION);
    value.extend_from_slice(&stamp.0.to_be_bytes());
    for part in parts {
        value.extend_from_slice(part);
    }
    value
}

/// The stamp and what follows it.
pub(super) fn read_stamped(space: Space, value: &[u8]) -> Result<(Stamp, &[u8]), StoreError> {
    let (stamp, rest) = read_number(space, read_version(space, value)?)?;
    Ok((Stamp(stamp), rest))
}

/// A value of a row that is written once or under a lock: its JSON.
pub(super) fn plain<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    let mut value = vec![VERSION];
    value.extend_from_slice(&json(row)?);
    Ok(value)
}

/// The row of a plain value.
pub(super) fn read_plain<T: DeserializeOwned>(space: Space, value: &[u8]) -> Result<T, StoreError> {
    read_json(space, read_version(space, value)?)
}

/// When the row of an event or of an event's time may go, from what follows its stamp; and the
/// rest.
pub(super) fn read_expiry(space: Space, rest: &[u8]) -> Result<(Micros, &[u8]), StoreError> {
    read_number(space, rest)
}

/// A number (8 bytes, big-endian) and what follows it.
pub(super) fn read_number(space: Space, bytes: &[u8]) -> Result<(i64, &[u8]), StoreError> {
    let (number, rest) =
        bytes.split_first_chunk::<8>().ok_or_else(|| undecodable(space, "it is too short"))?;
    Ok((i64::from_be_bytes(*number), rest))
}

/// The JSON text of a row.
pub(super) fn json<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(row).map_err(|e| StoreError::Invalid(format!("a row has no JSON form: {e}")))
}

/// A row from its JSON text.
pub(super) fn read_json<T: DeserializeOwned>(space: Space, text: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|e| undecodable(space, e))
}

fn read_version(space: Space, value: &[u8]) -> Result<&[u8], StoreError> {
    match value.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(undecodable(space, format_args!("format version {version}"))),
        None => Err(undecodable(space, "it is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_version_does_not_write_is_refused_with_its_keyspace() {
        let refused = |value: &[u8]| {
            read_stamped(Space::Claims, value).unwrap_err().to_string().contains("\"claims\"")
        };
        assert!(refused(&[]));
        assert!(refused(&[VERSION, 0, 0]));
        assert!(refused(&[VERSION + 1, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(read_stamped(Space::Claims, &stamped(Stamp(7), &[])).is_ok());
        assert!(read_plain::<u32>(Space::Topics, &[VERSION, b'x']).is_err());
    }
}
