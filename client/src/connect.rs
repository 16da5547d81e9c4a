//! From a host to a TCP connection: names are resolved here, so that what is checked is what is
//! connected to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use crate::{Addresses, ClientError};

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'u> {
    /// A name or an address, an IPv6 one without brackets.
    pub(crate) host: &'u str,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

/// Connects to the first address that may be reached and answers within its share of the time.
pub(crate) async fn connect(
    target: Target<'_>,
    addresses: &Addresses,
    within: Duration,
) -> Result<TcpStream, ClientError> {
    let reachable = resolve(target, addresses).await?;
    let share = within / u32::try_from(reachable.len()).unwrap_or(u32::MAX).max(1);
    let mut last = None;
    for address in reachable {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written at once; a socket without the option works too.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(source)) => last = Some((address, source)),
            Err(_) => last = Some((address, io::ErrorKind::TimedOut.into())),
        }
    }
    match last {
        Some((address, source)) => Err(ClientError::Connect { address, source }),
        None => Err(not_found(target, io::Error::other("it has no address"))),
    }
}

/// The addresses of a host that may be reached. The system's resolver also reads what it takes for
/// IPv4 addresses (`127.1`, `0x7f000001`, `2130706433`), so those are checked as what they become.
async fn resolve(
    target: Target<'_>,
    addresses: &Addresses,
) -> Result<Vec<SocketAddr>, ClientError> {
    let found = lookup_host((target.host, target.port)).await;
    let mut refused = None;
    let mut reachable = Vec::new();
    for address in found.map_err(|source| not_found(target, source))? {
        match addresses.refusal(address.ip(), target.tls) {
            Some(reason) => refused = Some(ClientError::Refused { address: address.ip(), reason }),
            None => reachable.push(address),
        }
    }
    match refused {
        Some(refused) if reachable.is_empty() => Err(refused),
        _ => Ok(reachable),
    }
}

fn not_found(target: Target<'_>, source: io::Error) -> ClientError {
    ClientError::Resolve { host: target.host.to_owned(), source }
}
