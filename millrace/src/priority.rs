//! Work behind the front door yields to it: what was accepted waits safely in the log, and a
//! client does not.

/// Added to the niceness of such threads. They get about a tenth of a busy processor, and all of
/// an idle one.
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread, and of those that it starts.
pub(crate) fn yield_to_the_front_door() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "the priority of a thread stays as it is");
    }
}
