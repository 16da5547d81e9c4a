//! What signs API keys, and what checks them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use millrace_accounts::{Accounts, PublicKey, Signer, Verifier};
use millrace_store::AccountStore;

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

    pub(crate) fn accounts(&self, store: Arc<dyn AccountStore>) -> Accounts {
        Accounts::new(store, Arc::clone(&self.signer), Arc::clone(&self.verifier))
    }
}

/// A verifier with the public keys of some files.
pub(crate) fn verifier_of(files: &[PathBuf]) -> Result<Arc<Verifier>> {
    let keys: Vec<PublicKey> =
        files.iter().map(|file| PublicKey::load(file)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Verifier::new(keys)))
}
