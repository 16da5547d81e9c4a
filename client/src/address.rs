//! Which addresses may be reached.
//!
//! Sources: the registries of special-purpose addresses (RFC 6890 and its successors at IANA).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use millrace_schema::net::Net;

/// Which addresses a client may reach.
#[derive(Clone, Debug)]
pub enum Addresses {
    /// All.
    Any,
    /// Those of the public internet, by TLS only, and these.
    Public {
        /// Reached whatever they are, with or without TLS. An IPv6 address that carries an IPv4
        /// address in any form but the mapped one must be allowed as it is.
        allowed: Vec<Net>,
    },
}

impl Addresses {
    /// Why an address may not be reached; `None` if it may.
    pub(crate) fn refusal(&self, address: IpAddr, tls: bool) -> Option<&'static str> {
        let Self::Public { allowed } = self else { return None };
        if allowed.iter().any(|net| net.contains(address)) {
            return None;
        }
        special(address).or((!tls).then_some("plain http goes to allowed nets only; use https"))
    }
}

/// What an address is if it is not one of the public internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let is_in = |(net, _): &&(Net, _)| net.contains(IpAddr::V4(address));
    SPECIAL_V4.iter().find(is_in).map(|(_, what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if NAT64.contains(IpAddr::V6(address)) {
        let [.., a, b, c, d] = address.octets();
        return special_v4(Ipv4Addr::new(a, b, c, d));
    }
    let is_in = |(net, _): &&(Net, _)| net.contains(IpAddr::V6(address));
    let of_table = SPECIAL_V6.iter().find(is_in).map(|(_, what)| *what);
    let elsewhere = !GLOBAL_UNICAST.contains(IpAddr::V6(address));
    of_table.or(elsewhere.then_some("it is no global unicast address"))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Net {
    Net::of(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
}

const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Net {
    Net::of(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), bits)
}

const DOCUMENTATION: &str = "it is for documentation";
const RESERVED: &str = "it is reserved";
const PRIVATE: &str = "it is private";
const LINK_LOCAL: &str = "it is link-local";
const MULTICAST: &str = "it is multicast";

const SPECIAL_V4: [(Net, &str); 17] = [
    (v4(0, 0, 0, 0, 8), "it means this host"),
    (v4(10, 0, 0, 0, 8), PRIVATE),
    (v4(100, 64, 0, 0, 10), "it is shared behind a carrier's NAT"),
    (v4(127, 0, 0, 0, 8), "it is loopback"),
    // The host of a virtual machine, by the manual of Azure ("What is IP address 168.63.129.16?").
    (v4(168, 63, 129, 16, 32), "it is the host of an Azure machine"),
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(172, 16, 0, 0, 12), PRIVATE),
    (v4(192, 0, 0, 0, 24), RESERVED),
    (v4(192, 0, 2, 0, 24), DOCUMENTATION),
    (v4(192, 88, 99, 0, 24), "it is of 6to4"),
    (v4(192, 168, 0, 0, 16), PRIVATE),
    (v4(198, 18, 0, 0, 15), "it is for benchmarks"),
    (v4(198, 51, 100, 0, 24), DOCUMENTATION),
    (v4(203, 0, 113, 0, 24), DOCUMENTATION),
    (v4(224, 0, 0, 0, 4), MULTICAST),
    (v4(255, 255, 255, 255, 32), "it is broadcast"),
    (v4(240, 0, 0, 0, 4), RESERVED),
];

/// RFC 6052: an IPv4 address is its last 32 bits.
const NAT64: Net = v6(0x64, 0xff9b, 0, 96);
const GLOBAL_UNICAST: Net = v6(0x2000, 0, 0, 3);

/// Within and besides [`GLOBAL_UNICAST`].
const SPECIAL_V6: [(Net, &str); 12] = [
    (v6(0, 0, 0, 128), "it means this host"),
    (Net::of(IpAddr::V6(Ipv6Addr::LOCALHOST), 128), "it is loopback"),
    (v6(0, 0, 0, 96), "it is IPv4-compatible"),
    (v6(0x64, 0xff9b, 1, 48), "it is of a local NAT64"),
    (v6(0xfc00, 0, 0, 7), PRIVATE),
    (v6(0xfe80, 0, 0, 10), LINK_LOCAL),
    (v6(0xff00, 0, 0, 8), MULTICAST),
    // Teredo, ORCHID and others.
    (v6(0x2001, 0, 0, 23), "it is for a protocol of its own"),
    (v6(0x2001, 0xdb8, 0, 32), DOCUMENTATION),
    (v6(0x2002, 0, 0, 16), "it is of 6to4"),
    (v6(0x3fff, 0, 0, 20), DOCUMENTATION),
    (v6(0x5f00, 0, 0, 16), "it is for segment routing"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn public(allowed: &[&str]) -> Addresses {
        Addresses::Public { allowed: allowed.iter().map(|net| net.parse().unwrap()).collect() }
    }

    #[test]
    fn what_is_not_of_the_public_internet_is_refused() {
        let refused = [
            ("0.0.0.0", "this host"),
            ("0.1.2.3", "this host"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "carrier"),
            ("100.127.255.255", "carrier"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "Azure"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.1.1", "private"),
            ("198.19.0.1", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "this host"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::127.0.0.1", "compatible"),
            ("::ffff:0:127.0.0.1", "no global unicast"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::1", "NAT64"),
            ("100::1", "no global unicast"),
            ("2001::1", "protocol"),
            ("2001:20::1", "protocol"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("2002:808:808::", "6to4"),
            ("3fff::1", "documentation"),
            ("5f00::1", "segment routing"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "no global unicast"),
            ("ff02::1", "multicast"),
        ];
        for (address, reason) in refused {
            let said = public(&[]).refusal(address.parse().unwrap(), true);
            assert!(said.is_some_and(|said| said.contains(reason)), "{address}: {said:?}");
            assert_eq!(Addresses::Any.refusal(address.parse().unwrap(), false), None);
        }
    }

    #[test]
    fn the_public_internet_is_reached_by_tls_only() {
        let public_ones = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:200::1",
            "2606:4700::1111",
            "2a00::1",
        ];
        for address in public_ones.map(|address| address.parse().unwrap()) {
            assert_eq!(public(&[]).refusal(address, true), None, "{address}");
            assert!(public(&[]).refusal(address, false).is_some(), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_reached_with_and_without_tls_and_nothing_beside_it() {
        let addresses = public(&["10.1.0.0/16", "::1"]);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "::1"] {
            for tls in [false, true] {
                assert_eq!(addresses.refusal(address.parse().unwrap(), tls), None, "{address}");
            }
        }
        for address in ["10.2.0.1", "127.0.0.1", "::2", "64:ff9b::10.1.2.3"] {
            assert!(addresses.refusal(address.parse().unwrap(), true).is_some(), "{address}");
        }
    }
}
