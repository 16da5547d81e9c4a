//! Bytes of bodies in memory at once: counted before they are read, refused beyond the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::ApiError;

/// How many bytes may be held, and how many are.
#[derive(Debug)]
pub(crate) struct Admission {
    held_bytes: AtomicUsize,
    limit_bytes: usize,
}

/// A share of the bytes, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    pub(crate) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { held_bytes: AtomicUsize::new(0), limit_bytes })
    }

    /// Bytes held now.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Takes a share, which may be empty.
    ///
    /// # Errors
    /// 503 if too little is left; it never waits.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Permit, ApiError> {
        self.take(bytes)?;
        Ok(Permit { admission: Arc::clone(self), bytes })
    }

    fn take(&self, bytes: usize) -> Result<(), ApiError> {
        let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        match self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(ApiError::Unavailable(
                "too many bytes of requests are in memory; try again shortly",
            )),
        }
    }
}

impl Permit {
    /// Makes the share at least `bytes`.
    ///
    /// # Errors
    /// 503 if too little is left; the share stays as it was.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.admission.take(more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Bytes of the share.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_is_refused_at_once_and_a_drop_gives_back() {
        let admission = Admission::new(10);
        let mut first = admission.admit(6).unwrap();
        assert!(admission.admit(5).is_err());
        first.grow_to(10).unwrap();
        assert!(first.grow_to(11).is_err());
        assert_eq!(admission.held_bytes(), 10);
        drop(first);
        assert_eq!(admission.held_bytes(), 0);
        assert!(admission.admit(usize::MAX).is_err());
    }
}
