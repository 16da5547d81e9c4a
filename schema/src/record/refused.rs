//! What was sent and can be no event: kept as it came, beside the reason why not.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::DecodeError;
use crate::limits::REFUSED_BODY_BYTES;

/// What was sent and can be no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Its own id, under which it is keyed.
    pub id: Cow<'a, str>,
    /// Which field is wrong, and why.
    pub reason: Cow<'a, str>,
    /// What was sent, or its beginning.
    pub body: Cow<'a, [u8]>,
    /// How many bytes were sent: more than `body` has, if that is only the beginning.
    pub body_bytes: u64,
}

impl<'a> Refused<'a> {
    /// Keeps what was sent, up to [`REFUSED_BODY_BYTES`].
    pub fn new(id: String, reason: String, sent: &'a [u8]) -> Self {
        let kept = sent.get(..REFUSED_BODY_BYTES).unwrap_or(sent);
        let (id, reason) = (Cow::Owned(id), Cow::Owned(reason));
        Self { id, reason, body: Cow::Borrowed(kept), body_bytes: sent.len() as u64 }
    }

    /// The body as the text of a JSON string, and whether that text is base64: only what is no
    /// text, or would grow to six times its size by escapes.
    pub(super) fn body_text(&self) -> (Cow<'_, str>, bool) {
        let grows = |byte: &u8| byte.is_ascii_control() && !b"\t\n\r".contains(byte);
        match simdutf8::basic::from_utf8(&self.body) {
            Ok(text) if !text.as_bytes().iter().any(grows) => (Cow::Borrowed(text), false),
            _ => (Cow::Owned(STANDARD.encode(&self.body)), true),
        }
    }

    /// The bytes of a body's text.
    pub(super) fn body_of(
        text: Cow<'a, str>,
        is_base64: bool,
    ) -> Result<Cow<'a, [u8]>, DecodeError> {
        if is_base64 {
            return Ok(Cow::Owned(STANDARD.decode(&*text)?));
        }
        Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Body, Record};

    fn encoded(sent: &[u8]) -> Vec<u8> {
        let refused = Refused::new("1".to_owned(), "not an ad log".to_owned(), sent);
        let record = Record { project: "p".into(), received_us: 7, body: Body::Refused(refused) };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(Record::decode(&bytes).unwrap(), record);
        bytes
    }

    fn json(sent: &[u8]) -> serde_json::Value {
        serde_json::from_slice(&encoded(sent)).unwrap()
    }

    #[test]
    fn text_stays_readable_and_all_else_is_base64() {
        for text in ["", "{", "{\"a\":\t\"검색\"}\r\n", "\u{2028}\u{10ffff}"] {
            let written = json(text.as_bytes());
            assert_eq!((&written["body"], written.get("base64")), (&text.into(), None), "{text:?}");
        }
        for bytes in [&b"\xff\xfe"[..], b"\0", b"{\"a\": \"\x1b\"}", b"\x7f", b"\xb0\xcb\xbb\xf6"] {
            let written = json(bytes);
            assert_eq!(written["body"], STANDARD.encode(bytes), "{bytes:?}");
            assert_eq!(written["base64"], true, "{bytes:?}");
        }
    }

    #[test]
    fn of_a_long_body_the_beginning_is_kept_and_the_length_said() {
        for (byte, sent_bytes) in [(b'a', REFUSED_BODY_BYTES + 1), (0xff, 3 * REFUSED_BODY_BYTES)] {
            let bytes = encoded(&vec![byte; sent_bytes]);
            let Body::Refused(refused) = Record::decode(&bytes).unwrap().body else {
                panic!("another kind")
            };
            assert_eq!(refused.body.len(), REFUSED_BODY_BYTES);
            assert_eq!(refused.body_bytes, sent_bytes as u64);
        }
    }

    #[test]
    fn no_body_makes_a_record_that_a_topic_for_small_items_would_not_take() {
        // The least `max.message.bytes` that Millrace demands.
        const MESSAGE_BYTES: usize = 1024 * 1024;
        for worst in [b"\"", b"\\", b"\n", b"\0", b"\xff"] {
            let record = encoded(&worst.repeat(2 * REFUSED_BODY_BYTES));
            assert!(record.len() < MESSAGE_BYTES - 2048, "{worst:?}: {}", record.len());
        }
    }

    #[test]
    fn what_is_said_to_be_base64_and_is_not_is_no_record() {
        let text = r#"{"v":1,"kind":"refused","project":"p","received_us":1,"reason":"",
            "id":"1","body":"?","base64":true,"body_bytes":1}"#;
        let error = Record::decode(text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("not a record"), "{error}");
    }
}
