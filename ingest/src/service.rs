//! One request: route, key, work, answer. Must not know how bytes travel.

use std::sync::Arc;
use std::time::Instant;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, EXPECT, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use millrace_accounts::Scope;
use millrace_schema::time::wall_clock_us;

use crate::context::{Context, Counted};
use crate::error::ApiError;
use crate::person_request::PersonRequest;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::request_id::X_REQUEST_ID;
use crate::response::Response;
use crate::route::{self, Api, Match, Route};
use crate::{accounts, auth, back_office, body, health, read, write};

const REQUEST_ID: HeaderName = HeaderName::from_static(X_REQUEST_ID);

/// Answers a request of a client.
pub(crate) async fn serve(ctx: Arc<Context>, request: Request<Incoming>) -> Response {
    let started = Instant::now();
    let _counted = Counted::new(&ctx.in_flight);
    let (head, mut body) = request.into_parts();
    let found = route::find(&head.method, head.uri.path());
    let route = found.as_ref().map_or(Route::Unmatched, |found| found.route);
    let answer = match found {
        Ok(found) => answer(&ctx, found, &head, &mut body).await,
        Err(error) => Err(error.into()),
    };
    let request_id = ctx.request_ids.of(&head.headers);
    let api = Api::of(head.uri.path());
    let mut response = answer.unwrap_or_else(|why| refuse(api, route, why, &request_id));
    if !body.is_end_stream() {
        leave_unread(&head, body, &mut response);
    }
    tracing::debug!(
        request_id = %text(&request_id),
        route = route.label(),
        status = response.status().as_u16(),
        "answered"
    );
    response.headers_mut().insert(REQUEST_ID, request_id);
    ctx.metrics.of(route).answered(response.status(), started.elapsed());
    response
}

async fn answer(
    ctx: &Arc<Context>,
    found: Match<'_>,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Response, Refusal> {
    if let Some(scope) = found.route.scope() {
        return Ok(answer_to_key(ctx, found, scope, head, body).await?);
    }
    match Api::of(head.uri.path()) {
        Api::Ingestion => Ok(open_answer(ctx, found.route).await?),
        Api::Accounts => accounts::answer(PersonRequest::new(ctx, found, head, body)).await,
        Api::BackOffice => back_office::answer(PersonRequest::new(ctx, found, head, body)).await,
    }
}

/// What is answered to an API key.
async fn answer_to_key(
    ctx: &Arc<Context>,
    found: Match<'_>,
    scope: Scope,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Response, ApiError> {
    let Match { route, segment } = found;
    let query = Query::of(&head.uri);
    let verifier = &ctx.parts.verifier;
    let principal = auth::authorize(verifier, &head.headers, query, scope, wall_clock_us())?;
    // Of the log calls the key alone names the project.
    if !matches!(route, Route::AdLog | Route::Activity) {
        auth::must_name_project(query)?;
    }
    if scope != Scope::Read {
        return write::answer(ctx, route, head, body, principal).await;
    }
    let project = principal.project.as_str();
    match route {
        Route::User => read::profile(ctx, project, segment).await,
        Route::UserDevices => read::devices(ctx, project, segment).await,
        Route::UserEvents => read::events(ctx, project, segment, query).await,
        Route::Job => read::job(ctx, project, segment).await,
        Route::Receipt => read::receipt(ctx, project, segment).await,
        Route::Jobs => read::jobs(ctx, project, query).await,
        _ => read::accounting(ctx, project).await,
    }
}

/// What is answered to anybody.
async fn open_answer(ctx: &Context, route: Route) -> Result<Response, ApiError> {
    match route {
        Route::Health => Ok(health::alive()),
        Route::Ready => Ok(health::ready(ctx)),
        Route::Jwks => read::jwks(ctx).await,
        _ => Ok(read::openapi()),
    }
}

fn refuse(api: Api, route: Route, refusal: Refusal, request_id: &HeaderValue) -> Response {
    let refusal = match (route, refusal) {
        (Route::BulkDeletion, Refusal::Call(ApiError::Invalid(errors))) => {
            ApiError::InvalidDeletion(errors).into()
        }
        (_, refusal) => refusal,
    };
    let status = refusal.status(api);
    let (request_id, route, code) = (text(request_id), route.label(), status.as_u16());
    if status.is_server_error() {
        tracing::warn!(%request_id, route, status = code, error = %refusal, "refused");
    } else {
        tracing::info!(%request_id, route, status = code, error = %refusal, "refused");
    }
    refusal.answer(api)
}

/// Sees to it that the client can read an answer that comes before its body was read: a connection
/// that is closed on unread bytes is reset.
fn leave_unread(head: &Parts, rest: Incoming, response: &mut Response) {
    if response.headers().contains_key(CONNECTION) {
        return;
    }
    // Whoever waits for `100 Continue` may send no body after a refusal, but a next request.
    if head.headers.contains_key(EXPECT) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    tokio::spawn(body::drain(rest));
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("-")
}
