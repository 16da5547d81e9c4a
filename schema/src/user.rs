//! Whose data it is: a user of a project, and the bytes that key it in the log.

use std::fmt;

/// A user of a project. Everything that concerns one user is ordered by this key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey {
    /// The project's id: 1..=128 bytes, without NUL.
    pub project: String,
    /// The user's id as the client sent it: 1..=256 bytes.
    pub user: String,
}

impl UserKey {
    /// A key from its two parts.
    pub fn new(project: impl Into<String>, user: impl Into<String>) -> Self {
        Self { project: project.into(), user: user.into() }
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.user)
    }
}

/// Appends the log key of a user's records: `project NUL user`.
///
/// Unambiguous because a project id holds no NUL.
pub fn write_user_key(out: &mut Vec<u8>, project: &str, user: &str) {
    out.extend_from_slice(project.as_bytes());
    out.push(0);
    out.extend_from_slice(user.as_bytes());
}

/// Whether a log key is that of a user's records; the same as comparing with what
/// [`write_user_key`] writes.
pub fn is_user_key(key: &[u8], project: &str, user: &str) -> bool {
    let rest = key.strip_prefix(project.as_bytes()).and_then(|rest| rest.strip_prefix(&[0]));
    rest == Some(user.as_bytes())
}

/// Whether a log key is that of a device that belongs to nobody.
pub fn is_device_key(key: &[u8], project: &str, device_id: &str) -> bool {
    let rest = key.strip_prefix(project.as_bytes()).and_then(|rest| rest.strip_prefix(&[0, 0]));
    rest == Some(device_id.as_bytes())
}

/// Appends the log key of a device that belongs to nobody: `project NUL NUL device`.
pub fn write_device_key(out: &mut Vec<u8>, project: &str, device_id: &str) {
    out.extend_from_slice(project.as_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(device_id.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_again_and_no_other_is_taken_for_it() {
        let mut key = Vec::new();
        write_user_key(&mut key, "p", "u");
        assert!(is_user_key(&key, "p", "u"));
        assert!(!is_user_key(&key, "p", "u2") && !is_user_key(&key, "p2", "u"));
        assert!(!is_device_key(&key, "p", "u"));
        key.clear();
        write_device_key(&mut key, "p", "gaid:1");
        assert!(is_device_key(&key, "p", "gaid:1"));
        assert!(!is_user_key(&key, "p", "gaid:1"));
    }
}
