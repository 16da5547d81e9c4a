//! Every way in which a request is refused, and what it is on the wire: in the shape of the API
//! that was called.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use millrace_accounts::{BackOfficeError, FieldError, InvalidField, Loc, PeopleError};
use millrace_schema::error::{ErrorCode, ItemError, ItemErrors};
use serde::Serialize;

use crate::error::ApiError;
use crate::response::{self, Response};
use crate::route::Api;

/// Why a request is refused. What it displays goes to the log, so it holds no personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// By the front door.
    #[error(transparent)]
    Call(#[from] ApiError),
    /// By the accounts.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// By the back office.
    #[error(transparent)]
    BackOffice(#[from] BackOfficeError),
    /// 415 of the back office: a body that does not say that it is JSON.
    #[error("the Content-Type must be application/json")]
    NotJson,
}

/// The body of a refusal by the ingestion API.
#[derive(Serialize)]
struct IngestionBody {
    code: ErrorCode,
    message: String,
    #[serde(flatten)]
    details: ItemErrors,
}

/// The body of a refusal by the accounts API.
#[derive(Serialize)]
struct AccountsBody<T> {
    detail: T,
}

/// The body of a refusal by the back office.
#[derive(Serialize)]
struct BackOfficeBody<'f, C> {
    error: BackOfficeFault<'f, C>,
}

#[derive(Serialize)]
struct BackOfficeFault<'f, C> {
    code: C,
    message: String,
    fields: &'f [InvalidField],
}

impl Refusal {
    /// The answer to a call of an API.
    pub(crate) fn answer(&self, api: Api) -> Response {
        let status = self.status(api);
        let mut response = match self {
            Self::Call(error) => call_refused(status, error, api),
            Self::People(error) => accounts(status, &error.detail()),
            Self::BackOffice(error) => {
                back_office(status, error.code(), error.message(), error.fields())
            }
            Self::NotJson => back_office(status, "UNSUPPORTED_MEDIA_TYPE", self.to_string(), &[]),
        };
        self.put_headers(&mut response);
        response
    }

    /// The status line.
    pub(crate) fn status(&self, api: Api) -> StatusCode {
        let of = |status| StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match self {
            Self::Call(ApiError::Invalid(_)) if api == Api::Accounts => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Call(error) => error.status(),
            Self::People(error) => of(error.status()),
            Self::BackOffice(error) => of(error.status()),
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Call(error) => error.retry_after_s(),
            Self::People(error) => error.retry_after_s(),
            Self::BackOffice(error) => error.retry_after_s(),
            Self::NotJson => None,
        }
    }

    fn put_headers(&self, response: &mut Response) {
        let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if is_unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let (name, value) = match self {
            Self::Call(ApiError::MethodNotAllowed(allow)) => (ALLOW, *allow),
            Self::Call(ApiError::UnsupportedEncoding) => {
                (ACCEPT_ENCODING, "gzip, zstd, deflate, br")
            }
            // What is left of the body cannot be told from a next request.
            Self::Call(ApiError::RequestTimeout(_)) => (CONNECTION, "close"),
            Self::NotJson => (ACCEPT, response::JSON),
            _ => return,
        };
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn call_refused(status: StatusCode, error: &ApiError, api: Api) -> Response {
    let (code, message) = (error.code(), error.message());
    match (api, error) {
        (Api::Ingestion, _) => {
            response::json(status, &IngestionBody { code, message, details: error.details() })
        }
        (Api::Accounts, ApiError::Invalid(found)) => {
            let fields: Vec<FieldError> = found.errors.iter().map(field_error).collect();
            accounts(status, &fields)
        }
        (Api::Accounts, ApiError::Unauthorized(_)) => accounts(status, "Unauthorized"),
        (Api::Accounts, ApiError::Forbidden(_)) => accounts(status, "Forbidden"),
        (Api::Accounts, ApiError::NotFound(_)) => accounts(status, "Not Found"),
        (Api::Accounts, ApiError::MethodNotAllowed(_)) => accounts(status, "Method Not Allowed"),
        (Api::Accounts, ApiError::RateLimited { .. }) => accounts(status, "Too Many Requests"),
        (Api::Accounts, _) => accounts(status, &message),
        (Api::BackOffice, _) => {
            let fields: Vec<_> = error.details().errors.into_iter().map(invalid_field).collect();
            back_office(status, code, message, &fields)
        }
    }
}

fn accounts<T: Serialize + ?Sized>(status: StatusCode, detail: &T) -> Response {
    response::json(status, &AccountsBody { detail })
}

fn back_office<C: Serialize>(
    status: StatusCode,
    code: C,
    message: String,
    fields: &[InvalidField],
) -> Response {
    let error = BackOfficeFault { code, message, fields };
    response::json(status, &BackOfficeBody { error })
}

/// An error of ours as one of the accounts API.
fn field_error(error: &ItemError) -> FieldError {
    let mut loc = vec![Loc::Name(Cow::Borrowed("body"))];
    loc.extend(error.field.clone().map(|field| Loc::Name(field.into())));
    let kind = match error.code {
        ErrorCode::InvalidJson => "json_invalid",
        ErrorCode::MissingField => "missing",
        _ => "value_error",
    };
    FieldError { loc, msg: error.message.clone().into(), kind }
}

/// An error of ours as one of the back office.
fn invalid_field(error: ItemError) -> InvalidField {
    let field = error.field.unwrap_or_else(|| "body".to_owned());
    InvalidField { field, message: error.message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::error::Refused;

    async fn body(mut response: Response) -> Value {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        serde_json::from_slice(&frame.into_data().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn one_fault_has_the_shape_of_the_api_that_was_called() {
        let message = "the query parameter is missing";
        let error = ApiError::request(ErrorCode::MissingField, Some("project_id"), message);
        let listed = json!([{"field": "project_id", "code": "MISSING_FIELD", "message": message}]);
        let words = "Invalid request parameters.";
        let detail = json!([{"loc": ["body", "project_id"], "msg": message, "type": "missing"}]);
        let fields = json!([{"field": "project_id", "message": message}]);
        let ingestion =
            json!({"code": "INVALID_REQUEST", "message": words, "total": 1, "errors": listed});
        let back_office = json!({"code": "INVALID_REQUEST", "message": words, "fields": fields});
        for (api, status, expected) in [
            (Api::Ingestion, 400, ingestion),
            (Api::Accounts, 422, json!({"detail": detail})),
            (Api::BackOffice, 400, json!({"error": back_office})),
        ] {
            let answer = Refusal::from(error.clone()).answer(api);
            assert_eq!(answer.status(), status);
            assert_eq!(body(answer).await, expected);
        }
    }

    #[tokio::test]
    async fn the_accounts_say_what_is_documented_and_the_message_otherwise() {
        let second = Duration::from_secs(1);
        let rate = ApiError::RateLimited { items_per_s: 5, retry_after: second };
        let large = ApiError::BodyTooLarge { limit_bytes: 9, place: "on the wire" };
        for (error, detail) in [
            (ApiError::Unauthorized(Refused::Missing), "Unauthorized"),
            (ApiError::Forbidden("write"), "Forbidden"),
            (ApiError::NotFound("there is no such route"), "Not Found"),
            (ApiError::MethodNotAllowed("GET"), "Method Not Allowed"),
            (rate, "Too Many Requests"),
            (large, "the body is over 9 bytes on the wire; send it in smaller parts"),
            (ApiError::RequestTimeout(second), "the body did not arrive within 1000 ms"),
            (ApiError::Unavailable("try again"), "try again"),
        ] {
            let status = error.status();
            let answer = Refusal::from(error).answer(Api::Accounts);
            assert_eq!(answer.status(), status);
            assert_eq!(body(answer).await, json!({"detail": detail}));
        }
    }

    #[test]
    fn headers_say_what_to_do_next() {
        let late = ApiError::RequestTimeout(Duration::from_secs(1));
        let wait = Duration::from_millis(1_500);
        let table: [(Refusal, _, &str); 9] = [
            (ApiError::MethodNotAllowed("GET, HEAD").into(), ALLOW, "GET, HEAD"),
            (ApiError::Unavailable("later").into(), RETRY_AFTER, "1"),
            (ApiError::Unauthorized(Refused::Missing).into(), WWW_AUTHENTICATE, "Bearer"),
            (ApiError::UnsupportedEncoding.into(), ACCEPT_ENCODING, "gzip, zstd, deflate, br"),
            (late.into(), CONNECTION, "close"),
            (PeopleError::Unauthorized.into(), WWW_AUTHENTICATE, "Bearer"),
            (PeopleError::TooManyRequests(wait).into(), RETRY_AFTER, "2"),
            (BackOfficeError::TooManyRequests(wait).into(), RETRY_AFTER, "2"),
            (Refusal::NotJson, ACCEPT, "application/json"),
        ];
        for (refusal, name, value) in table {
            for api in [Api::Ingestion, Api::Accounts, Api::BackOffice] {
                assert_eq!(refusal.answer(api).headers()[&name], value, "{refusal:?}");
            }
        }
    }

    #[test]
    fn what_goes_to_the_log_holds_nothing_of_the_request() {
        let loc = vec![Loc::Name("kim@example.com".into())];
        let field = FieldError { loc, msg: "kim@example.com".into(), kind: "value_error" };
        let fields = vec![field.clone()];
        let item = ApiError::request(ErrorCode::InvalidValue, Some("kim@example.com"), "kim@");
        for refusal in [
            Refusal::from(PeopleError::Invalid(fields)),
            BackOfficeError::Invalid(vec![field.into()]).into(),
            item.into(),
        ] {
            assert!(!refusal.to_string().contains("kim@"), "{refusal}");
        }
    }
}
