//! Which call a method and a path mean.

use hyper::Method;
use millrace_accounts::Scope;

use crate::error::ApiError;

/// An API. Each has its own way to say what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// Events, profiles, devices, deletions.
    Ingestion,
    /// Users and their consents, the audit log, and the two log calls.
    Accounts,
    /// The people of the back office.
    BackOffice,
}

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
    AdLog,
    Activity,
    Register,
    Login,
    Logout,
    Google,
    ForgotPassword,
    ResetPassword,
    RequestVerify,
    Verify,
    SetConsent,
    Consents,
    UpdateBudget,
    UpdateInfo,
    Users,
    DeleteUser,
    Me,
    AuditLog,
    Bootstrap,
    BackOfficeLogin,
    BackOfficeRefresh,
    CreateAuditUser,
    UpdateAuditUser,
    BackOfficePeople,
    Unmatched,
}

/// A route, and the percent-encoded part of the path that is its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match<'p> {
    pub(crate) route: Route,
    /// An id; empty where the route has none.
    pub(crate) segment: &'p str,
}

const NO_ROUTE: &str = "there is no such route";

impl Route {
    /// Every route.
    pub(crate) const ALL: [Self; 41] = [
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
        Self::AdLog,
        Self::Activity,
        Self::Register,
        Self::Login,
        Self::Logout,
        Self::Google,
        Self::ForgotPassword,
        Self::ResetPassword,
        Self::RequestVerify,
        Self::Verify,
        Self::SetConsent,
        Self::Consents,
        Self::UpdateBudget,
        Self::UpdateInfo,
        Self::Users,
        Self::DeleteUser,
        Self::Me,
        Self::AuditLog,
        Self::Bootstrap,
        Self::BackOfficeLogin,
        Self::BackOfficeRefresh,
        Self::CreateAuditUser,
        Self::UpdateAuditUser,
        Self::BackOfficePeople,
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
            Self::AdLog => "ad_log",
            Self::Activity => "activity",
            Self::Register => "register",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Google => "google",
            Self::ForgotPassword => "forgot_password",
            Self::ResetPassword => "reset_password",
            Self::RequestVerify => "request_verify",
            Self::Verify => "verify",
            Self::SetConsent => "set_consent",
            Self::Consents => "consents",
            Self::UpdateBudget => "update_budget",
            Self::UpdateInfo => "update_info",
            Self::Users => "users",
            Self::DeleteUser => "delete_user",
            Self::Me => "me",
            Self::AuditLog => "audit_log",
            Self::Bootstrap => "back_office_bootstrap",
            Self::BackOfficeLogin => "back_office_login",
            Self::BackOfficeRefresh => "back_office_refresh",
            Self::CreateAuditUser => "back_office_create_audit_user",
            Self::UpdateAuditUser => "back_office_update_audit_user",
            Self::BackOfficePeople => "back_office_people",
            Self::Unmatched => "unmatched",
        }
    }

    /// What an API key needs for it; `None`: it asks for no API key.
    pub(crate) const fn scope(self) -> Option<Scope> {
        match self {
            Self::Events | Self::Profiles | Self::Devices | Self::AdLog | Self::Activity => {
                Some(Scope::Write)
            }
            Self::Deletion | Self::BulkDeletion => Some(Scope::Delete),
            Self::User
            | Self::UserDevices
            | Self::UserEvents
            | Self::Job
            | Self::Receipt
            | Self::Jobs
            | Self::Accounting => Some(Scope::Read),
            _ => None,
        }
    }
}

impl Api {
    /// The API that a path belongs to, whether there is such a route or not.
    pub(crate) fn of(path: &str) -> Self {
        let begins_with = |start: &&str| {
            path.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let back_office = ["/users/v1/bo", "/auth-rs/v2/bo", "/auth/v1/bo"];
        let accounts = ["/auth", "/privacy", "/user", "/users", "/logs", "/app"];
        if back_office.iter().any(begins_with) {
            Self::BackOffice
        } else if accounts.iter().any(begins_with) {
            Self::Accounts
        } else {
            Self::Ingestion
        }
    }
}

/// What the methods of a path mean.
#[derive(Clone, Copy, Default)]
struct Methods {
    get: Option<Route>,
    post: Option<Route>,
    patch: Option<Route>,
    delete: Option<Route>,
}

impl Methods {
    /// For `Allow`.
    const fn allowed(self) -> Option<&'static str> {
        match (self.get, self.post, self.patch, self.delete) {
            (Some(_), None, None, None) => Some("GET, HEAD"),
            (None, Some(_), None, None) => Some("POST"),
            (Some(_), Some(_), None, None) => Some("GET, HEAD, POST"),
            (None, None, Some(_), None) => Some("PATCH"),
            (Some(_), None, None, Some(_)) => Some("GET, HEAD, DELETE"),
            _ => None,
        }
    }
}

/// The call that a method and a path mean. `HEAD` is a `GET` whose body stays away.
///
/// # Errors
/// 404 or 405.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Result<Match<'p>, ApiError> {
    let (methods, segment) = methods_of(path);
    let route = match *method {
        Method::GET | Method::HEAD => methods.get,
        Method::POST => methods.post,
        Method::PATCH => methods.patch,
        Method::DELETE => methods.delete,
        _ => None,
    };
    if let Some(route) = route {
        return Ok(Match { route, segment });
    }
    Err(methods.allowed().map_or(ApiError::NotFound(NO_ROUTE), ApiError::MethodNotAllowed))
}

const fn get(route: Route) -> Methods {
    Methods { get: Some(route), post: None, patch: None, delete: None }
}

const fn post(route: Route) -> Methods {
    Methods { get: None, post: Some(route), patch: None, delete: None }
}

const fn patch(route: Route) -> Methods {
    Methods { get: None, post: None, patch: Some(route), delete: None }
}

/// What the methods of a path mean, and its parameter.
fn methods_of(path: &str) -> (Methods, &str) {
    let methods = match path {
        "/v1/api/events" => post(Route::Events),
        "/v1/api/profile/user" => post(Route::Profiles),
        "/v1/api/profile/user/device/bulk" => post(Route::Devices),
        "/v1/api/profile/user/deletion-job" => {
            Methods { post: Some(Route::Deletion), ..get(Route::Jobs) }
        }
        // Not a job of that name: the path is a call of its own.
        "/v1/api/profile/user/deletion-job/bulk" => post(Route::BulkDeletion),
        "/v1/api/accounting" => get(Route::Accounting),
        "/.well-known/jwks.json" => get(Route::Jwks),
        "/healthz" => get(Route::Health),
        "/readyz" => get(Route::Ready),
        "/openapi.json" => get(Route::OpenApi),
        "/app/v0/log" => post(Route::AdLog),
        "/app/v0/log/activity" => post(Route::Activity),
        "/auth/register" => post(Route::Register),
        "/auth/jwt/login" => post(Route::Login),
        "/auth/jwt/logout" => post(Route::Logout),
        "/auth/google" => post(Route::Google),
        "/auth/forgot-password" => post(Route::ForgotPassword),
        "/auth/reset-password" => post(Route::ResetPassword),
        "/auth/request-verify-token" => post(Route::RequestVerify),
        "/auth/verify" => post(Route::Verify),
        "/privacy/consents" => post(Route::SetConsent),
        "/user/budget" => patch(Route::UpdateBudget),
        "/user/info" => patch(Route::UpdateInfo),
        "/users" => Methods { delete: Some(Route::DeleteUser), ..get(Route::Users) },
        "/users/me" => get(Route::Me),
        "/logs" => get(Route::AuditLog),
        "/users/v1/bo/back-office/bootstrap" => post(Route::Bootstrap),
        "/auth-rs/v2/bo/login" => post(Route::BackOfficeLogin),
        "/auth/v1/bo/token/refresh" => post(Route::BackOfficeRefresh),
        "/users/v1/bo/audit" => post(Route::CreateAuditUser),
        "/users/v1/bo" => get(Route::BackOfficePeople),
        _ => return parametric(path).unwrap_or_default(),
    };
    (methods, "")
}

fn parametric(path: &str) -> Option<(Methods, &str)> {
    const USERS: &str = "/v1/api/users/";
    const JOBS: &str = "/v1/api/profile/user/deletion-job/";
    const CONSENTS: &str = "/privacy/consents/";
    const AUDIT_USERS: &str = "/users/v1/bo/audit/";
    let (start, rest) = [USERS, JOBS, CONSENTS, AUDIT_USERS]
        .into_iter()
        .find_map(|start| Some((start, path.strip_prefix(start)?)))?;
    let (segment, tail) = rest.split_once('/').map_or((rest, None), |(s, t)| (s, Some(t)));
    if segment.is_empty() {
        return None;
    }
    let methods = match (start, tail) {
        (USERS, None) => get(Route::User),
        (USERS, Some("devices")) => get(Route::UserDevices),
        (USERS, Some("events")) => get(Route::UserEvents),
        (JOBS, None) => get(Route::Job),
        (JOBS, Some("receipt")) => get(Route::Receipt),
        (CONSENTS, None) => get(Route::Consents),
        (AUDIT_USERS, None) => patch(Route::UpdateAuditUser),
        _ => return None,
    };
    Some((methods, segment))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use millrace_schema::openapi;
    use serde_json::Value;

    use super::*;
    use crate::error::scope_name;

    const POSTS: [(&str, Route); 20] = [
        ("/app/v0/log", Route::AdLog),
        ("/app/v0/log/activity", Route::Activity),
        ("/auth/register", Route::Register),
        ("/auth/jwt/login", Route::Login),
        ("/auth/jwt/logout", Route::Logout),
        ("/auth/google", Route::Google),
        ("/auth/forgot-password", Route::ForgotPassword),
        ("/auth/reset-password", Route::ResetPassword),
        ("/auth/request-verify-token", Route::RequestVerify),
        ("/auth/verify", Route::Verify),
        ("/privacy/consents", Route::SetConsent),
        ("/users/v1/bo/back-office/bootstrap", Route::Bootstrap),
        ("/auth-rs/v2/bo/login", Route::BackOfficeLogin),
        ("/auth/v1/bo/token/refresh", Route::BackOfficeRefresh),
        ("/users/v1/bo/audit", Route::CreateAuditUser),
        ("/v1/api/events", Route::Events),
        ("/v1/api/profile/user", Route::Profiles),
        ("/v1/api/profile/user/device/bulk", Route::Devices),
        ("/v1/api/profile/user/deletion-job", Route::Deletion),
        ("/v1/api/profile/user/deletion-job/bulk", Route::BulkDeletion),
    ];
    const GETS: [(&str, Route, &str); 16] = [
        ("/privacy/consents/7", Route::Consents, "7"),
        ("/users", Route::Users, ""),
        ("/users/me", Route::Me, ""),
        ("/logs", Route::AuditLog, ""),
        ("/users/v1/bo", Route::BackOfficePeople, ""),
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

    const PATCHES: [(&str, Route, &str); 3] = [
        ("/user/budget", Route::UpdateBudget, ""),
        ("/user/info", Route::UpdateInfo, ""),
        ("/users/v1/bo/audit/12", Route::UpdateAuditUser, "12"),
    ];

    #[test]
    fn every_call_is_found_by_its_method_and_path() {
        let delete = find(&Method::DELETE, "/users");
        assert_eq!(delete, Ok(Match { route: Route::DeleteUser, segment: "" }));
        for (path, route, segment) in PATCHES {
            assert_eq!(find(&Method::PATCH, path), Ok(Match { route, segment }), "{path}");
        }
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
        assert_eq!(allow(Method::POST, "/users"), "GET, HEAD, DELETE");
        assert_eq!(allow(Method::GET, "/user/info"), "PATCH");
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
    fn every_path_belongs_to_one_api() {
        for (path, api) in [
            ("/v1/api/events", Api::Ingestion),
            ("/v1/api/users/u", Api::Ingestion),
            ("/userss", Api::Ingestion),
            ("/", Api::Ingestion),
            ("/auth/register", Api::Accounts),
            ("/users", Api::Accounts),
            ("/users/v1", Api::Accounts),
            ("/app/v0/nothing", Api::Accounts),
            ("/users/v1/bo", Api::BackOffice),
            ("/users/v1/bo/nothing", Api::BackOffice),
            ("/auth/v1/bo/token/refresh", Api::BackOffice),
            ("/auth-rs/v2/bo/login", Api::BackOffice),
        ] {
            assert_eq!(Api::of(path), api, "{path}");
        }
    }

    #[test]
    fn the_document_describes_every_call_and_no_other() {
        let document: Value = serde_json::from_str(openapi::JSON).unwrap();
        let mut described = HashSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let (start, _) = path.split_once('{').unwrap_or((path, ""));
            let tail = path.rsplit_once('}').map_or("", |(_, tail)| tail);
            let called = if start == path { path.clone() } else { format!("{start}7{tail}") };
            for (method, call) in methods.as_object().unwrap() {
                let api = match call["tags"][0].as_str() {
                    Some("Ingestion") => Api::Ingestion,
                    Some("Accounts") => Api::Accounts,
                    Some("Back office") => Api::BackOffice,
                    // Another address, or no method.
                    _ => continue,
                };
                let method: Method = method.to_ascii_uppercase().parse().unwrap();
                let route = find(&method, &called).unwrap().route;
                assert_eq!(Api::of(&called), api, "{path}");
                let scope = call.pointer("/security/0/apiKey/0").and_then(Value::as_str);
                assert_eq!(route.scope().map(scope_name), scope, "{method} {path}");
                assert!(described.insert(route), "{method} {path}");
            }
        }
        let all = Route::ALL.into_iter().filter(|route| *route != Route::Unmatched);
        assert_eq!(described, all.collect());
    }

    #[test]
    fn labels_are_distinct() {
        let labels: HashSet<_> = Route::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), Route::ALL.len());
    }
}
