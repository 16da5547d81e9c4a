//! Who may do what: projects and their API keys. And what is signed: keys, and receipts.
//!
//! Owns minting, checking and revoking keys, and signing and checking receipts. Must not know HTTP,
//! the log, or how the store keeps its rows. A front door holds a [`Verifier`] with public keys
//! only; who holds a [`Signer`] can mint, who holds a [`ReceiptSigner`] can certify.

mod claims;
mod file;
mod manage;
mod public_key;
mod receipt;
mod revocation;
mod signer;
mod signing_key;
#[cfg(test)]
mod testing;
mod verifier;

pub use file::{read_private, write_private};
pub use manage::{AccountError, Accounts, NewKey};
pub use millrace_store::{ApiKey, Project, Scope, Webhook};
pub use public_key::{PublicKey, PublicKeyError};
pub use receipt::{Jwk, Jwks, ReceiptError, ReceiptKeys, ReceiptSigner, verify_receipt};
pub use revocation::watch;
pub use signer::Signer;
pub use signing_key::KeyFileError;
pub use verifier::{KeyError, Principal, Verifier};
