//! The routes of the back-office API. What a call takes, who may make it and what it does is known
//! to [`BackOffice`] alone: here bodies go in as they came, and answers get their status and frame.

use hyper::StatusCode;
use millrace_accounts::{BackOffice, BackOfficeCaller, BackOfficeError};
use serde::Serialize;

use crate::body::Admitted;
use crate::person_request::PersonRequest;
use crate::refusal::Refusal;
use crate::response::{self, Response};
use crate::route::Route;

mod people;
mod session;

/// The header that carries the session token.
const X_SESSION_TOKEN: &str = "x-session-token";

/// What a call gets.
type Answer = Result<Response, Refusal>;

/// The frame of most answers.
#[derive(Serialize)]
struct Framed<'a, T> {
    data: &'a T,
}

/// Answers a call of the back-office API.
///
/// # Errors
/// Everything but success; 501 where nobody signs in.
pub(crate) async fn answer(request: PersonRequest<'_>) -> Answer {
    let identity = request.identity().ok_or(BackOfficeError::NotConfigured)?;
    let office = &identity.back_office;
    match request.route() {
        Route::Bootstrap => session::bootstrap(office, request).await,
        Route::BackOfficeLogin => session::login(office, request).await,
        Route::BackOfficeRefresh => session::refresh(office, request).await,
        Route::CreateAuditUser => people::create(office, request).await,
        Route::UpdateAuditUser => people::update(office, request).await,
        _ => people::list(office, request).await,
    }
}

/// Who calls, and the body. A stranger's is not read; and who was good when it began to come may be
/// so no more when it is there.
async fn caller_and_body(
    office: &BackOffice,
    request: &mut PersonRequest<'_>,
) -> Result<(BackOfficeCaller, Admitted), Refusal> {
    caller(office, request).await?;
    let body = json_body(request).await?;
    Ok((caller(office, request).await?, body))
}

/// Who calls.
async fn caller(
    office: &BackOffice,
    request: &PersonRequest<'_>,
) -> Result<BackOfficeCaller, BackOfficeError> {
    office.caller(request.bearer(), request.header(X_SESSION_TOKEN), request.address()).await
}

/// The body, which must say that it is JSON.
async fn json_body(request: &mut PersonRequest<'_>) -> Result<Admitted, Refusal> {
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(response::JSON) {
        return Err(Refusal::NotJson);
    }
    Ok(request.body().await?)
}

fn framed<T: Serialize>(status: StatusCode, data: &T) -> Response {
    response::json(status, &Framed { data })
}
