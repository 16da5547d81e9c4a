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

/// Appends the log key of a device that belongs to nobody: `project NUL NUL device`.
pub fn write_device_key(out: &mut Vec<u8>, project: &str, device_id: &str) {
    out.extend_from_slice(project.as_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(device_id.as_bytes());
}
