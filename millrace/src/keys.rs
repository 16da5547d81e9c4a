//! The keys of a data folder: what signs API keys, and what checks them.

use std::sync::Arc;

use anyhow::Result;
use millrace_accounts::{Accounts, Signer, Verifier};
use millrace_store::AccountStore;

use crate::folder::Layout;

pub(crate) struct Keys {
    signer: Arc<Signer>,
    pub(crate) verifier: Arc<Verifier>,
}

impl Keys {
    /// The keys of a folder; made at its first use.
    pub(crate) fn load_or_create(layout: &Layout) -> Result<Self> {
        let signer = Signer::load_or_create(&layout.signing_key())?;
        let verifier = Verifier::new([signer.public_key().clone()]);
        Ok(Self { signer: Arc::new(signer), verifier: Arc::new(verifier) })
    }

    pub(crate) fn accounts(&self, store: Arc<dyn AccountStore>) -> Accounts {
        Accounts::new(store, Arc::clone(&self.signer), Arc::clone(&self.verifier))
    }
}
