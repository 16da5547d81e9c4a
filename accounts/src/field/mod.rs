//! The fields of a request's body: found, read and checked, one error a field.
//!
//! Owns the words in which a field is refused; they are those of FastAPI (pydantic 2). Must not
//! know which fields a call has.

mod read;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

pub(crate) use read::*;

/// One step of the way to what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// A member of an object, or where the field stands: `body`, `query`, `path`.
    Name(Cow<'static, str>),
    /// An element of an array, or a byte of the body.
    Index(usize),
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The way to the field: `["body", "email"]`.
    pub loc: Vec<Loc>,
    /// For people.
    pub msg: Cow<'static, str>,
    /// In one word: `missing`, `value_error`, `string_too_short`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl FieldError {
    pub(crate) fn new(at: &'static str, field: &str, wrong: Wrong) -> Self {
        let mut loc = vec![Loc::Name(at.into()), Loc::Name(field.to_owned().into())];
        loc.extend(wrong.path.into_iter().rev());
        Self { loc, msg: wrong.msg, kind: wrong.kind }
    }
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) kind: &'static str,
    pub(crate) msg: Cow<'static, str>,
    /// The way within the value, innermost first.
    path: Vec<Loc>,
}

impl Wrong {
    pub(crate) fn new(kind: &'static str, msg: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, msg: msg.into(), path: Vec::new() }
    }

    pub(crate) fn missing() -> Self {
        Self::new("missing", "Field required")
    }

    pub(crate) fn value(reason: &str) -> Self {
        Self::new("value_error", format!("Value error, {reason}"))
    }

    /// The same, seen from outside of a member or element.
    pub(crate) fn within(mut self, step: Loc) -> Self {
        self.path.push(step);
        self
    }
}

/// The fields of a body that is a JSON object. The last of a repeated one counts; `null` counts as
/// absent; those that nobody asks for are ignored.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    members: BTreeMap<String, &'a RawValue>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Vec<FieldError>> {
        if body.is_empty() {
            let Wrong { kind, msg, .. } = Wrong::missing();
            return Err(vec![FieldError { loc: vec![Loc::Name("body".into())], msg, kind }]);
        }
        let whole: &RawValue =
            serde_json::from_slice(body).map_err(|error| vec![not_json(body, &error)])?;
        let members = serde_json::from_str(whole.get()).map_err(|_| {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            let loc = vec![Loc::Name("body".into())];
            vec![FieldError { loc, msg: msg.into(), kind: "model_attributes_type" }]
        })?;
        Ok(Self { members, errors: Vec::new() })
    }

    /// A field that may be absent.
    pub(crate) fn optional<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&RawValue) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.members.get(field).filter(|value| value.get() != "null")?;
        match read(value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(field, wrong);
                None
            }
        }
    }

    /// A field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&RawValue) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.members.get(field).is_none_or(|value| value.get() == "null") {
            self.refuse(field, Wrong::missing());
            return None;
        }
        self.optional(field, read)
    }

    /// Whether a field is there and `null`.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.members.get(field).is_some_and(|value| value.get() == "null")
    }

    pub(crate) fn refuse(&mut self, field: &str, wrong: Wrong) {
        self.errors.push(FieldError::new("body", field, wrong));
    }

    /// What was read, if nothing is wrong. `read` is there whenever that is so.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Vec<FieldError>> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(self.errors),
        }
    }
}

fn not_json(body: &[u8], error: &serde_json::Error) -> FieldError {
    let before: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let at = before.saturating_add(error.column());
    let loc = vec![Loc::Name("body".into()), Loc::Index(at)];
    FieldError { loc, msg: "JSON decode error".into(), kind: "json_invalid" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(errors: &[FieldError]) -> Vec<&'static str> {
        errors.iter().map(|error| error.kind).collect()
    }

    #[test]
    fn what_is_no_json_object_is_refused_as_a_whole() {
        for (body, kind) in [
            (&b""[..], "missing"),
            (b" ", "json_invalid"),
            (b"{", "json_invalid"),
            (b"{\"a\": NaN}", "json_invalid"),
            (b"{} {}", "json_invalid"),
            (b"\xff", "json_invalid"),
            (b"{\"a\": \"\xff\"}", "json_invalid"),
            (b"[]", "model_attributes_type"),
            (b"null", "model_attributes_type"),
            (b"\"a\"", "model_attributes_type"),
        ] {
            assert_eq!(kinds(&Fields::parse(body).unwrap_err()), [kind], "{body:?}");
        }
    }

    #[test]
    fn the_place_of_bad_json_is_told() {
        let errors = Fields::parse(b"{\n\"a\": x}").unwrap_err();
        assert_eq!(errors[0].loc, [Loc::Name("body".into()), Loc::Index(8)]);
    }

    #[test]
    fn each_field_has_one_error_and_null_is_absent() {
        let mut fields = Fields::parse(br#"{"a": null, "b": 1, "c": "x", "c": "y"}"#).unwrap();
        assert_eq!(fields.required("a", text), None);
        assert_eq!(fields.optional("a", text), None);
        assert_eq!(fields.required("b", text), None);
        assert_eq!(fields.required("c", text), Some("y".to_owned()));
        assert_eq!(fields.required("d", text), None);
        let errors = fields.finish(Some(())).unwrap_err();
        assert_eq!(kinds(&errors), ["missing", "string_type", "missing"]);
        let json = serde_json::to_string(&errors[1]).unwrap();
        let expected =
            r#"{"loc":["body","b"],"msg":"Input should be a valid string","type":"string_type"}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let body = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        if let Ok(mut fields) = Fields::parse(body.as_bytes()) {
            assert_eq!(fields.required("a", object), None);
        }
    }
}
