//! The calls of the API that the commands make, with their retries.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use millrace_client::{Client, ClientError, Options};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::access::Access;
use super::job::{Job, Page};
use crate::cli::ServerOptions;

const JOBS: &str = "/v1/api/profile/user/deletion-job";
const JWKS: &str = "/.well-known/jwks.json";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A job of 100,000 users may wait for many appends.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A page of jobs, or a receipt with its fences, is far smaller.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const DELAY_MIN: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(10);
/// The longest that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How long a server that answered before may be away.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long one that never answered may be: its address may be wrong.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// Errors of an answer that are repeated.
const ERRORS_LISTED_MAX: usize = 5;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{server}: {source}")]
    NoAnswer { server: String, source: ClientError },
    #[error("{0}")]
    Refused(Refusal),
    #[error("{server} answered {what}; is it of another version, or something else?")]
    Unexpected { server: String, what: String },
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    message: String,
    pub(super) errors: Vec<ItemError>,
    retry_after: Option<Duration>,
}

/// What is wrong with one item of a call.
#[derive(Debug, Deserialize)]
pub(super) struct ItemError {
    pub(super) index: Option<usize>,
    pub(super) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.message)?;
        for error in self.errors.iter().take(ERRORS_LISTED_MAX) {
            write!(f, " {}.", error.message)?;
        }
        match self.status {
            StatusCode::UNAUTHORIZED => {
                f.write_str(" Check --key (MILLRACE_API_KEY) and --project (MILLRACE_PROJECT)")
            }
            StatusCode::FORBIDDEN => f.write_str(
                " Submitting takes a key with the scope `delete`, all else one with `read`: see \
                 `millrace key create --help`",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => f.write_str(" Try a smaller --ids-per-job"),
            _ => Ok(()),
        }
    }
}

impl CallError {
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => matches!(
                source,
                ClientError::Resolve { .. }
                    | ClientError::Connect { .. }
                    | ClientError::TimedOut { .. }
                    | ClientError::Protocol(_)
            ),
            Self::Refused(refusal) => {
                matches!(refusal.status.as_u16(), 408 | 429 | 502 | 503 | 504)
            }
            Self::Unexpected { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

/// A call that makes a job.
pub(super) struct Submission {
    /// What the server will call the job.
    pub(super) job: Uuid,
    pub(super) key: String,
    pub(super) body: Bytes,
}

/// A server.
pub(super) struct Api {
    client: Client,
    server: String,
    access: Option<Access>,
    started: Instant,
    /// It answered once.
    reached: AtomicBool,
}

impl Api {
    /// A server; without access, for what anybody may ask.
    ///
    /// # Errors
    /// The CA certificates cannot be read.
    pub(super) fn new(options: &ServerOptions, access: Option<Access>) -> Result<Self> {
        let client = Client::new(Options {
            timeout: CALL_TIMEOUT,
            body_bytes_max: ANSWER_BYTES_MAX,
            roots: options.ca.clone(),
            ..Options::default()
        })?;
        let server = options.server.as_str().to_owned();
        let (started, reached) = (Instant::now(), AtomicBool::new(false));
        Ok(Self { client, server, access, started, reached })
    }

    pub(super) fn project(&self) -> &str {
        self.access.as_ref().map_or("", |access| &access.project)
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Makes a job, unless it is known already. If the first try is `doubtful`, it may be.
    ///
    /// # Errors
    /// The server refuses it, or stays away.
    pub(super) async fn submit(
        &self,
        submission: &Submission,
        doubtful: bool,
    ) -> Result<Uuid, CallError> {
        let doubtful = AtomicBool::new(doubtful);
        let submit = || async {
            if doubtful.swap(true, Ordering::Relaxed) && self.knows(submission.job).await? {
                return Ok(submission.job);
            }
            self.post(submission).await
        };
        self.retried(submit).await
    }

    /// Whether a job is known; as far as the key may ask.
    async fn knows(&self, job: Uuid) -> Result<bool, CallError> {
        match self.get_once(&self.of_project(&format!("{JOBS}/{job}"))).await {
            Ok(_) => Ok(true),
            Err(error) => match error.status() {
                Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) => Ok(false),
                _ => Err(error),
            },
        }
    }

    async fn post(&self, submission: &Submission) -> Result<Uuid, CallError> {
        let url = self.of_project(&format!("{JOBS}/bulk"));
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, &submission.key);
        let answer = self.call(request, submission.body.clone()).await?;
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let segment = location.and_then(|at| at.split('?').next()?.rsplit('/').next());
        let job = segment.and_then(|segment| segment.parse().ok());
        job.ok_or_else(|| self.unexpected("no `Location` of a job"))
    }

    /// A job; `None` while it is not known.
    ///
    /// # Errors
    /// The server refuses, or stays away.
    pub(super) async fn job(&self, job: Uuid) -> Result<Option<(String, Job)>, CallError> {
        let url = self.of_project(&format!("{JOBS}/{job}"));
        match self.get(&url).await {
            Ok(text) => self.parsed(&text).map(|job| Some((text, job))),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of jobs, as it was sent and as it is meant.
    ///
    /// # Errors
    /// The server refuses, or stays away.
    pub(super) async fn jobs(&self, cursor: Option<&str>) -> Result<(String, Page), CallError> {
        let mut url = self.of_project(JOBS);
        if let Some(cursor) = cursor {
            url.push_str("&cursor=");
            url.push_str(&encoded(cursor));
        }
        let text = self.get(&url).await?;
        self.parsed(&text).map(|page| (text, page))
    }

    /// The token of a job's receipt.
    ///
    /// # Errors
    /// There is none (yet), or the server stays away.
    pub(super) async fn receipt(&self, job: Uuid) -> Result<String, CallError> {
        let token = self.get(&self.of_project(&format!("{JOBS}/{job}/receipt"))).await?;
        Ok(token.trim().to_owned())
    }

    /// The public keys: those of this server, or at another URL.
    ///
    /// # Errors
    /// They cannot be had.
    pub(super) async fn jwks(&self, url: Option<&str>) -> Result<String, CallError> {
        let own = || format!("{}{JWKS}", self.server);
        self.get_anonymously(&url.map_or_else(own, str::to_owned)).await
    }

    async fn get(&self, url: &str) -> Result<String, CallError> {
        self.retried(|| self.get_once(url)).await
    }

    async fn get_once(&self, url: &str) -> Result<String, CallError> {
        let answer = self.call(Request::get(url), Bytes::new()).await?;
        self.text(answer)
    }

    /// Without the key, which is for this server alone.
    async fn get_anonymously(&self, url: &str) -> Result<String, CallError> {
        let get = || async {
            let answer = self.exchange(Request::get(url), Bytes::new()).await?;
            self.text(answer)
        };
        self.retried(get).await
    }

    /// One call with the key.
    async fn call(
        &self,
        mut request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        if let Some(access) = &self.access {
            let value = HeaderValue::try_from(format!("Bearer {}", access.key.0));
            let mut value = value.map_err(|_| self.unusable_key())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        self.exchange(request, body).await
    }

    async fn exchange(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let server = origin(request.uri_ref());
        let no_answer = |source| CallError::NoAnswer { server: server.clone(), source };
        let unusable = |_| no_answer(ClientError::Url("cannot be called"));
        let request = request.body(body).map_err(unusable)?;
        let answer = self.client.call(request).await.map_err(no_answer)?;
        self.reached.store(true, Ordering::Relaxed);
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(CallError::Refused(refusal(&answer)))
        }
    }

    /// Tries until it succeeds, or fails for good.
    async fn retried<T, F>(&self, call: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(DELAY_MIN)
            .with_max_delay(DELAY_MAX)
            .without_max_times()
            .with_total_delay(Some(PATIENCE))
            .with_jitter();
        let mut said = false;
        call.retry(backoff)
            .when(|error| {
                let first = self.reached.load(Ordering::Relaxed);
                error.may_pass() && (first || self.started.elapsed() < FIRST_PATIENCE)
            })
            .adjust(|error, delay| {
                let asked = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
                delay.map(|delay| delay.max(asked))
            })
            .notify(|error, _| {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "trying again");
                }
            })
            .await
    }

    fn of_project(&self, path: &str) -> String {
        format!("{}{path}?project_id={}", self.server, encoded(self.project()))
    }

    fn text(&self, answer: Response<Bytes>) -> Result<String, CallError> {
        let text = String::from_utf8(answer.into_body().into());
        text.map_err(|_| self.unexpected("what is not text"))
    }

    fn parsed<T: DeserializeOwned>(&self, text: &str) -> Result<T, CallError> {
        serde_json::from_str(text).map_err(|error| self.unexpected(&error.to_string()))
    }

    fn unexpected(&self, what: &str) -> CallError {
        CallError::Unexpected { server: self.server.clone(), what: what.to_owned() }
    }

    fn unusable_key(&self) -> CallError {
        CallError::NoAnswer {
            server: self.server.clone(),
            source: ClientError::Url("cannot be called with this key: it is no header's value"),
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The scheme, host and port of a URL.
fn origin(url: Option<&Uri>) -> String {
    let scheme = url.and_then(Uri::scheme_str).unwrap_or_default();
    let host = url.and_then(Uri::authority).map(|host| host.as_str()).unwrap_or_default();
    format!("{scheme}://{host}")
}

fn refusal(answer: &Response<Bytes>) -> Refusal {
    #[derive(Default, Deserialize)]
    struct Body {
        message: String,
        #[serde(default)]
        errors: Vec<ItemError>,
    }
    let status = answer.status();
    let body: Body = serde_json::from_slice(answer.body()).unwrap_or_default();
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = after.and_then(|value| value.parse().ok());
    Refusal {
        status,
        message: body.message,
        errors: body.errors,
        retry_after: seconds.map(Duration::from_secs),
    }
}
