//! Who may do what: projects and their API keys.
//!
//! Owns minting, checking and revoking keys. Must not know HTTP, the log, or how the store keeps
//! its rows. A front door holds a [`Verifier`] with public keys only; who holds a [`Signer`] can
//! mint.

mod claims;
mod file;
mod manage;
mod public_key;
mod revocation;
mod signer;
#[cfg(test)]
mod testing;
mod verifier;

pub use file::{read_private, write_private};
pub use manage::{AccountError, Accounts, NewKey};
pub use millrace_store::{ApiKey, Project, Scope};
pub use public_key::{PublicKey, PublicKeyError};
pub use revocation::watch;
pub use signer::{KeyFileError, Signer};
pub use verifier::{KeyError, Principal, Verifier};
