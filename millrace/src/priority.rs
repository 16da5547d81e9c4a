//! Work behind the front door yields to it: what was accepted waits safely in the log, and a
//! client does not.

/// Added to the niceness of such threads: on Linux a weight of 110, where an ordinary thread has
/// 1,024 (`sched_prio_to_weight`). An idle processor is theirs whole.
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread, and of those that it starts.
pub(crate) fn yield_to_the_front_door() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "the priority of a thread stays as it is");
    }
}
