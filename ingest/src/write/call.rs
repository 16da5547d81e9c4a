//! What the head of a writing call asks for.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use millrace_accounts::Principal;
use millrace_schema::error::{ErrorCode, ItemErrors};
use millrace_schema::limits::{IDEMPOTENCY_KEY_BYTES, Limits};
use millrace_schema::parse::{Format, Parsed};

use crate::context::Context;
use crate::decode::Encoding;
use crate::error::ApiError;
use crate::route::Route;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const PREFER: &str = "prefer";

/// A writing call, but for its body.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) route: Route,
    principal: Arc<Principal>,
    pub(super) format: Format,
    pub(super) encoding: Encoding,
    /// Good items are accepted although others are bad.
    pub(super) lenient: bool,
    idempotency_key: Option<HeaderValue>,
}

impl Call {
    /// Reads the head.
    ///
    /// # Errors
    /// 415 for an unknown encoding, 400 for an unusable `Idempotency-Key`.
    pub(super) fn new(
        route: Route,
        headers: &HeaderMap,
        principal: Arc<Principal>,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            route,
            principal,
            format: format_of(headers),
            encoding: Encoding::of(headers)?,
            lenient: is_lenient(headers),
            idempotency_key: match route {
                // Nothing that is wrong there is told, and nothing is lost for it.
                Route::AdLog | Route::Activity => idempotency_key(headers).unwrap_or(None),
                _ => idempotency_key(headers)?,
            },
        })
    }

    pub(super) fn project(&self) -> &str {
        &self.principal.project
    }

    pub(super) fn idempotency_key(&self) -> Option<&[u8]> {
        self.idempotency_key.as_ref().map(HeaderValue::as_bytes)
    }

    /// The limit on the body, on the wire and decoded alike: that of a log call is one item.
    pub(super) fn body_bytes_max(&self, limits: &Limits) -> usize {
        match self.route {
            Route::AdLog | Route::Activity => limits.item_bytes.min(limits.body_bytes),
            _ => limits.body_bytes,
        }
    }

    /// The good items, if they may be accepted although others are bad, and what is wrong with
    /// those.
    ///
    /// # Errors
    /// 400 with all errors, unless the call is lenient.
    pub(super) fn judge<T>(
        &self,
        ctx: &Context,
        parsed: Parsed<T>,
    ) -> Result<(Vec<T>, Rejected), ApiError> {
        let Parsed { items, errors, total } = parsed;
        let bad = total.saturating_sub(items.len());
        let rejected = self.judge_errors(ctx, errors, bad, total)?;
        Ok((items, rejected))
    }

    /// As [`Call::judge`], of errors alone: `bad` of `total` items have them.
    pub(super) fn judge_errors(
        &self,
        ctx: &Context,
        errors: ItemErrors,
        bad: usize,
        total: usize,
    ) -> Result<Rejected, ApiError> {
        if self.lenient || errors.is_empty() {
            return Ok(Rejected { errors, items: bad });
        }
        ctx.metrics.of(self.route).items(0, total);
        Err(ApiError::Invalid(errors))
    }
}

/// What was not accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) errors: ItemErrors,
    pub(super) items: usize,
}

fn format_of(headers: &HeaderMap) -> Format {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| {
        let value = value.as_bytes();
        value.split(|b| *b == b';').next().map(<[u8]>::trim_ascii)
    });
    match essence {
        Some(name) if name.eq_ignore_ascii_case(b"application/x-ndjson") => Format::NdJson,
        _ => Format::Json,
    }
}

/// Whether `handling=lenient` is preferred (RFC 7240: the first `handling` counts).
fn is_lenient(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let handling = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("handling").then(|| value.trim().trim_matches('"'))
    });
    handling.take(1).any(|value| value.eq_ignore_ascii_case("lenient"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES {
        let message = format!(
            "the header Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES} bytes long, not {}",
            key.len()
        );
        return Err(ApiError::request(ErrorCode::InvalidLength, Some(IDEMPOTENCY_KEY), message));
    }
    Ok(Some(key.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_ndjson_is_read_by_lines() {
        let of = |value| format_of(&headers("content-type", &[value]));
        assert_eq!(of("application/x-ndjson"), Format::NdJson);
        assert_eq!(of("Application/X-NDJSON ; charset=utf-8"), Format::NdJson);
        assert_eq!(of("application/json"), Format::Json);
        assert_eq!(of("application/x-www-form-urlencoded"), Format::Json);
        assert_eq!(format_of(&HeaderMap::new()), Format::Json);
    }

    #[test]
    fn the_first_handling_preference_counts() {
        let lenient = |values: &[&'static str]| is_lenient(&headers("prefer", values));
        assert!(lenient(&["handling=lenient"]));
        assert!(lenient(&["respond-async, Handling = \"lenient\"; x=1"]));
        assert!(lenient(&["wait=1", "handling=lenient"]));
        assert!(!lenient(&["handling=strict, handling=lenient"]));
        assert!(!lenient(&["handling"]));
        assert!(!lenient(&["lenient"]));
        assert!(!lenient(&[]));
    }

    #[test]
    fn an_idempotency_key_has_a_limit() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(value).unwrap());
            idempotency_key(&headers)
        };
        assert!(of(&"k".repeat(IDEMPOTENCY_KEY_BYTES)).unwrap().is_some());
        assert!(of(&"k".repeat(IDEMPOTENCY_KEY_BYTES + 1)).is_err());
        assert!(of("").is_err());
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    }
}
