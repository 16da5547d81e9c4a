//! The delivery oracle against front doors and workers as processes of their own, on real Kafka
//! and Cassandra servers: through faults, with rules broken on purpose, and with foreign records.
//!
//! Without further ado a selection runs, in about six minutes. `cargo test -p millrace-cluster
//! --test oracle -- --ignored --nocapture` runs every fault and every breakage, each fault as often
//! as `MILLRACE_CLUSTER_ROUNDS` says (1), and only those whose names hold `MILLRACE_CLUSTER_FAULT`,
//! if it is set. The table is printed, and written as Markdown to the file
//! that `MILLRACE_CLUSTER_TABLE` names.

mod breakages;
mod deletions;
mod faults;
mod foreign;
mod records;
mod records_document;
mod rounds;
mod scene;
mod table;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Error, Result};
use millrace_cluster::{Cluster, Shape};

/// The cluster that the tests of this executable harm, one after another.
fn cluster() -> Result<(MutexGuard<'static, ()>, &'static Cluster)> {
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let turn = one_at_a_time();
    let start = || Cluster::start(forgetful()).map_err(|error| format!("{error:#}"));
    let cluster = CLUSTER.get_or_init(start);
    Ok((turn, cluster.as_ref().map_err(|error| Error::msg(error.clone()))?))
}

/// A broker, and a node that forgets all that it acknowledged in up to ten seconds before it is
/// killed. With the default settings it is a tenth of a second: the process alone is killed, and
/// Cassandra marks the end of an uncompressed, mapped commit log every 100 ms, so that a replay
/// finds what the kernel still holds.
fn forgetful() -> Shape {
    let compressed =
        ("commitlog_compression".to_owned(), "[{class_name: LZ4Compressor}]".to_owned());
    Shape { node_settings: vec![compressed], ..Shape::default() }
}

/// The machine is too small for two tests at once, and a server that is killed is missed by both.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
