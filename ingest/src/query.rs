//! Query parameters and path segments, percent-decoded.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands unescaped in a query value or path segment (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The query of a request, as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'q>(Option<&'q str>);

impl<'q> Query<'q> {
    /// The query of a request's target.
    pub(crate) fn of(uri: &'q hyper::Uri) -> Self {
        Self(uri.query())
    }

    /// The first value of a parameter, decoded (`+` is a space, as in forms). `None` if it is
    /// absent; an empty value is a value. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn get(self, name: &str) -> Option<Cow<'q, str>> {
        let mut found = self.encoded().filter(|(n, _)| *n == name || decode_form(n) == name);
        found.next().map(|(_, value)| decode_form(value))
    }

    /// All parameters in their order, decoded as by [`Query::get`].
    pub(crate) fn pairs(self) -> Vec<(String, String)> {
        let decoded = |text| decode_form(text).into_owned();
        self.encoded().map(|(name, value)| (decoded(name), decoded(value))).collect()
    }

    fn encoded(self) -> impl Iterator<Item = (&'q str, &'q str)> {
        let pairs = self.0.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

fn decode_form(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'+' || b == b'%') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// A path segment, decoded; `None` if it is not UTF-8.
pub(crate) fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// A text as a query value or path segment.
pub(crate) fn encode(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let query = Query(Some("a=1&project_id=caf%C3%A9+%2B&b&project_id=second"));
        assert_eq!(query.get("project_id").unwrap(), "café +");
        assert_eq!(query.get("b").unwrap(), "");
        assert_eq!(query.get("c"), None);
        assert_eq!(Query(Some("p%61=x")).get("pa").unwrap(), "x");
        assert_eq!(Query(None).get("a"), None);
        let pairs = Query(Some("a=1&&%61=2%2C&b+c&=x")).pairs();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("a", "2,"), ("b c", ""), ("", "x")]);
        assert!(Query(None).pairs().is_empty());
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "a b+c/d?e&f=g%h\u{e9}";
        let encoded = encode(text).to_string();
        assert_eq!(decode_segment(&encoded).unwrap(), text);
        let pair = format!("x={encoded}");
        assert_eq!(Query(Some(&pair)).get("x").unwrap(), text);
    }
}
