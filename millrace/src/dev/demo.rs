//! The demo project and its key, the same at every start.

use std::fmt;

use anyhow::{Context, Result};
use millrace_accounts::{AccountError, Accounts, Scope, Verifier, read_private, write_private};
use millrace_schema::time::wall_clock_us;
use millrace_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::folder::Layout;

const PROJECT_ID: &str = "demo";
const PROJECT_NAME: &str = "Demo";

/// What `demo.json` holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Demo {
    pub(crate) project_id: String,
    pub(crate) api_key: String,
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo").field("project_id", &self.project_id).finish_non_exhaustive()
    }
}

impl Demo {
    /// The demo of a folder, as it was left there; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or others may read it.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.demo();
        let what = || format!("demo key {}", path.display());
        let text = read_private(&path).with_context(what)?;
        text.map(|text| serde_json::from_str(&text).with_context(what)).transpose()
    }

    /// The demo of the folder. A key that is no longer honoured (revoked, or signed with another
    /// key) is replaced.
    pub(super) async fn load_or_create(
        layout: &Layout,
        accounts: &Accounts,
        verifier: &Verifier,
    ) -> Result<Self> {
        let path = layout.demo();
        let what = || format!("demo key {}", path.display());
        match accounts.create_project(PROJECT_ID, PROJECT_NAME).await {
            Ok(_) | Err(AccountError::Store(StoreError::Exists(_))) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(demo) = Self::load(layout)? {
            match verifier.verify(&demo.api_key, wall_clock_us()) {
                Ok(_) => return Ok(demo),
                Err(reason) => tracing::warn!(%reason, "the demo key is replaced"),
            }
        }
        let new = accounts.create_key(PROJECT_ID, &Scope::ALL, None).await?;
        let demo = Self { project_id: PROJECT_ID.to_owned(), api_key: new.token };
        let text = serde_json::to_vec_pretty(&demo)?;
        write_private(&path, &text).with_context(what)?;
        Ok(demo)
    }
}
