//! Whom to call, and the bytes of whole requests.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::workload::{Body, USERS, bodies};

/// A server and who may call it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) project: String,
    pub(crate) api_key: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Target {
    /// Requests of `items` events each, head and body in one buffer, to be sent in turn.
    pub(crate) fn requests(&self, items: usize, source: u64) -> Vec<Body> {
        let mut requests = bodies(items, source, USERS);
        for request in &mut requests {
            let head = self.head("/v1/api/events", request.bytes.len());
            request.prepend(head.as_bytes());
        }
        requests
    }

    /// The head of a POST with a body of JSON.
    pub(crate) fn head(&self, path: &str, length: usize) -> String {
        format!(
            "POST {path}?project_id={} HTTP/1.1\r\nhost: {}\r\n\
             authorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n",
            self.project, self.address, self.api_key,
        )
    }
}

/// The address of a URL such as servers here print: `http://127.0.0.1:8080`.
pub(crate) fn address(url: &str) -> Result<SocketAddr> {
    let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    authority.parse().with_context(|| format!("{url:?} is not http://<ip>:<port>"))
}
