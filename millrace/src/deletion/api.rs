//! The calls of the API that the commands make, with their retries.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use millrace_client::{Client, ClientError, Options};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::access::Access;
use super::job::{Job, Page};
use super::text::duration;
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
/// The longest that a server may ask for: a large job may use up a project's rate for long.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
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
    /// A repeat would erase again whoever has come back since.
    #[error(
        "it may have been accepted already, and this key may not ask: it lacks the scope `read`. \
         Use a key with `delete` and `read`; or begin anew, which erases all of the list again"
    )]
    MayNotAsk,
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
                " Submitting takes a key with the scope `delete`, all else (following, too) one with \
                 `read`: see `millrace key create --help`",
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
            Self::MayNotAsk | Self::Unexpected { .. } => false,
        }
    }

    /// Whether the server may have done what it was asked for, and the answer was lost.
    fn lost_the_answer(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => {
                matches!(source, ClientError::TimedOut { .. } | ClientError::Protocol(_))
            }
            Self::Refused(refusal) => matches!(refusal.status.as_u16(), 502 | 504),
            _ => false,
        }
    }

    /// How long the server asks to wait.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after.map(|asked| asked.min(RETRY_AFTER_MAX)),
            _ => None,
        }
    }

    /// How long to wait before the next try; `own`: without what the server says, `None` if the
    /// patience is over.
    fn pause(&self, own: Option<Duration>) -> Option<Duration> {
        match (own, self.retry_after()) {
            // It is there, and says when the rate allows more.
            (None, Some(asked)) if self.status() == Some(StatusCode::TOO_MANY_REQUESTS) => {
                Some(asked.max(DELAY_MAX))
            }
            (own, asked) => own.map(|own| own.max(asked.unwrap_or_default())),
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
    /// When it was called first.
    started: OnceLock<Instant>,
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
        let (started, reached) = (OnceLock::new(), AtomicBool::new(false));
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
    /// The server refuses it, or stays away; or nobody may say whether it is known.
    pub(super) async fn submit(
        &self,
        submission: &Submission,
        doubtful: bool,
    ) -> Result<Uuid, CallError> {
        let (tried, lost) = (AtomicBool::new(doubtful), AtomicBool::new(doubtful));
        let submit = || async {
            if tried.swap(true, Ordering::Relaxed) {
                match self.knows(submission.job).await {
                    Ok(true) => return Ok(submission.job),
                    Ok(false) => {}
                    // The server itself asked for it to be sent again.
                    Err(CallError::MayNotAsk) if !lost.load(Ordering::Relaxed) => {}
                    Err(error) => return Err(error),
                }
            }
            self.post(submission).await.inspect_err(|error| {
                lost.fetch_or(error.lost_the_answer(), Ordering::Relaxed);
            })
        };
        self.retried(submit).await
    }

    /// Whether a job is known.
    async fn knows(&self, job: Uuid) -> Result<bool, CallError> {
        match self.get_once(&self.of_project(&format!("{JOBS}/{job}"))).await {
            Ok(_) => Ok(true),
            Err(error) => match error.status() {
                Some(StatusCode::NOT_FOUND) => Ok(false),
                Some(StatusCode::FORBIDDEN) => Err(CallError::MayNotAsk),
                _ => Err(error),
            },
        }
    }

    /// Whether the key may ask for jobs.
    ///
    /// # Errors
    /// The server refuses it otherwise, or stays away.
    pub(super) async fn may_read(&self) -> Result<bool, CallError> {
        match self.jobs(None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => Ok(false),
            Err(error) => Err(error),
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
        let started = *self.started.get_or_init(Instant::now);
        let mut said = false;
        call.retry(backoff)
            .when(|error| {
                let reached = self.reached.load(Ordering::Relaxed);
                error.may_pass() && (reached || started.elapsed() < FIRST_PATIENCE)
            })
            .adjust(CallError::pause)
            .notify(|error, pause| {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "trying again");
                }
                if error.retry_after().is_some_and(|asked| asked > DELAY_MAX) {
                    super::say(&format!("The server asks to wait: {}.", duration(pause)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: StatusCode, retry_after_s: u64) -> CallError {
        let retry_after = Some(Duration::from_secs(retry_after_s));
        let (message, errors) = (String::new(), Vec::new());
        CallError::Refused(Refusal { status, message, errors, retry_after })
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_asks_up_to_an_hour() {
        let own = Some(Duration::from_secs(7));
        let pause = |asked| refused(StatusCode::TOO_MANY_REQUESTS, asked).pause(own);
        assert_eq!(
            [1, 1_000, 9_999].map(pause),
            [7, 1_000, 3_600].map(|s| Some(Duration::from_secs(s)))
        );
    }

    #[test]
    fn patience_does_not_end_while_the_server_says_when_its_rate_allows_more() {
        let pause = |status| refused(status, 1_000).pause(None);
        assert_eq!(pause(StatusCode::TOO_MANY_REQUESTS), Some(Duration::from_secs(1_000)));
        assert_eq!(pause(StatusCode::SERVICE_UNAVAILABLE), None);
        assert_eq!(refused(StatusCode::TOO_MANY_REQUESTS, 0).pause(None), Some(DELAY_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_patience_counts_from_the_first_call() {
        let api = super::super::stub::api("http://127.0.0.1:1");
        tokio::time::advance(FIRST_PATIENCE * 10).await;
        let since = Instant::now();
        api.jobs(None).await.unwrap_err();
        assert!(since.elapsed() >= FIRST_PATIENCE, "{:?}", since.elapsed());
    }
}
