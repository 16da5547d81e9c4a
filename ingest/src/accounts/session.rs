//! Registering, signing in and out.

use hyper::StatusCode;
use millrace_accounts::People;

use super::{Answer, caller};
use crate::person_request::PersonRequest;
use crate::response;

pub(super) async fn register(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    let user = people.register(request.bearer(), &body.bytes, request.address()).await?;
    Ok(response::json(StatusCode::CREATED, &user))
}

pub(super) async fn login(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    let token = people.login(&body.bytes, request.address()).await?;
    Ok(response::json(StatusCode::OK, &token))
}

pub(super) async fn logout(people: &People, request: PersonRequest<'_>) -> Answer {
    people.logout(&caller(people, &request).await?).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn google(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    let token = people.google(&body.bytes, request.address()).await?;
    Ok(response::json(StatusCode::OK, &token))
}
