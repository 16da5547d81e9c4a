//! Preferences: the known ones with their defaults, and whatever else a client keeps here.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::field::{self, Loc, Wrong};

/// Where a user's preferences may hold secrets, such as the URL of a webhook.
pub(super) const SECRETS: [&str; 2] = ["preferences", "notification_methods_data"];

/// An object of preferences.
pub(crate) type Preferences = Map<String, Value>;

/// Reads preferences; known ones must be of their type. `null` for a known one is left out.
pub(crate) fn read(value: &RawValue) -> Result<Preferences, Wrong> {
    let mut given = field::object(value)?;
    check(&mut given, &defaults())?;
    Ok(given)
}

fn check(given: &mut Preferences, known: &Preferences) -> Result<(), Wrong> {
    for (name, default) in known {
        let Some(value) = given.get_mut(name) else { continue };
        let checked = match (&mut *value, default) {
            (Value::Null, _) => {
                given.remove(name);
                continue;
            }
            (Value::Object(value), Value::Object(known)) => check(value, known),
            (_, Value::Object(_)) => {
                Err(Wrong::new("dict_type", "Input should be a valid dictionary"))
            }
            (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => Ok(()),
            (_, Value::Bool(_)) => Err(Wrong::new("bool_type", "Input should be a valid boolean")),
            _ => Err(Wrong::new("string_type", "Input should be a valid string")),
        };
        checked.map_err(|wrong| wrong.within(Loc::Name(name.clone().into())))?;
    }
    Ok(())
}

/// The preferences of who gave none.
pub(crate) fn defaults() -> Preferences {
    let defaults = json!({
        "etc": {"language": "ko"},
        "notification_methods": {"email": true, "slack": false, "sms": false},
        "notification_methods_data": {"slack": "", "sms": ""},
        "notifications": {
            "attribute_deleted": true,
            "campaign_finished": true,
            "publish_approval": true,
            "publish_request": true,
        },
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

/// Puts `change` into `stored`, member by member.
///
/// # Errors
/// The result is larger than is kept.
pub(crate) fn merge(stored: &mut Preferences, change: Preferences) -> Result<(), Wrong> {
    put(stored, change);
    field::object_within_limit(stored)
}

fn put(into: &mut Preferences, change: Preferences) {
    for (name, value) in change {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(change)) => put(into, change),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// The language that mails are written in.
pub(crate) fn language(preferences: &Preferences) -> &str {
    let language = preferences.get("etc").and_then(|etc| etc.get("language"));
    language.and_then(Value::as_str).unwrap_or("ko")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Preferences, Wrong> {
        read(&RawValue::from_string(text.to_owned()).unwrap())
    }

    fn merged(changes: &[&str]) -> Value {
        let mut stored = defaults();
        for change in changes {
            merge(&mut stored, read_text(change).unwrap()).unwrap();
        }
        Value::Object(stored)
    }

    #[test]
    fn missing_parts_get_their_defaults_and_unknown_ones_are_kept() {
        assert_eq!(merged(&["{}"]), Value::Object(defaults()));
        let found = merged(&[r#"{"etc": {"language": "en", "theme": "dark"}, "x": [1, null]}"#]);
        assert_eq!(found["etc"], json!({"language": "en", "theme": "dark"}));
        assert_eq!(found["x"], json!([1, null]));
        assert_eq!(found["notifications"]["publish_request"], true);
    }

    #[test]
    fn an_update_reaches_only_what_it_names() {
        let found = merged(&[
            r#"{"x": {"a": {"b": 1, "c": 2}}, "etc": {"language": "en"}}"#,
            r#"{"x": {"a": {"b": 3}}, "notification_methods": {"sms": true}, "etc": null}"#,
        ]);
        assert_eq!(found["x"], json!({"a": {"b": 3, "c": 2}}));
        assert_eq!(
            found["notification_methods"],
            json!({"email": true, "slack": false, "sms": true})
        );
        assert_eq!(found["etc"]["language"], "en", "null is absent");
    }

    #[test]
    fn known_preferences_keep_their_type() {
        for (text, kind) in [
            ("[]", "dict_type"),
            (r#"{"etc": 1}"#, "dict_type"),
            (r#"{"etc": {"language": 1}}"#, "string_type"),
            (r#"{"notifications": {"publish_request": "yes"}}"#, "bool_type"),
            (r#"{"notification_methods_data": {"sms": true}}"#, "string_type"),
        ] {
            assert_eq!(read_text(text).unwrap_err().kind, kind, "{text}");
        }
    }

    #[test]
    fn preferences_cannot_grow_without_end() {
        let mut stored = defaults();
        let half = "x".repeat(9_000);
        assert!(merge(&mut stored, read_text(&format!("{{\"a\": {half:?}}}")).unwrap()).is_ok());
        let wrong = merge(&mut stored, read_text(&format!("{{\"b\": {half:?}}}")).unwrap());
        assert_eq!(wrong.unwrap_err().kind, "value_error");
    }
}
