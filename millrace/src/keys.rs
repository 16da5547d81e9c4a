//! What signs API keys and receipts, and what checks API keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use millrace_accounts::{Accounts, Audit, PublicKey, ReceiptSigner, Signer, Verifier};
use millrace_store::AccountStore;
use millrace_webhook::Sign;
use millrace_workers::Receipts;

use crate::folder::Layout;

/// The keys of a data folder.
pub(crate) struct Keys {
    signer: Arc<Signer>,
    pub(crate) verifier: Arc<Verifier>,
}

impl Keys {
    /// The keys of a folder; made at its first use. The public one is there for front doors.
    pub(crate) fn load_or_create(layout: &Layout) -> Result<Self> {
        let signer = Signer::load_or_create(&layout.signing_key())?;
        signer.public_key().save(&layout.public_key())?;
        let verifier = Verifier::new([signer.public_key().clone()]);
        Ok(Self { signer: Arc::new(signer), verifier: Arc::new(verifier) })
    }

    /// Projects and keys of a store, whose changes are told to an audit log.
    pub(crate) fn accounts(&self, store: Arc<dyn AccountStore>, audit: Arc<Audit>) -> Accounts {
        let (signer, verifier) = (Arc::clone(&self.signer), Arc::clone(&self.verifier));
        Accounts::new(store, signer, verifier).with_audit(audit)
    }
}

/// Who signs receipts, and under which name.
pub(crate) struct Issuer {
    name: String,
    signer: Arc<ReceiptSigner>,
}

impl Issuer {
    /// With the key of a file; made at its first use.
    pub(crate) fn load_or_create(name: &str, file: &Path) -> Result<Self> {
        let signer = Arc::new(ReceiptSigner::load_or_create(file)?);
        Ok(Self { name: name.to_owned(), signer })
    }

    /// What signs messages to webhooks.
    pub(crate) fn sign(&self) -> Sign {
        let signer = Arc::clone(&self.signer);
        Arc::new(move |bytes| signer.sign_bytes(bytes))
    }

    /// What workers complete deletions with.
    pub(crate) fn receipts(&self, accounts: Arc<dyn AccountStore>) -> Receipts {
        let signer = Arc::clone(&self.signer);
        Receipts {
            issuer: self.name.clone(),
            key: signer.receipt_key(),
            sign: Arc::new(move |receipt| signer.sign(receipt).map_err(|error| error.to_string())),
            accounts,
        }
    }
}

/// A verifier with the public keys of some files.
pub(crate) fn verifier_of(files: &[PathBuf]) -> Result<Arc<Verifier>> {
    let keys: Vec<PublicKey> =
        files.iter().map(|file| PublicKey::load(file)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Verifier::new(keys)))
}
