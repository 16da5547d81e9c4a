//! Who may do what: projects and their API keys, users, and the people of the back office. And what
//! is signed: keys, tokens and receipts.
//!
//! Owns minting, checking and revoking keys and tokens, signing and checking receipts, passwords,
//! consents, the audit log and mails. Must not know HTTP servers, the log, or how the store keeps
//! its rows. A front door holds a [`Verifier`] with public keys only; who holds a [`Signer`] can
//! mint, who holds a [`ReceiptSigner`] can certify.

mod audit;
mod backoffice;
mod claims;
mod clock;
mod core;
mod counter;
mod documents;
mod field;
mod file;
mod google;
mod limits;
mod mailer;
mod manage;
mod password;
mod people;
mod public_key;
mod receipt;
mod retry;
mod revocation;
mod signer;
mod signing_key;
#[cfg(test)]
mod testing;
mod token;
mod verifier;

pub use audit::{Audit, AuditLog};
pub use backoffice::{
    AuditUser, BackOffice, BackOfficeCaller, BackOfficeError, BackOfficeUser, Bootstrap,
    BootstrapSettings, InvalidField, Lang, Page, Pagination, PersonRow, Refreshed, SignedIn,
};
pub use clock::Clock;
pub use core::{Core, Limits, Settings};
pub use field::{FieldError, Loc};
pub use file::{read_private, write_private};
pub use google::{FetchKeys, Google, GoogleSettings};
pub use limits::Rate;
pub use mailer::{MailError, MailSettings, MailTransport, Mailer, Postman};
pub use manage::{AccountError, Accounts, NewKey};
pub use millrace_store::{ApiKey, Project, Scope, Webhook};
pub use password::{Password, PasswordError, PasswordSettings};
pub use people::{
    AccessToken, Caller, Consent, Money, PasswordUse, People, PeopleError, Permissions, Role, User,
};
pub use public_key::{PublicKey, PublicKeyError};
pub use receipt::{Jwk, Jwks, ReceiptError, ReceiptKeys, ReceiptSigner, verify_receipt};
pub use revocation::watch;
pub use signer::Signer;
pub use signing_key::KeyFileError;
pub use token::{SecretError, TokenSecrets};
pub use verifier::{KeyError, Principal, Verifier};
