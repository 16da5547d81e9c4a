//! The kinds of callers, and as whom each is to be treated.

use crate::enumerated;

enumerated! {
    /// A kind of caller. Those whose token is not good would be superusers, or back-office users,
    /// if it were.
    Caller {
        Nobody,
        /// Alice, an advertiser.
        User,
        /// Another advertiser.
        AnotherUser,
        /// Whose `permissions.admin` lacks `budget`.
        Retailer,
        /// Whose `permissions.admin` contains `budget`.
        BudgetRetailer,
        /// By `role`.
        Admin,
        /// By `is_superuser`; a retailer.
        Superuser,
        AuditUser,
        BackOfficeUser,
        /// An API key with every scope.
        Key,
        /// An API key that may only read.
        ReadKey,
        Deactivated,
        Deleted,
        LoggedOut,
        PasswordChanged,
        /// The token in a mail.
        ResetToken,
        /// The token in a mail.
        VerifyToken,
        /// Of the back office.
        RefreshToken,
        /// Of the back office.
        SessionToken,
        /// Of a deletion.
        Receipt,
        Expired,
        Tampered,
        AlgNone,
        /// Another algorithm, or a public key as the secret.
        AlgConfusion,
        /// Or of another issuer.
        WrongAudience,
    }
}

enumerated! {
    /// As whom a caller is to be treated: a column of the table.
    Standing {
        /// As nobody.
        None,
        User,
        AnotherUser,
        Retailer,
        BudgetRetailer,
        Admin,
        Superuser,
        AuditUser,
        BackOfficeUser,
        Key,
        ReadKey,
    }
}

impl Caller {
    /// As whom they are to be treated.
    pub(crate) const fn standing(self) -> Standing {
        match self {
            Self::User => Standing::User,
            Self::AnotherUser => Standing::AnotherUser,
            Self::Retailer => Standing::Retailer,
            Self::BudgetRetailer => Standing::BudgetRetailer,
            Self::Admin => Standing::Admin,
            Self::Superuser => Standing::Superuser,
            Self::AuditUser => Standing::AuditUser,
            Self::BackOfficeUser => Standing::BackOfficeUser,
            Self::Key => Standing::Key,
            Self::ReadKey => Standing::ReadKey,
            Self::Nobody
            | Self::Deactivated
            | Self::Deleted
            | Self::LoggedOut
            | Self::PasswordChanged
            | Self::ResetToken
            | Self::VerifyToken
            | Self::RefreshToken
            | Self::SessionToken
            | Self::Receipt
            | Self::Expired
            | Self::Tampered
            | Self::AlgNone
            | Self::AlgConfusion
            | Self::WrongAudience => Standing::None,
        }
    }
}
