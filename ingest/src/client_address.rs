//! Whom a request is from: the address of the connection, or what trusted proxies say. Must not
//! know what it is used for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::http::request::Parts;
use millrace_schema::net::Net;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of a connection's other end; every request of the connection carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whom a request is from. Every proxy adds at the right of `X-Forwarded-For` whom it was called
/// by, so only as much of it is believed, from the right, as trusted proxies wrote.
pub(crate) fn of(head: &Parts, trusted: &[Net]) -> IpAddr {
    let peer = head.extensions.get::<Peer>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.to_canonical());
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let headers: Vec<_> = head.headers.get_all(X_FORWARDED_FOR).iter().collect();
    let entries = headers.iter().rev().flat_map(|value| value.as_bytes().rsplit(|b| *b == b','));
    let mut from = peer;
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        let Some(address) = address(entry) else { break };
        from = address;
        if !is_trusted(address) {
            break;
        }
    }
    from
}

/// An address; some proxies write brackets around it, or a port behind it.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::HeaderValue;

    use super::*;

    fn from(peer: &str, headers: &[&[u8]]) -> String {
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        for value in headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append(X_FORWARDED_FOR, value);
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        of(&request.into_parts().0, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let table: [(&str, &[&[u8]], &str); 14] = [
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &[b"198.51.100.7"], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &[b"::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &[b"forged, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &[b"1.1.1.1", b"198.51.100.7 ,10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &[b"198.51.100.7", b"10.0.0.3", b""], "198.51.100.7"),
            ("10.0.0.1", &[b"10.0.0.9, 10.0.0.8"], "10.0.0.9"),
            ("fd00::1", &[b"[2001:db8::7]:443, 10.0.0.1:80"], "2001:db8::7"),
            ("10.0.0.1", &[b"[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &[b"198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[b"198.51.100.7, \xff"], "10.0.0.1"),
        ];
        for (peer, headers, expected) in table {
            assert_eq!(from(peer, headers), expected, "{peer} {headers:?}");
        }
        for garbage in ["", "1.2.3", "1.2.3.4:", "1.2.3.4:99999", "[1.2.3.4", "fe80::1%eth0", "a b"]
        {
            assert_eq!(from("10.0.0.1", &[garbage.as_bytes()]), "10.0.0.1", "{garbage}");
        }
    }
}
