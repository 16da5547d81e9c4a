//! Consents to versions of a policy.

use hyper::StatusCode;
use millrace_accounts::People;

use super::{Answer, caller, caller_and_body};
use crate::person_request::PersonRequest;
use crate::response;

pub(super) async fn set(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let (caller, body) = caller_and_body(people, &mut request).await?;
    let consent = people.set_consent(&caller, &body.bytes).await?;
    Ok(response::json(StatusCode::OK, &consent))
}

pub(super) async fn list(people: &People, request: PersonRequest<'_>) -> Answer {
    let caller = caller(people, &request).await?;
    let consents = people.consents(&caller, &request.segment()).await?;
    Ok(response::json(StatusCode::OK, &consents))
}
