//! As whom the server is called.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::{ApiKey, ServerOptions};
use crate::dev::Demo;
use crate::folder::Layout;

/// A project, and a key of it.
pub(super) struct Access {
    pub(super) project: String,
    pub(super) key: ApiKey,
}

impl Access {
    /// What was said; if nothing was, the demo of the data folder.
    ///
    /// # Errors
    /// Neither is there.
    pub(super) fn of(options: &ServerOptions, data: &Path) -> Result<Self> {
        if !options.is_anonymous() {
            let project = options.project.clone().context("--project is missing")?;
            let key = options.key.clone().context("--key is missing")?;
            return Ok(Self { project, key });
        }
        let layout = Layout::new(data);
        let demo = Demo::load(&layout)?;
        let demo = demo.with_context(|| format!("no demo at {}", layout.demo().display()))?;
        super::say(&format!(
            "Using the project `{}` and its key from {}.",
            demo.project_id,
            layout.demo().display()
        ));
        Ok(Self { project: demo.project_id, key: ApiKey(demo.api_key) })
    }
}
