//! The first person, signing in, staying signed in: calls for which nobody is signed in yet, so a
//! token in their head is ignored.

use hyper::StatusCode;
use millrace_accounts::BackOffice;

use super::{Answer, framed, json_body};
use crate::person_request::PersonRequest;
use crate::response;

pub(super) async fn bootstrap(office: &BackOffice, mut request: PersonRequest<'_>) -> Answer {
    let body = json_body(&mut request).await?;
    let person = office.bootstrap(&body.bytes, request.address()).await?;
    Ok(framed(StatusCode::CREATED, &person))
}

pub(super) async fn login(office: &BackOffice, mut request: PersonRequest<'_>) -> Answer {
    let body = json_body(&mut request).await?;
    let tokens = office.login(&body.bytes, request.address()).await?;
    Ok(framed(StatusCode::OK, &tokens))
}

/// The one answer without the frame.
pub(super) async fn refresh(office: &BackOffice, mut request: PersonRequest<'_>) -> Answer {
    let body = json_body(&mut request).await?;
    let tokens = office.refresh(&body.bytes).await?;
    Ok(response::json(StatusCode::CREATED, &tokens))
}
