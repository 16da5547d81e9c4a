//! The slow second look at a text that was refused: where it breaks, and in which item. Reads
//! strictly and builds no tree.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fault::Fault;

/// What the text was.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// A whole body whose items stand in the array of this member.
    Body { member: &'static str },
    /// A line of NDJSON.
    Line,
}

/// Where and why `text` is not acceptable JSON, and in which item of a body that is.
/// `fallback_byte` is the parser's own opinion.
pub(super) fn locate(text: &[u8], kind: Text, fallback_byte: usize) -> (Option<usize>, Fault) {
    let (what, member) = match kind {
        Text::Body { member } => ("body", member),
        Text::Line => ("line", ""),
    };
    let item = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let looked = Look { role: Role::Root, member, item: &item }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    let item = item.get();
    let Err(error) = looked else {
        let reason = "malformed".to_owned();
        return (None, Fault::Syntax { what, byte: fallback_byte, item: None, reason });
    };
    let byte = byte_of(text, &error);
    if let Err(utf8) = std::str::from_utf8(text)
        && utf8.valid_up_to() <= byte
    {
        let reason = "invalid UTF-8".to_owned();
        return (item, Fault::Syntax { what, byte: utf8.valid_up_to(), item, reason });
    }
    let reason = reason_of(&error);
    // serde_json tells these two apart from broken syntax only by their text.
    let fault = match reason.as_str() {
        "number out of range" => Fault::NumberOutOfRange { what, byte, item },
        "recursion limit exceeded" => Fault::TooDeep,
        _ => Fault::Syntax { what, byte, item, reason },
    };
    (item, fault)
}

/// The byte that an error of serde_json points at: it counts lines and columns from 1.
fn byte_of(text: &[u8], error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return text.len();
    }
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize =
        text.split_inclusive(|byte| *byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// The error's text without the line and column.
fn reason_of(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if text.ends_with(&place) {
        text.truncate(text.len() - place.len());
    }
    text
}

#[derive(Clone, Copy)]
enum Role {
    Root,
    Items,
    Other,
}

/// Reads any value and forgets it, noting which item it is in.
#[derive(Clone, Copy)]
struct Look<'c> {
    role: Role,
    member: &'static str,
    item: &'c Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let is_items = matches!(self.role, Role::Items);
        let mut index = 0;
        if is_items {
            self.item.set(Some(index));
        }
        while seq.next_element_seed(Self { role: Role::Other, ..self })?.is_some() {
            index += 1;
            if is_items {
                self.item.set(Some(index));
            }
        }
        if is_items {
            self.item.set(None);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let is_items = matches!(self.role, Role::Root) && key == self.member;
            let role = if is_items { Role::Items } else { Role::Other };
            map.next_value_seed(Self { role, ..self })?;
        }
        Ok(())
    }
}

/// A member's key.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &[u8]) -> (Option<usize>, String) {
        let (item, fault) = locate(text, Text::Body { member: "events" }, 0);
        (item, fault.to_string())
    }

    #[test]
    fn the_byte_and_the_item_are_named() {
        let (item, message) = look(b"{\"events\": [{}, {\n\"a\": tru}]}");
        assert_eq!(item, Some(1));
        assert_eq!(message, "the body is not valid JSON at byte 26, in item 1: expected ident");
    }

    #[test]
    fn a_truncated_body_breaks_at_its_end() {
        let (item, message) = look(b"{\"events\": [{}, {}, {\"a\"");
        assert_eq!(item, Some(2));
        assert!(message.contains("at byte 24, in item 2: EOF"), "{message}");
    }

    #[test]
    fn invalid_utf8_is_named_where_it_begins() {
        let (item, message) = look(b"{\"events\": [{\"a\": \"x\xff\"}]}");
        assert_eq!(item, Some(0));
        assert!(message.contains("at byte 20, in item 0: invalid UTF-8"), "{message}");
    }

    #[test]
    fn numbers_out_of_range_are_told_apart() {
        let (item, message) = look(b"{\"events\": [{}, {\"a\": 1e400}]}");
        assert_eq!(item, Some(1));
        assert!(message.contains("beyond the range of a double"), "{message}");
    }

    #[test]
    fn what_stands_outside_the_items_names_none() {
        let (item, message) = look(b"{\"x\": [1, 2], \"events\": [{}], \"y\": }");
        assert_eq!(item, None);
        assert!(message.contains("at byte 35: expected value"), "{message}");
    }
}
