//! An address range, as `10.0.0.0/8`.

use std::net::IpAddr;
use std::str::FromStr;

/// An address range in CIDR notation (RFC 4632, RFC 4291 section 2.3). A single address is a range
/// of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    first: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// It is something else.
    #[error("is no address range; write it as 10.0.0.0/8 or fd00::/8")]
    Syntax,
    /// More bits than an address has.
    #[error("has a prefix of more than {0} bits")]
    Prefix(u8),
    /// Bits after the prefix are set.
    #[error("has bits set after its prefix; its first address is {0}")]
    Bits(IpAddr),
}

impl Net {
    /// From parts that are known to be good.
    pub const fn of(first: IpAddr, prefix_bits: u8) -> Self {
        Self { first, prefix_bits }
    }

    /// Whether an address is in the range. An IPv4-mapped IPv6 address is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix_bits) == self.first
    }
}

/// The address with everything after the prefix at zero.
fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    let kept = u32::from(prefix_bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(kept)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(kept)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NetError::Syntax)?;
        let bits = if first.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits,
            Some(prefix) => decimal(prefix).ok_or(NetError::Syntax)?,
        };
        if prefix_bits > bits {
            return Err(NetError::Prefix(bits));
        }
        match masked(first, prefix_bits) {
            masked if masked == first => Ok(Self { first, prefix_bits }),
            masked => Err(NetError::Bits(masked)),
        }
    }
}

/// `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_with_its_prefix() {
        let table = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "ffff::", true),
            ("::1", "::1", true),
            ("::1/128", "::2", false),
        ];
        for (net, address, inside) in table {
            let net: Net = net.parse().unwrap();
            assert_eq!(net.contains(address.parse().unwrap()), inside, "{net:?} {address}");
        }
    }

    #[test]
    fn what_is_no_range_is_named() {
        let syntax =
            ["", "/", "10.0.0.0/", "10/8", "10.0.0.0/+8", "10.0.0.0/-1", "a/8", "10.0.0.0/999"];
        for text in syntax {
            assert_eq!(text.parse::<Net>(), Err(NetError::Syntax), "{text}");
        }
        assert_eq!("10.0.0.0/33".parse::<Net>(), Err(NetError::Prefix(32)));
        assert_eq!("::/129".parse::<Net>(), Err(NetError::Prefix(128)));
        let first = "10.0.0.0".parse().unwrap();
        assert_eq!("10.1.0.0/8".parse::<Net>(), Err(NetError::Bits(first)));
    }
}
