//! What can be tuned about the workers.

use std::time::Duration;

use millrace_schema::limits::EVENT_RETENTION_US;

/// Settings of the workers. The defaults suit one machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// About how many bytes of records one commit covers at most; a burst begins with less. With more,
    /// a database takes longer for one than a pause may; and each partition holds several times as
    /// much in memory.
    pub batch_bytes: usize,
    /// How long to let records gather after a commit: larger batches for later reads.
    pub linger: Duration,
    /// How often an idle partition looks after its positions and its epoch.
    pub tick: Duration,
    /// How often the store is made durable, so that the log may let go of what was applied.
    pub persist_interval: Duration,
    /// How often open deletion jobs are held against the positions.
    pub completion_interval: Duration,
    /// How long a deletion whose markers are passed waits for others, so that one purge serves them
    /// all.
    pub purge_gather_max: Duration,
    /// How many times as long as a purge took is the least until the next one.
    pub purge_rest: u32,
    /// A turn that takes longer begins again at the resume point: others may have taken over.
    pub pause_max: Duration,
    /// The first delay after a failure; it doubles, with jitter, up to `retry_max`.
    pub retry_min: Duration,
    /// The longest delay after a failure.
    pub retry_max: Duration,
    /// How far apart the clocks of front doors may be; a spooled record within this of an erasure
    /// is erased. Microseconds.
    pub clock_skew_us: i64,
    /// How long an event is kept after its receipt, microseconds.
    pub event_retention_us: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_bytes: 256 * 1024,
            linger: Duration::from_millis(20),
            tick: Duration::from_secs(1),
            persist_interval: Duration::from_secs(2),
            completion_interval: Duration::from_millis(250),
            purge_gather_max: Duration::from_secs(60),
            purge_rest: 2,
            pause_max: Duration::from_secs(5),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(5),
            clock_skew_us: 1_000_000,
            event_retention_us: EVENT_RETENTION_US,
        }
    }
}
