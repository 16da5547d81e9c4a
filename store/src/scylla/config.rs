//! Where the database is and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use scylla::statement::Consistency;

use crate::StoreError;

/// The longest name of a keyspace that CQL servers take.
const KEYSPACE_BYTES: usize = 48;

/// How to reach a CQL database and how to use it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Some of its nodes, `host:port` each; the others are found through them.
    pub contact_points: Vec<String>,
    /// The keyspace: lower-case letters, digits and `_`.
    pub keyspace: String,
    /// User and password, where the database asks for them.
    pub credentials: Option<Credentials>,
    /// TLS, where the database speaks it.
    pub tls: Option<Tls>,
    /// Of reads and writes. Conditional writes are `LOCAL_SERIAL`.
    pub consistency: Consistency,
    /// The datacenter to which `LOCAL_` refers; `None`: the nearest is whichever answers.
    pub local_datacenter: Option<String>,
    /// How long an acknowledged write may still be forgotten by a crash: longer than the
    /// `commitlog_sync_period` of the nodes (10 s by default, on Cassandra and ScyllaDB alike).
    pub settle: Duration,
    /// Reads and batches in flight at most, over the whole store.
    pub in_flight_max: usize,
    /// What erases, in flight at most: a share of that number, in percent. A deletion of many users
    /// otherwise makes everything else wait behind it in the database.
    pub erase_share_percent: u8,
    /// After this long a request has failed.
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "millrace".to_owned(),
            credentials: None,
            tls: None,
            consistency: Consistency::LocalQuorum,
            local_datacenter: None,
            settle: Duration::from_secs(30),
            in_flight_max: 128,
            erase_share_percent: 50,
            request_timeout: Duration::from_secs(4),
        }
    }
}

/// User and password.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password; never shown.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// TLS to the nodes. Their certificates must name the addresses at which they are reached.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authority that signed their certificates, PEM.
    pub ca: PathBuf,
    /// Our own certificate (chain) and its key, PEM, where the nodes ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Config {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let refuse = |text: String| Err(StoreError::Invalid(text));
        if self.contact_points.is_empty() {
            return refuse("no contact point: name a node of the database, host:port".to_owned());
        }
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = self.keyspace.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || !self.keyspace.chars().all(known) || self.keyspace.len() > KEYSPACE_BYTES {
            return refuse(format!(
                "{:?} cannot name a keyspace: use 1 to {KEYSPACE_BYTES} of a-z, 0-9 and _, a letter \
                 first",
                self.keyspace
            ));
        }
        if self.in_flight_max == 0 {
            return refuse("at least 1 request must be allowed in flight".to_owned());
        }
        if !(1..=100).contains(&self.erase_share_percent) {
            return refuse(format!(
                "{} percent of what is in flight cannot be erasing: 1 to 100",
                self.erase_share_percent
            ));
        }
        Ok(())
    }

    /// Requests that erase, in flight at most.
    pub(super) fn erasures_max(&self) -> usize {
        (self.in_flight_max.saturating_mul(self.erase_share_percent.into()) / 100).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let (user, password) = ("me".to_owned(), "secret".to_owned());
        let config =
            Config { credentials: Some(Credentials { user, password }), ..Config::default() };
        let text = format!("{config:?}");
        assert!(text.contains("me") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn a_keyspace_is_a_plain_name() {
        let check = |keyspace: &str| {
            Config { keyspace: keyspace.to_owned(), ..Config::default() }.check().is_ok()
        };
        assert!(check("millrace") && check("a1_"));
        for bad in ["", "1a", "A", "a-b", "a;drop", "ä", &"a".repeat(49)] {
            assert!(!check(bad), "{bad:?}");
        }
    }

    #[test]
    fn erasing_has_its_share_and_never_nothing() {
        let share = |in_flight_max, erase_share_percent| {
            let config = Config { in_flight_max, erase_share_percent, ..Config::default() };
            config.check().ok().map(|()| config.erasures_max())
        };
        assert_eq!((share(128, 25), share(128, 100), share(3, 1)), (Some(32), Some(128), Some(1)));
        assert_eq!((share(128, 0), share(128, 101)), (None, None));
    }
}
