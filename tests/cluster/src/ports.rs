//! Free loopback ports that stay free while a server is down.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Result, bail};

/// Loopback address `127.0.0.{last}`.
pub(crate) fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// Chooses ports, none twice.
pub(crate) struct Ports {
    range: Range<u16>,
    next: u16,
}

impl Ports {
    /// Below the range outgoing connections get theirs from: a client that knocks at a killed
    /// server's port would else be given that very port, and talk to itself.
    pub(crate) fn new() -> Self {
        let system = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let low = system.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
        let low: u16 = low.unwrap_or(32_768);
        let range = if low > 12_000 { 10_000..low } else { 10_000..u16::MAX };
        Self { next: fastrand::u16(range.clone()), range }
    }

    /// A port that is free on all of the hosts.
    pub(crate) fn take(&mut self, hosts: &[IpAddr]) -> Result<u16> {
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port + 1 < self.range.end { port + 1 } else { self.range.start };
            if hosts.iter().all(|host| TcpListener::bind((*host, port)).is_ok()) {
                return Ok(port);
            }
        }
        bail!("no free port on {hosts:?}")
    }
}
