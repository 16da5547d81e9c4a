//! Readers of single values. Each says what a value must be in one error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use millrace_schema::time::Micros;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Loc, Wrong};
use crate::counter::ID_MAX;

/// Levels of an object that is kept as it came.
const OBJECT_DEPTH_MAX: usize = 32;
/// Bytes of a JSON object that is kept as it comes.
const OBJECT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of it as sent, with spaces and escapes.
const OBJECT_TEXT_BYTES_MAX: usize = 4 * OBJECT_BYTES_MAX;

fn json<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    kind: &'static str,
    msg: &'static str,
) -> Result<T, Wrong> {
    serde_json::from_str(value.get()).map_err(|_| Wrong::new(kind, msg))
}

pub(crate) fn text(value: &RawValue) -> Result<String, Wrong> {
    json(value, "string_type", "Input should be a valid string")
}

/// A text of `min` to `max` characters.
pub(crate) fn text_within(min: usize, max: usize) -> impl Fn(&RawValue) -> Result<String, Wrong> {
    move |value| {
        let text = text(value)?;
        length_within(&text, min, max)?;
        Ok(text)
    }
}

pub(crate) fn length_within(text: &str, min: usize, max: usize) -> Result<(), Wrong> {
    let chars = text.chars().count();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    if chars < min {
        let msg = format!("String should have at least {min} character{}", plural(min));
        return Err(Wrong::new("string_too_short", msg));
    }
    if chars > max {
        let msg = format!("String should have at most {max} character{}", plural(max));
        return Err(Wrong::new("string_too_long", msg));
    }
    Ok(())
}

pub(crate) fn flag(value: &RawValue) -> Result<bool, Wrong> {
    json(value, "bool_type", "Input should be a valid boolean")
}

/// A number of things: 0 to 2^53 - 1, which a double holds. `3.0` is an integer too (JSON Schema
/// Validation, section 6.1.1).
pub(crate) fn count(value: &RawValue) -> Result<i64, Wrong> {
    let (kind, msg) = ("int_type", "Input should be a valid integer");
    let count: f64 = json(value, kind, msg)?;
    if count.fract() != 0.0 {
        return Err(Wrong::new(kind, msg));
    }
    if count < 0.0 {
        let msg = "Input should be greater than or equal to 0";
        return Err(Wrong::new("greater_than_equal", msg));
    }
    if count > ID_MAX as f64 {
        let msg = format!("Input should be less than or equal to {ID_MAX}");
        return Err(Wrong::new("less_than_equal", msg));
    }
    Ok(count as i64)
}

pub(crate) fn uuid(value: &RawValue) -> Result<Uuid, Wrong> {
    uuid_text(&json::<Cow<'_, str>>(value, "uuid_type", "UUID input should be a string")?)
}

pub(crate) fn uuid_text(text: &str) -> Result<Uuid, Wrong> {
    Uuid::try_parse(text).map_err(|_| Wrong::new("uuid_parsing", "Input should be a valid UUID"))
}

pub(crate) fn object(value: &RawValue) -> Result<Map<String, Value>, Wrong> {
    if value.get().len() > OBJECT_TEXT_BYTES_MAX {
        return Err(too_large());
    }
    let object = json(value, "dict_type", "Input should be a valid dictionary")?;
    object_within_limit(&object)?;
    Ok(object)
}

/// An object that can be kept, and read again: its text and its depth are within the limits.
pub(crate) fn object_within_limit(object: &Map<String, Value>) -> Result<(), Wrong> {
    if !object.iter().all(|member| can_be_read_again(member, OBJECT_DEPTH_MAX)) {
        let reason = format!("at most {OBJECT_DEPTH_MAX} levels, and no names of serde_json's own");
        return Err(Wrong::value(&format!("{reason}, are accepted")));
    }
    let bytes = serde_json::to_string(object).map_or(usize::MAX, |text| text.len());
    if bytes > OBJECT_BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

/// serde_json reads no more than 127 levels, and takes its own names for something else.
fn can_be_read_again((name, value): (&String, &Value), levels: usize) -> bool {
    levels > 0 && !name.starts_with("$serde_json") && value_can_be_read_again(value, levels)
}

fn value_can_be_read_again(value: &Value, levels: usize) -> bool {
    let below = levels.saturating_sub(1);
    match value {
        Value::Object(members) => members.iter().all(|member| can_be_read_again(member, below)),
        Value::Array(values) => {
            below > 0 && values.iter().all(|value| value_can_be_read_again(value, below))
        }
        _ => true,
    }
}

fn too_large() -> Wrong {
    Wrong::value(&format!("at most {OBJECT_BYTES_MAX} bytes of JSON are accepted"))
}

/// An object whose values are arrays of strings.
pub(crate) fn permissions(value: &RawValue) -> Result<BTreeMap<String, Vec<String>>, Wrong> {
    object(value)?.into_iter().map(|(name, value)| permission(name, value)).collect()
}

fn permission(name: String, value: Value) -> Result<(String, Vec<String>), Wrong> {
    let within = |wrong: Wrong, name: String| wrong.within(Loc::Name(name.into()));
    let Value::Array(rights) = value else {
        return Err(within(Wrong::new("list_type", "Input should be a valid list"), name));
    };
    let mut texts = Vec::with_capacity(rights.len());
    for (index, right) in rights.into_iter().enumerate() {
        let Value::String(right) = right else {
            let wrong = Wrong::new("string_type", "Input should be a valid string");
            return Err(within(wrong.within(Loc::Index(index)), name));
        };
        texts.push(right);
    }
    Ok((name, texts))
}

/// A day or a time, ISO 8601; without a zone it is UTC.
pub(crate) fn date_time(value: &RawValue) -> Result<Micros, Wrong> {
    let text: Cow<'_, str> =
        json(value, "datetime_type", "Input should be a valid datetime in ISO 8601")?;
    moment(&text).map(|moment| moment.start_us)
}

/// What a text such as `2025-01-17` or `2025-01-17T05:39:22Z` names: a day, or a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) start_us: Micros,
    /// The first microsecond after it.
    pub(crate) end_us: Micros,
}

pub(crate) fn moment(text: &str) -> Result<Moment, Wrong> {
    let is_date = text.len() == "2025-01-17".len();
    if let Some(date) = is_date.then(|| text.parse::<Date>().ok()).flatten() {
        let end = date.tomorrow().unwrap_or(date);
        return Ok(Moment { start_us: utc(date.into()), end_us: utc(end.into()) });
    }
    let start_us = match text.parse::<Timestamp>() {
        Ok(time) => time.as_microsecond(),
        Err(_) => utc(text.parse::<DateTime>().map_err(|_| no_date_time())?),
    };
    Ok(Moment { start_us, end_us: start_us.saturating_add(1) })
}

/// The last hours of 9999, which no timestamp reaches, are the last that one does.
fn utc(civil: DateTime) -> Micros {
    let latest = if civil.year() > 0 { Timestamp::MAX } else { Timestamp::MIN };
    civil.to_zoned(TimeZone::UTC).map_or(latest, |zoned| zoned.timestamp()).as_microsecond()
}

fn no_date_time() -> Wrong {
    Wrong::new("datetime_parsing", "Input should be a valid datetime, such as 2025-01-17T05:39:22Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn permissions_are_lists_of_strings() {
        let given = raw(r#"{"admin": ["budget"], "x": []}"#);
        assert_eq!(permissions(&given).unwrap()["admin"], ["budget"]);
        assert!(permissions(&raw("{}")).unwrap().is_empty());
        for (text, kind) in [
            ("[]", "dict_type"),
            (r#"{"a": "r"}"#, "list_type"),
            (r#"{"a": [1]}"#, "string_type"),
            (r#"{"a": null}"#, "list_type"),
            (r#"{"a": ["\ud800"]}"#, "dict_type"),
        ] {
            assert_eq!(permissions(&raw(text)).unwrap_err().kind, kind, "{text}");
        }
        let large = raw(&format!("{{\"a\": [\"{}\"]}}", "x".repeat(OBJECT_BYTES_MAX)));
        assert_eq!(permissions(&large).unwrap_err().kind, "value_error");
    }

    #[test]
    fn an_object_that_could_not_be_read_again_is_refused() {
        let nested = |levels: usize| {
            raw(&format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1)))
        };
        assert!(object(&nested(OBJECT_DEPTH_MAX)).is_ok());
        assert_eq!(object(&nested(OBJECT_DEPTH_MAX + 1)).unwrap_err().kind, "value_error");
        let deep = format!("{}{{}}{}", "{\"a\":".repeat(126), "}".repeat(126));
        assert!(object(&raw(&deep)).is_err());
        let hidden = deep.replace('"', "\\\"");
        for text in [
            r#"{"x": {"a": 1, "$serde_json::private::RawValue": "!"}}"#.to_owned(),
            r#"{"x": {"a": 1, "\u0024serde_json::private::Number": "!"}}"#.to_owned(),
            format!(r#"{{"x": {{"$serde_json::private::RawValue": "{hidden}"}}}}"#),
        ] {
            assert_eq!(object(&raw(&text)).unwrap_err().kind, "value_error", "{text}");
        }
    }

    #[test]
    fn counts_are_integers_that_json_holds() {
        for (text, number) in [("9007199254740991", ID_MAX), ("3.0", 3), ("3e1", 30), ("-0", 0)] {
            assert_eq!(count(&raw(text)).unwrap(), number, "{text}");
        }
        for (text, kind) in [
            ("-1", "greater_than_equal"),
            ("1.5", "int_type"),
            ("\"1\"", "int_type"),
            ("9007199254740992", "less_than_equal"),
            ("99999999999999999999", "less_than_equal"),
            ("1e400", "int_type"),
        ] {
            assert_eq!(count(&raw(text)).unwrap_err().kind, kind, "{text}");
        }
    }

    #[test]
    fn a_day_ends_with_its_last_microsecond() {
        let day = moment("2025-01-17").unwrap();
        assert_eq!(day.end_us - day.start_us, 86_400_000_000);
        let instant = moment("2025-01-17T09:00:00.5+09:00").unwrap();
        assert_eq!(
            instant,
            Moment { start_us: day.start_us + 500_000, end_us: day.start_us + 500_001 }
        );
        assert_eq!(moment("2025-01-17T00:00:00").unwrap().start_us, day.start_us);
        for text in ["", "soon", "2025-13-01", "2025-02-30", "99999-01-01"] {
            assert_eq!(moment(text).unwrap_err().kind, "datetime_parsing", "{text}");
        }
        assert!(moment("9999-12-31").is_ok());
    }
}
