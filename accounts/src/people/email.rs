//! E-mail addresses of users: ASCII, `local@domain.tld`, one account each without regard to case.

use serde_json::value::RawValue;

use crate::field::{Wrong, text};

/// Bytes of an address and of its local part: RFC 5321, section 4.5.3.1.
pub(crate) const ADDRESS_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;

/// Reads an address, as written.
pub(crate) fn read(value: &RawValue) -> Result<String, Wrong> {
    let email = text(value)?;
    check(&email).map(|()| email).map_err(|reason| {
        Wrong::new("value_error", format!("value is not a valid email address: {reason}"))
    })
}

/// What an address is compared and kept by.
pub(crate) fn key(email: &str) -> String {
    email.to_ascii_lowercase()
}

pub(super) fn check(email: &str) -> Result<(), &'static str> {
    if email.len() > ADDRESS_BYTES_MAX {
        return Err("it is longer than 254 bytes");
    }
    let (local, domain) = email.rsplit_once('@').ok_or("it must have an @-sign")?;
    if local.is_empty() || local.len() > LOCAL_BYTES_MAX {
        return Err("the part before the @-sign must have 1 to 64 bytes");
    }
    if !local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte)) {
        return Err("the part before the @-sign has a character or a dot where none may be");
    }
    let labels: Vec<&str> = domain.split('.').collect();
    if labels.len() < 2 || !labels.iter().all(|label| is_label(label)) {
        return Err("the part after the @-sign is not a domain name with a dot");
    }
    if labels.last().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("the part after the @-sign is not a domain name with a dot");
    }
    Ok(())
}

/// `atext` of RFC 5322, section 3.2.3.
const fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-')
        || matches!(byte, b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~')
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for email in
            ["a@b.co", "User.Name+tag@Example.com", "o'neil@a-b.example", "a@xn--9n2bp8q.kr"]
        {
            assert_eq!(check(email), Ok(()), "{email}");
            assert!(email.parse::<lettre::Address>().is_ok(), "{email}");
        }
        let long_local = format!("{}@b.co", "a".repeat(65));
        let long = format!("a@{}co", "abcdefgh.".repeat(30));
        for email in [
            "",
            "a",
            "@b.co",
            "a@",
            "a@b",
            "a@.co",
            "a@b..co",
            ".a@b.co",
            "a.@b.co",
            "a..b@c.co",
            "a b@c.co",
            "a@b c.co",
            "\"a b\"@c.co",
            "a@[1.2.3.4]",
            "a@1.2.3.4",
            "a@-b.co",
            "a@b-.co",
            "a@b.co\n",
            "a\r\nBcc: x@y.co@b.co",
            "é@b.co",
            "a@é.co",
            "a@b@c.co,",
            &long_local,
            &long,
        ] {
            assert!(check(email).is_err(), "{email}");
        }
    }
}
