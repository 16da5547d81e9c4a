//! The routes of the accounts API. What a call takes, who may make it and what it does is known to
//! [`People`] alone: here bodies go in as they came, and answers get their status.

use millrace_accounts::{Caller, People, PeopleError};

use crate::body::Admitted;
use crate::person_request::PersonRequest;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::Route;

mod consents;
mod mails;
mod session;
mod users;

/// What a call gets.
type Answer = Result<Response, Refusal>;

/// Answers a call of the accounts API.
///
/// # Errors
/// Everything but success; 501 where nobody signs in.
pub(crate) async fn answer(request: PersonRequest<'_>) -> Answer {
    let identity = request.identity().ok_or(PeopleError::NotConfigured("the accounts API"))?;
    let people = &identity.people;
    match request.route() {
        Route::Register => session::register(people, request).await,
        Route::Login => session::login(people, request).await,
        Route::Logout => session::logout(people, request).await,
        Route::Google => session::google(people, request).await,
        Route::ForgotPassword => mails::forgot_password(people, request).await,
        Route::ResetPassword => mails::reset_password(people, request).await,
        Route::RequestVerify => mails::request_verify(people, request).await,
        Route::Verify => mails::verify(people, request).await,
        Route::SetConsent => consents::set(people, request).await,
        Route::Consents => consents::list(people, request).await,
        Route::UpdateBudget => users::update_budget(people, request).await,
        Route::UpdateInfo => users::update_info(people, request).await,
        Route::Users => users::list(people, request).await,
        Route::DeleteUser => users::delete(people, request).await,
        Route::AuditLog => users::logs(people, request).await,
        _ => users::me(people, request).await,
    }
}

/// Who calls, and the body. A stranger's is not read; and who was good when it began to come may be
/// so no more when it is there.
async fn caller_and_body(
    people: &People,
    request: &mut PersonRequest<'_>,
) -> Result<(Caller, Admitted), Refusal> {
    caller(people, request).await?;
    let body = request.body().await?;
    Ok((caller(people, request).await?, body))
}

/// Who calls.
async fn caller(people: &People, request: &PersonRequest<'_>) -> Result<Caller, PeopleError> {
    people.caller(request.bearer(), request.address()).await
}
