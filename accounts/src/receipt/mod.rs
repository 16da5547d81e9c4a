//! Receipts of deletions: signing them, serving the keys they are checked with, and checking them.

mod jwks;
mod keys;
mod signer;
#[cfg(test)]
mod tests;
mod verify;

pub use jwks::{Jwk, Jwks};
pub use keys::ReceiptKeys;
pub use signer::ReceiptSigner;
pub use verify::{ReceiptError, verify_receipt};
