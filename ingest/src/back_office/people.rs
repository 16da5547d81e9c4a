//! Making, changing and listing the people of the back office.

use hyper::StatusCode;
use millrace_accounts::BackOffice;

use super::{Answer, caller, caller_and_body, framed};
use crate::person_request::PersonRequest;
use crate::response;

pub(super) async fn create(office: &BackOffice, mut request: PersonRequest<'_>) -> Answer {
    let (caller, body) = caller_and_body(office, &mut request).await?;
    let person = office.create_audit_user(&caller, &body.bytes).await?;
    Ok(framed(StatusCode::CREATED, &person))
}

pub(super) async fn update(office: &BackOffice, mut request: PersonRequest<'_>) -> Answer {
    let (caller, body) = caller_and_body(office, &mut request).await?;
    let person = office.update_audit_user(&caller, &request.segment(), &body.bytes).await?;
    Ok(framed(StatusCode::OK, &person))
}

pub(super) async fn list(office: &BackOffice, request: PersonRequest<'_>) -> Answer {
    let caller = caller(office, &request).await?;
    let page = office.list(&caller, &request.query()).await?;
    Ok(response::json(StatusCode::OK, &page))
}
