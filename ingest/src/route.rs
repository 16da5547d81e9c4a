//! Which call a method and a path mean.

use hyper::Method;
use millrace_accounts::Scope;

use crate::error::ApiError;

/// A call. The names are the values of the metrics' `route` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    Events,
    Profiles,
    Devices,
    Deletion,
    BulkDeletion,
    User,
    UserDevices,
    UserEvents,
    Job,
    Receipt,
    Jobs,
    Accounting,
    Jwks,
    Health,
    Ready,
    OpenApi,
    Unmatched,
}

/// A route, and the percent-encoded part of the path that is its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match<'p> {
    pub(crate) route: Route,
    /// `{user_id}` or `{job_id}`; empty where the route has none.
    pub(crate) segment: &'p str,
}

const GET: &str = "GET, HEAD";
const POST: &str = "POST";
const GET_AND_POST: &str = "GET, HEAD, POST";
const NO_ROUTE: &str = "there is no such route";

impl Route {
    /// Every route.
    pub(crate) const ALL: [Self; 17] = [
        Self::Events,
        Self::Profiles,
        Self::Devices,
        Self::Deletion,
        Self::BulkDeletion,
        Self::User,
        Self::UserDevices,
        Self::UserEvents,
        Self::Job,
        Self::Receipt,
        Self::Jobs,
        Self::Accounting,
        Self::Jwks,
        Self::Health,
        Self::Ready,
        Self::OpenApi,
        Self::Unmatched,
    ];

    /// The value of the metrics' label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Profiles => "profiles",
            Self::Devices => "devices",
            Self::Deletion => "deletion",
            Self::BulkDeletion => "bulk_deletion",
            Self::User => "user",
            Self::UserDevices => "user_devices",
            Self::UserEvents => "user_events",
            Self::Job => "job",
            Self::Receipt => "receipt",
            Self::Jobs => "jobs",
            Self::Accounting => "accounting",
            Self::Jwks => "jwks",
            Self::Health => "healthz",
            Self::Ready => "readyz",
            Self::OpenApi => "openapi",
            Self::Unmatched => "unmatched",
        }
    }

    /// What a key needs for it; `None`: no key at all.
    pub(crate) const fn scope(self) -> Option<Scope> {
        match self {
            Self::Events | Self::Profiles | Self::Devices => Some(Scope::Write),
            Self::Deletion | Self::BulkDeletion => Some(Scope::Delete),
            Self::User
            | Self::UserDevices
            | Self::UserEvents
            | Self::Job
            | Self::Receipt
            | Self::Jobs
            | Self::Accounting => Some(Scope::Read),
            Self::Jwks | Self::Health | Self::Ready | Self::OpenApi | Self::Unmatched => None,
        }
    }
}

/// The call that a method and a path mean. `HEAD` is a `GET` whose body stays away.
///
/// # Errors
/// 404 or 405.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Result<Match<'p>, ApiError> {
    let (get, post, segment) = routes_of(path);
    let route = match *method {
        Method::GET | Method::HEAD => get,
        Method::POST => post,
        _ => None,
    };
    if let Some(route) = route {
        return Ok(Match { route, segment });
    }
    Err(match (get, post) {
        (None, None) => ApiError::NotFound(NO_ROUTE),
        (Some(_), None) => ApiError::MethodNotAllowed(GET),
        (None, Some(_)) => ApiError::MethodNotAllowed(POST),
        (Some(_), Some(_)) => ApiError::MethodNotAllowed(GET_AND_POST),
    })
}

/// What `GET` and `POST` mean on a path, and its parameter.
fn routes_of(path: &str) -> (Option<Route>, Option<Route>, &str) {
    let get = |route| (Some(route), None, "");
    let post = |route| (None, Some(route), "");
    match path {
        "/v1/api/events" => post(Route::Events),
        "/v1/api/profile/user" => post(Route::Profiles),
        "/v1/api/profile/user/device/bulk" => post(Route::Devices),
        "/v1/api/profile/user/deletion-job" => (Some(Route::Jobs), Some(Route::Deletion), ""),
        // Not a job of that name: the path is a call of its own.
        "/v1/api/profile/user/deletion-job/bulk" => post(Route::BulkDeletion),
        "/v1/api/accounting" => get(Route::Accounting),
        "/.well-known/jwks.json" => get(Route::Jwks),
        "/healthz" => get(Route::Health),
        "/readyz" => get(Route::Ready),
        "/openapi.json" => get(Route::OpenApi),
        _ => match parametric(path) {
            Some((route, segment)) => (Some(route), None, segment),
            None => (None, None, ""),
        },
    }
}

fn parametric(path: &str) -> Option<(Route, &str)> {
    let (rest, of_user) = match path.strip_prefix("/v1/api/users/") {
        Some(rest) => (rest, true),
        None => (path.strip_prefix("/v1/api/profile/user/deletion-job/")?, false),
    };
    let (segment, tail) = rest.split_once('/').map_or((rest, None), |(s, t)| (s, Some(t)));
    if segment.is_empty() {
        return None;
    }
    let route = match (of_user, tail) {
        (true, None) => Route::User,
        (true, Some("devices")) => Route::UserDevices,
        (true, Some("events")) => Route::UserEvents,
        (false, None) => Route::Job,
        (false, Some("receipt")) => Route::Receipt,
        _ => return None,
    };
    Some((route, segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTS: [(&str, Route); 5] = [
        ("/v1/api/events", Route::Events),
        ("/v1/api/profile/user", Route::Profiles),
        ("/v1/api/profile/user/device/bulk", Route::Devices),
        ("/v1/api/profile/user/deletion-job", Route::Deletion),
        ("/v1/api/profile/user/deletion-job/bulk", Route::BulkDeletion),
    ];
    const GETS: [(&str, Route, &str); 11] = [
        ("/v1/api/users/u%2F1", Route::User, "u%2F1"),
        ("/v1/api/users/u/devices", Route::UserDevices, "u"),
        ("/v1/api/users/u/events", Route::UserEvents, "u"),
        ("/v1/api/profile/user/deletion-job/7", Route::Job, "7"),
        ("/v1/api/profile/user/deletion-job/7/receipt", Route::Receipt, "7"),
        ("/v1/api/profile/user/deletion-job", Route::Jobs, ""),
        ("/v1/api/accounting", Route::Accounting, ""),
        ("/.well-known/jwks.json", Route::Jwks, ""),
        ("/healthz", Route::Health, ""),
        ("/readyz", Route::Ready, ""),
        ("/openapi.json", Route::OpenApi, ""),
    ];

    #[test]
    fn every_call_is_found_by_its_method_and_path() {
        for (path, route) in POSTS {
            assert_eq!(find(&Method::POST, path), Ok(Match { route, segment: "" }), "{path}");
        }
        for (path, route, segment) in GETS {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(find(&method, path), Ok(Match { route, segment }), "{method} {path}");
            }
        }
    }

    #[test]
    fn another_method_is_told_what_is_allowed() {
        let allow = |method: Method, path| match find(&method, path) {
            Err(ApiError::MethodNotAllowed(allow)) => allow,
            other => panic!("{method} {path}: {other:?}"),
        };
        assert_eq!(allow(Method::GET, "/v1/api/events"), "POST");
        assert_eq!(allow(Method::HEAD, "/v1/api/profile/user/deletion-job/bulk"), "POST");
        assert_eq!(allow(Method::POST, "/healthz"), "GET, HEAD");
        assert_eq!(allow(Method::POST, "/v1/api/users/u"), "GET, HEAD");
        assert_eq!(allow(Method::PUT, "/v1/api/profile/user/deletion-job"), "GET, HEAD, POST");
        assert_eq!(allow(Method::OPTIONS, "/v1/api/events"), "POST");
    }

    #[test]
    fn other_paths_are_no_routes() {
        let paths = ["/", "", "/v1/api/events/", "/v1/api/Events", "/v1/api/users/", "/metrics"];
        for path in paths {
            let found = find(&Method::POST, path);
            assert_eq!(found, Err(ApiError::NotFound(NO_ROUTE)), "{path:?}");
        }
        assert!(find(&Method::GET, "/v1/api/users/u/other").is_err());
        assert!(find(&Method::GET, "/v1/api/profile/user/deletion-job/7/x").is_err());
        assert!(find(&Method::GET, "/v1/api/profile/user/deletion-job//receipt").is_err());
    }

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::HashSet<_> = Route::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), Route::ALL.len());
    }
}
