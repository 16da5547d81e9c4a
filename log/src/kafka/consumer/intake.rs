//! Copies records out of librdkafka's memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

use crate::LogRecord;

/// Records are copied into pieces of this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// Stands for a name that is not UTF-8.
const UNREADABLE: &str = "\u{fffd}";

/// Copies keys and values one behind the other, so that many records share an allocation.
#[derive(Default)]
pub(super) struct Intake(BytesMut);

impl Intake {
    /// `None` if the message has no place in a log.
    pub(super) fn copy(&mut self, message: &BorrowedMessage<'_>) -> Option<LogRecord> {
        let offset = u64::try_from(message.offset()).ok()?;
        let key = self.copy_bytes(message.key());
        let value = self.copy_bytes(message.payload());
        let headers = message.headers().map_or_else(Vec::new, copy_headers);
        Some(LogRecord { offset, key, headers, value })
    }

    /// What is null is empty.
    fn copy_bytes(&mut self, bytes: Option<&[u8]>) -> Bytes {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Bytes::new() };
        if self.0.capacity() < bytes.len() {
            self.0.reserve(bytes.len().max(CHUNK_BYTES));
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

/// A foreign producer may have written any bytes, and `rdkafka` panics at a name that is not
/// UTF-8.
fn copy_headers(headers: &impl Headers) -> Vec<(String, String)> {
    let copy = |index| {
        let header = headers.get(index);
        let text = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        (header.key.to_owned(), text)
    };
    let copy_any = |index| {
        let copied = catch_unwind(AssertUnwindSafe(|| copy(index)));
        copied.unwrap_or_else(|_| (UNREADABLE.to_owned(), String::new()))
    };
    (0..headers.count()).map(copy_any).collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    /// As `rdkafka`'s own, whose second header has a name that is not UTF-8.
    struct Hostile;

    impl Headers for Hostile {
        fn count(&self) -> usize {
            3
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            let name: &[u8] = if index == 1 { b"\xff" } else { b"origin" };
            let value: Option<&[u8]> = (index > 0).then_some(b"a\xffb");
            Some(Header { key: std::str::from_utf8(name).unwrap(), value })
        }
    }

    #[test]
    fn headers_that_are_not_text_do_no_harm() {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [text("origin", ""), text(UNREADABLE, ""), text("origin", "a\u{fffd}b")];
        assert_eq!(copy_headers(&Hostile), expected);
    }

    #[test]
    fn what_is_copied_is_the_same_whatever_its_size() {
        let mut intake = Intake::default();
        let sizes = [0, 1, 100, CHUNK_BYTES - 1, 7, CHUNK_BYTES + 1, 3, 5 * CHUNK_BYTES, 0, 2];
        let source: Vec<Vec<u8>> =
            sizes.iter().zip(1_u8..).map(|(size, fill)| vec![fill; *size]).collect();
        let copies: Vec<Bytes> = source.iter().map(|b| intake.copy_bytes(Some(b))).collect();
        assert!(source.iter().zip(&copies).all(|(source, copy)| source == copy));
        assert!(intake.copy_bytes(None).is_empty());
    }
}
