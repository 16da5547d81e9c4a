//! What an audit user's fields may be: the rules of the documented patterns, as plain checks.

use serde_json::value::RawValue;

use super::person::Lang;
use crate::field::{self, Wrong};

const NAME_CHARS_MAX: usize = 250;
const EMAIL_CHARS_MAX: usize = 250;
const PHONE_CHARS_MAX: usize = 20;
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 100;
const PASSWORD_SYMBOLS: &str = "@$!%*?&#";
/// What ends a line in ECMAScript, whose patterns are documented.
const LINE_BREAKS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

pub(super) fn name(value: &RawValue) -> Result<String, Wrong> {
    field::text_within(0, NAME_CHARS_MAX)(value)
}

pub(super) fn phone(value: &RawValue) -> Result<String, Wrong> {
    field::text_within(0, PHONE_CHARS_MAX)(value)
}

pub(super) fn lang(value: &RawValue) -> Result<Lang, Wrong> {
    match field::text(value)?.as_str() {
        "fr" => Ok(Lang::Fr),
        "en" => Ok(Lang::En),
        "de" => Ok(Lang::De),
        _ => Err(Wrong::new("enum", "Input should be 'fr', 'en' or 'de'")),
    }
}

pub(super) fn email(value: &RawValue) -> Result<String, Wrong> {
    let email = field::text_within(0, EMAIL_CHARS_MAX)(value)?;
    if is_email(&email) { Ok(email) } else { Err(Wrong::value("it must be an e-mail address")) }
}

pub(super) fn password(value: &RawValue) -> Result<String, Wrong> {
    let password = field::text_within(PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX)(value)?;
    if is_password(&password) {
        return Ok(password);
    }
    Err(Wrong::value(
        "it must have a lower-case letter, an upper-case letter, a digit, one of @$!%*?&#, and no \
         line break",
    ))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local_char = |c: char| c.is_ascii_alphanumeric() || "_'+-.".contains(c);
    let ends_well = |c: char| c.is_ascii_alphanumeric() || "_+-".contains(c);
    let is_local = local.chars().all(is_local_char)
        && local.ends_with(ends_well)
        && !local.starts_with('.')
        && !local.contains("..");
    is_local && is_domain(domain)
}

fn is_domain(text: &str) -> bool {
    let Some((labels, top)) = text.rsplit_once('.') else { return false };
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    labels.split('.').all(is_label)
        && top.len() >= 2
        && top.chars().all(|c| c.is_ascii_alphabetic())
}

fn is_password(text: &str) -> bool {
    let chars = text.chars().count();
    let has = |is: fn(char) -> bool| text.chars().any(is);
    (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars)
        && has(|c| c.is_ascii_lowercase())
        && has(|c| c.is_ascii_uppercase())
        && has(|c| c.is_ascii_digit())
        && has(|c| PASSWORD_SYMBOLS.contains(c))
        && !has(|c| LINE_BREAKS.contains(&c))
}

#[cfg(test)]
mod tests {
    use fancy_regex::Regex;
    use millrace_schema::openapi;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const EMAIL: &str = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$";
    const PASSWORD: &str = r"^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*[@$!%*?&#]).{8,100}$";

    /// As ECMAScript reads them: `.` stops at every line break, `\d` is ASCII.
    fn pattern(text: &str) -> Regex {
        let text = text.replace(r"\d", "[0-9]").replace(".*", r"[^\n\r\u{2028}\u{2029}]*");
        Regex::new(&text.replace(".{8", r"[^\n\r\u{2028}\u{2029}]{8")).unwrap()
    }

    #[test]
    fn the_document_has_the_patterns_and_lengths() {
        let document: Value = serde_json::from_str(openapi::JSON).unwrap();
        let schemas = &document["components"]["schemas"];
        let (email, password) = (&schemas["BackOfficeEmail"], &schemas["BackOfficePassword"]);
        assert_eq!((&email["pattern"], &password["pattern"]), (&json!(EMAIL), &json!(PASSWORD)));
        assert_eq!(email["maxLength"], EMAIL_CHARS_MAX);
        assert_eq!(password["minLength"], PASSWORD_CHARS_MIN);
        assert_eq!(password["maxLength"], PASSWORD_CHARS_MAX);
        for body in ["AuditUserCreate", "AuditUserUpdate"] {
            let fields = &schemas[body]["properties"];
            for (field, chars_max) in [
                ("firstName", NAME_CHARS_MAX),
                ("lastName", NAME_CHARS_MAX),
                ("phone", PHONE_CHARS_MAX),
            ] {
                assert_eq!(fields[field]["maxLength"], chars_max, "{body} {field}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_email_check_is_the_documented_pattern(
            text in "[aZ0_'+.@é \n-]{0,12}",
            near in "[aZ0_'+.-]{0,6}@?[aZ0.-]{0,6}\\.?[aZ0]{0,3}\n?",
        ) {
            let pattern = pattern(EMAIL);
            for text in [text, near] {
                prop_assert_eq!(is_email(&text), pattern.is_match(&text).unwrap(), "{:?}", text);
            }
        }

        #[test]
        fn the_password_check_is_the_documented_pattern(
            text in "[aZ0@#é가 ٣\n\r\u{2028}]{0,12}",
            near in "[aZ0#é.]{5,104}",
            any in any::<String>(),
        ) {
            let pattern = pattern(PASSWORD);
            for text in [text, near, any] {
                prop_assert_eq!(is_password(&text), pattern.is_match(&text).unwrap(), "{:?}", text);
            }
        }
    }

    #[test]
    fn both_sides_of_each_rule_are_met() {
        let pattern_of_email = pattern(EMAIL);
        for (text, is_good) in [
            ("a@b.co", true),
            ("o'neil+x@a-b.c-.co", true),
            ("-@0.co", true),
            ("a'@b.co", false),
            (".a@b.co", false),
            ("a.@b.co", false),
            ("a..b@c.co", false),
            ("a@b", false),
            ("a@-b.co", false),
            ("a@b.c", false),
            ("a@b.c0", false),
            ("a@b..co", false),
            ("@b.co", false),
            ("a@b@c.co", false),
            ("a@b.co\n", false),
        ] {
            assert_eq!(is_email(text), is_good, "{text:?}");
            assert_eq!(pattern_of_email.is_match(text).unwrap(), is_good, "{text:?}");
        }
        let pattern_of_password = pattern(PASSWORD);
        for (text, is_good) in [
            ("aA0@aaaa", true),
            ("aA0@ 가é🦀", true),
            ("aA0@aaa", false),
            ("AA0@AAAA", false),
            ("aa0@aaaa", false),
            ("aAa@aaaa", false),
            ("aA٣@aaaa", false),
            ("aA0aaaaa", false),
            ("aA0@aaaa\n", false),
            ("aA0@\raaaa", false),
        ] {
            assert_eq!(is_password(text), is_good, "{text:?}");
            assert_eq!(pattern_of_password.is_match(text).unwrap(), is_good, "{text:?}");
        }
    }
}
