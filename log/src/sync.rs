//! What both engines need of locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere under the lock left nothing half done that matters here.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
