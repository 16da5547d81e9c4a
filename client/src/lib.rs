//! HTTP(S) calls that Millrace itself makes.
//!
//! Owns one call: which addresses may be reached, TLS, time limits, the cap on the answer. Must not
//! know what is called or why. Every call has a connection of its own. Redirects are answers like
//! any other, and proxies of the environment are not used: the address that is checked is the one
//! that is connected to.

mod address;
mod call;
mod connect;
mod error;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response, Uri};
use tokio_rustls::TlsConnector;

pub use address::Addresses;
pub use error::ClientError;

/// What a client may do, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// To find the address, connect and agree on TLS.
    pub connect_timeout: Duration,
    /// For a whole call, to the last byte of the answer.
    pub timeout: Duration,
    /// An answer with more is an error.
    pub body_bytes_max: usize,
    /// What may be reached.
    pub addresses: Addresses,
    /// A PEM file of CA certificates to trust besides those of the system.
    pub roots: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            body_bytes_max: 1024 * 1024,
            addresses: Addresses::Any,
            roots: None,
        }
    }
}

/// Whether a URL can be called at all; whether its address may be reached is known when it is.
///
/// # Errors
/// [`ClientError::Url`], which says what is wrong with it.
pub fn check_url(url: &str) -> Result<(), ClientError> {
    let uri: Uri = url.parse().map_err(|_| ClientError::Url("cannot be read"))?;
    call::target(&uri).map(drop)
}

/// Makes calls. A clone is cheap and shares everything.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    /// `None`: there is no CA certificate to trust.
    tls: Option<TlsConnector>,
}

impl Client {
    /// A client with the CA certificates of the system and those of [`Options::roots`], as they
    /// are now.
    ///
    /// # Errors
    /// [`ClientError::Roots`] if the file cannot be read or holds no certificate.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let tls = tls::connector(options.roots.as_deref())?;
        Ok(Self { shared: Arc::new(Shared { options, tls }) })
    }

    /// Sends a request to the absolute `http` or `https` URL that it carries, and reads the whole
    /// answer. `Host` and `Content-Length` are added.
    ///
    /// # Errors
    /// There is no answer, or it is too large. An answer of any status is none.
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let Shared { options, tls } = &*self.shared;
        let called = call::call(options, tls.as_ref(), request);
        match tokio::time::timeout(options.timeout, called).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::TimedOut { what: "the call", after: options.timeout }),
        }
    }
}
