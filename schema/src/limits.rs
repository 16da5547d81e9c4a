//! Every limit, in one place. A message that refuses something names the limit's number.

/// Configurable limits on what one request may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one body, on the wire and after decompression alike.
    pub body_bytes: usize,
    /// Bytes of one item, as sent.
    pub item_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 10 * 1024 * 1024, item_bytes: 64 * 1024 }
    }
}

/// Items of one call of `profiles`, `events` or `devices`.
pub const ITEMS_PER_CALL: usize = 1_000;
/// Ids of one bulk deletion.
pub const USER_IDS_PER_CALL: usize = 100_000;
/// Nesting of arrays and objects in one item.
pub const JSON_DEPTH: usize = 32;
/// Bytes of a `user_id`.
pub const USER_ID_BYTES: usize = 256;
/// User ids that begin so are ours; no client may name one.
pub const RESERVED_USER_ID_PREFIX: &str = "ad_log:";
/// Bytes of an event's `name`.
pub const NAME_BYTES: usize = 256;
/// Bytes of an event's `id`.
pub const ID_BYTES: usize = 128;
/// Bytes of a `device_id`.
pub const DEVICE_ID_BYTES: usize = 256;
/// Characters of a `platform`.
pub const PLATFORM_CHARS: usize = 32;
/// Bytes of a project's id.
pub const PROJECT_ID_BYTES: usize = 128;
/// Bytes that are kept of a log call's body that can be no event. Twice as many, and the rest of
/// the record, fit the smallest message limit of a topic, 1 MiB.
pub const REFUSED_BODY_BYTES: usize = 480 * 1024;
/// Bytes of an `Idempotency-Key` header.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// Bytes of an `X-Request-Id` header that is taken over from the caller.
pub const REQUEST_ID_BYTES: usize = 128;
/// Errors listed in one answer; `total` counts the rest.
pub const ERRORS_LISTED: usize = 100;
/// How far in the future a timestamp may lie, microseconds (24 h).
pub const FUTURE_US: i64 = 24 * 3600 * 1_000_000;
/// The earliest timestamp, microseconds since 1970 (1971-01-01T00:00:00Z).
pub const EARLIEST_US: i64 = 31_536_000_000_000;
/// Events of one page of the read-back.
pub const EVENTS_PER_PAGE: usize = 1_000;
/// How long an event is kept after its receipt, microseconds (395 days).
pub const EVENT_RETENTION_US: i64 = 395 * 24 * 3600 * 1_000_000;
