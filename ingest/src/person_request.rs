//! A request of a person: the tokens it carries, where it comes from, and its small body. Must not
//! know what is called.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::http::request::Parts;

use crate::auth;
use crate::body::{self, Admitted};
use crate::client_address;
use crate::context::{Context, Identity};
use crate::decode::{self, Encoding};
use crate::error::ApiError;
use crate::query::{Query, decode_segment};
use crate::route::{Match, Route};

/// Bytes of a body, on the wire and decoded: so few that they are decoded where they arrive.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// A request of the accounts or the back-office API.
pub(crate) struct PersonRequest<'r> {
    ctx: &'r Context,
    found: Match<'r>,
    head: &'r Parts,
    body: &'r mut Incoming,
}

impl<'r> PersonRequest<'r> {
    pub(crate) const fn new(
        ctx: &'r Context,
        found: Match<'r>,
        head: &'r Parts,
        body: &'r mut Incoming,
    ) -> Self {
        Self { ctx, found, head, body }
    }

    pub(crate) const fn route(&self) -> Route {
        self.found.route
    }

    /// Those who sign in here, if anybody does.
    pub(crate) const fn identity(&self) -> Option<&'r Identity> {
        self.ctx.parts.identity.as_ref()
    }

    /// The parameter of the path, decoded; empty if it is not UTF-8, which no id is.
    pub(crate) fn segment(&self) -> String {
        decode_segment(self.found.segment).unwrap_or_default().into_owned()
    }

    pub(crate) fn query(&self) -> Vec<(String, String)> {
        Query::of(&self.head.uri).pairs()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&'r str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn bearer(&self) -> Option<&'r str> {
        auth::bearer(&self.head.headers)
    }

    /// Where it comes from.
    pub(crate) fn address(&self) -> IpAddr {
        client_address::of(self.head, &self.ctx.config.trusted_proxies)
    }

    /// Its body, decoded.
    ///
    /// # Errors
    /// 413, 415, 408, 503, or that it is damaged.
    pub(crate) async fn body(&mut self) -> Result<Admitted, ApiError> {
        let Self { ctx, found, head, body } = self;
        let encoding = Encoding::of(&head.headers)?;
        let timeout = ctx.config.body_timeout;
        let Admitted { bytes, mut permit } =
            body::read(*body, &ctx.admission, BODY_BYTES_MAX, timeout).await?;
        ctx.metrics.of(found.route).body(bytes.len());
        if encoding == Encoding::Identity {
            return Ok(Admitted { bytes, permit });
        }
        let decoded = decode::decode(encoding, &bytes, BODY_BYTES_MAX, &mut permit)?;
        Ok(Admitted { bytes: decoded.into(), permit })
    }
}
