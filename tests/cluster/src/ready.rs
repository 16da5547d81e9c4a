//! Whether a server answers, asked with the smallest request of its protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::plan::Kind;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Kafka's ApiVersions, version 0: length, key 18, version, correlation id, no client id.
/// A broker answers it once it has joined and lets clients in.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

/// CQL's OPTIONS, protocol version 4: no flags, stream 0, no body.
const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];

/// Whether the server at the address answers.
pub(crate) fn answers(kind: Kind, address: SocketAddr, tls: bool) -> bool {
    match kind {
        Kind::Broker => ask(address, &API_VERSIONS).is_ok(),
        // A node opens its port as the last thing; behind TLS that has to do.
        Kind::Node if tls => TcpStream::connect_timeout(&address, PATIENCE).is_ok(),
        Kind::Node => ask(address, &OPTIONS).is_ok(),
    }
}

fn ask(address: SocketAddr, question: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question)?;
    stream.read_exact(&mut [0; 4])
}
