//! Why a call has no answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Why a call has no answer. Texts name hosts and addresses, never paths or queries.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL cannot be called.
    #[error("the URL {0}")]
    Url(&'static str),
    /// The address may not be reached.
    #[error("the address {address} is refused: {reason}")]
    Refused {
        /// What the host resolved to, or what the URL says.
        address: IpAddr,
        /// Why.
        reason: &'static str,
    },
    /// The host has no address.
    #[error("{host} was not found: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No address answered; this is the last one's error.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no agreement on TLS, or the certificate is not trusted.
    #[error("TLS with {host}: {source}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{what} took longer than {} ms", after.as_millis())]
    TimedOut {
        /// What.
        what: &'static str,
        /// The limit.
        after: Duration,
    },
    /// The answer is larger than it may be.
    #[error("the answer has more than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no valid answer: {0}")]
    Protocol(#[source] hyper::Error),
    /// The CA certificates cannot be used.
    #[error("CA certificates: {0}")]
    Roots(String),
}
