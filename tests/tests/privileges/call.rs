//! The calls, as data.

use crate::enumerated;

enumerated! {
    /// A call. What it is about: Alice, an advertiser, who is the caller `User`.
    Call {
        /// Of an advertiser.
        Register,
        /// Of an admin.
        RegisterAdmin,
        Login,
        Logout,
        Google,
        ForgotPassword,
        /// With a good token in the body.
        ResetPassword,
        RequestVerify,
        /// With a good token in the body.
        Verify,
        /// Alice's.
        SetConsent,
        /// Alice's.
        Consents,
        /// Alice's.
        UpdateBudget,
        /// Alice's name.
        UpdateInfo,
        Users,
        /// Of somebody else.
        DeleteUser,
        Me,
        AuditLog,
        AdLog,
        Activity,
        /// Of an installation that is bootstrapped, with the right secret.
        Bootstrap,
        OfficeLogin,
        /// With a good token in the body.
        Refresh,
        CreateAuditUser,
        UpdateAuditUser,
        OfficePeople,
        /// Ingestion: write.
        Events,
        /// Ingestion: read.
        UserEvents,
    }
}

/// What a call asks for to tell callers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Credential {
    /// An access token.
    Access,
    /// An access token and a session token.
    Pair,
    /// An API key.
    Key,
}

impl Call {
    /// What its caller comes with.
    pub(crate) const fn credential(self) -> Credential {
        match self {
            Self::Register
            | Self::RegisterAdmin
            | Self::Login
            | Self::Logout
            | Self::Google
            | Self::ForgotPassword
            | Self::ResetPassword
            | Self::RequestVerify
            | Self::Verify
            | Self::SetConsent
            | Self::Consents
            | Self::UpdateBudget
            | Self::UpdateInfo
            | Self::Users
            | Self::DeleteUser
            | Self::Me
            | Self::AuditLog => Credential::Access,
            Self::Bootstrap
            | Self::OfficeLogin
            | Self::Refresh
            | Self::CreateAuditUser
            | Self::UpdateAuditUser
            | Self::OfficePeople => Credential::Pair,
            Self::AdLog | Self::Activity | Self::Events | Self::UserEvents => Credential::Key,
        }
    }

    /// Method and path, as documented.
    pub(crate) const fn operation(self) -> (&'static str, &'static str) {
        match self {
            Self::Register | Self::RegisterAdmin => ("POST", "/auth/register"),
            Self::Login => ("POST", "/auth/jwt/login"),
            Self::Logout => ("POST", "/auth/jwt/logout"),
            Self::Google => ("POST", "/auth/google"),
            Self::ForgotPassword => ("POST", "/auth/forgot-password"),
            Self::ResetPassword => ("POST", "/auth/reset-password"),
            Self::RequestVerify => ("POST", "/auth/request-verify-token"),
            Self::Verify => ("POST", "/auth/verify"),
            Self::SetConsent => ("POST", "/privacy/consents"),
            Self::Consents => ("GET", "/privacy/consents/{user_id}"),
            Self::UpdateBudget => ("PATCH", "/user/budget"),
            Self::UpdateInfo => ("PATCH", "/user/info"),
            Self::Users => ("GET", "/users"),
            Self::DeleteUser => ("DELETE", "/users"),
            Self::Me => ("GET", "/users/me"),
            Self::AuditLog => ("GET", "/logs"),
            Self::AdLog => ("POST", "/app/v0/log"),
            Self::Activity => ("POST", "/app/v0/log/activity"),
            Self::Bootstrap => ("POST", "/users/v1/bo/back-office/bootstrap"),
            Self::OfficeLogin => ("POST", "/auth-rs/v2/bo/login"),
            Self::Refresh => ("POST", "/auth/v1/bo/token/refresh"),
            Self::CreateAuditUser => ("POST", "/users/v1/bo/audit"),
            Self::UpdateAuditUser => ("PATCH", "/users/v1/bo/audit/{userId}"),
            Self::OfficePeople => ("GET", "/users/v1/bo"),
            Self::Events => ("POST", "/v1/api/events"),
            Self::UserEvents => ("GET", "/v1/api/users/{user_id}/events"),
        }
    }
}
