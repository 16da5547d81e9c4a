//! Users and the audit log.

use hyper::StatusCode;
use millrace_accounts::People;

use super::{Answer, caller, caller_and_body};
use crate::person_request::PersonRequest;
use crate::response;

pub(super) async fn me(people: &People, request: PersonRequest<'_>) -> Answer {
    let caller = caller(people, &request).await?;
    Ok(response::json(StatusCode::OK, caller.user()))
}

pub(super) async fn update_info(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let (caller, body) = caller_and_body(people, &mut request).await?;
    let user = people.update_info(&caller, &body.bytes).await?;
    Ok(response::json(StatusCode::OK, &user))
}

pub(super) async fn update_budget(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let (caller, body) = caller_and_body(people, &mut request).await?;
    let user = people.update_budget(&caller, &body.bytes).await?;
    Ok(response::json(StatusCode::OK, &user))
}

pub(super) async fn list(people: &People, request: PersonRequest<'_>) -> Answer {
    let caller = caller(people, &request).await?;
    let users = people.users(&caller, &request.query()).await?;
    Ok(response::json(StatusCode::OK, &users))
}

pub(super) async fn delete(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let (caller, body) = caller_and_body(people, &mut request).await?;
    let user = people.delete_user(&caller, &body.bytes).await?;
    Ok(response::json(StatusCode::OK, &user))
}

pub(super) async fn logs(people: &People, request: PersonRequest<'_>) -> Answer {
    let caller = caller(people, &request).await?;
    let entries = people.logs(&caller, &request.query()).await?;
    Ok(response::json(StatusCode::OK, &entries))
}
