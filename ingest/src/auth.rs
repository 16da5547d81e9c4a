//! Whose key it is, whether it may, and for which project. Must not know what the call does.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use millrace_accounts::{Principal, Scope, Verifier};
use millrace_schema::error::ErrorCode;

use crate::error::{ApiError, Refused, scope_name};
use crate::query::Query;

/// The query parameter that names the project.
const PROJECT_ID: &str = "project_id";

/// Checks the key of a call: first whether it is good, then whether it suffices.
///
/// # Errors
/// 503 while no key can be checked; 401 if the key is not good, or not for the project that the
/// query names, if it does; 403 if it lacks the scope.
pub(crate) fn authorize(
    verifier: &Verifier,
    headers: &HeaderMap,
    query: Query<'_>,
    scope: Scope,
    now_us: i64,
) -> Result<Arc<Principal>, ApiError> {
    let token = bearer(headers).ok_or(ApiError::Unauthorized(Refused::Missing))?;
    let principal = verifier.verify(token, now_us)?;
    if project_of(query).is_some_and(|id| id != principal.project) {
        return Err(ApiError::Unauthorized(Refused::OtherProject));
    }
    if !principal.allows(scope) {
        return Err(ApiError::Forbidden(scope_name(scope)));
    }
    Ok(principal)
}

/// Checks that the query names a project.
///
/// # Errors
/// 400.
pub(crate) fn must_name_project(query: Query<'_>) -> Result<(), ApiError> {
    if project_of(query).is_some() {
        return Ok(());
    }
    let message = "the query parameter `project_id` is required: the ID of the project";
    Err(ApiError::request(ErrorCode::MissingField, Some(PROJECT_ID), message))
}

fn project_of(query: Query<'_>) -> Option<Cow<'_, str>> {
    query.get(PROJECT_ID).filter(|id| !id.is_empty())
}

/// The token of `Authorization: Bearer {token}` (RFC 6750; the scheme in any case).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn bearer_of(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn only_the_bearer_scheme_with_a_token_is_a_key() {
        assert_eq!(bearer_of("Bearer abc").unwrap(), "abc");
        assert_eq!(bearer_of("bearer  abc ").unwrap(), "abc");
        for refused in ["", "abc", "Bearer", "Bearer ", "Basic abc", "Bearerabc"] {
            assert_eq!(bearer_of(refused), None, "{refused:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
