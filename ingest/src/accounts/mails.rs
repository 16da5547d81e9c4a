//! Setting a new password and verifying an address, both by a token that comes by mail.

use hyper::StatusCode;
use millrace_accounts::People;

use super::Answer;
use crate::person_request::PersonRequest;
use crate::response;

pub(super) async fn forgot_password(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    people.forgot_password(&body.bytes, request.address()).await?;
    Ok(response::null(StatusCode::ACCEPTED))
}

pub(super) async fn reset_password(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    people.reset_password(&body.bytes, request.address()).await?;
    Ok(response::null(StatusCode::OK))
}

pub(super) async fn request_verify(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    people.request_verify(&body.bytes, request.address()).await?;
    Ok(response::null(StatusCode::ACCEPTED))
}

pub(super) async fn verify(people: &People, mut request: PersonRequest<'_>) -> Answer {
    let body = request.body().await?;
    let user = people.verify(&body.bytes).await?;
    Ok(response::json(StatusCode::OK, &user))
}
