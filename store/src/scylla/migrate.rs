//! Making the keyspace and its tables, and bringing them to this release's version.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use millrace_schema::cql::{self, Migration};
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::value::{CqlValue, Row};
use tracing::info;
use uuid::Uuid;

use super::config::Config;
use super::connect::{keyspace_exists, newer, session, table_exists};
use super::connection::decode;
use super::failure::failed;
use crate::StoreError;

/// How long a database that does not answer is waited for, about.
const CONNECT_TRIES: usize = 12;
/// A lock whose holder has died is free after this.
const LOCK_SECONDS: i32 = 120;
/// Changing the schema takes longer than reading and writing.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(30);

/// Which tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// What every server understands.
    Portable,
    /// With the options that only ScyllaDB knows.
    ScyllaDb,
}

/// What a migration has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the keyspace was made.
    pub made_keyspace: bool,
    /// The tables that it has.
    pub dialect: Dialect,
    /// The version before; 0: there were no tables.
    pub from: u32,
    /// The version now.
    pub to: u32,
}

/// Makes the keyspace, if there is none, with so many replicas in every datacenter; then applies
/// the migrations that are missing, each with the agreement of all nodes. Running it again does
/// nothing, and two at once do no harm: one waits for the other. The replication of a keyspace
/// that is there is left alone.
///
/// # Errors
/// [`StoreError::Invalid`] if it cannot succeed: a keyspace of a later version, more replicas than
/// nodes, wrong credentials.
pub async fn migrate(
    config: &Config,
    dialect: Option<Dialect>,
    replication_factor: u32,
) -> Result<Report, StoreError> {
    config.check()?;
    let waiting = Config { request_timeout: SCHEMA_TIMEOUT, ..config.clone() };
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(CONNECT_TRIES)
        .with_jitter();
    let session = (|| session(&waiting))
        .retry(delays)
        .when(|error| matches!(error, StoreError::Unavailable(_)))
        .await?;
    let keyspace = &config.keyspace;
    let dialect = match dialect {
        Some(dialect) => dialect,
        None => detect(&session).await?,
    };
    let made_keyspace = make_keyspace(&session, keyspace, dialect, replication_factor).await?;
    // What another migration is making is listed a moment before it can be used.
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_times(6)
        .with_jitter();
    (|| make_version_table(&session, keyspace, dialect)).retry(delays).await?;
    let lock = Uuid::from_u128(fastrand::u128(..));
    acquire(&session, lock).await?;
    let migrated = apply_missing(&session, keyspace, dialect).await;
    let released = release(&session, lock).await;
    let (from, to) = migrated?;
    released?;
    info!(keyspace, from, to, "the tables are in place");
    Ok(Report { made_keyspace, dialect, from, to })
}

async fn make_keyspace(
    session: &Session,
    keyspace: &str,
    dialect: Dialect,
    replication_factor: u32,
) -> Result<bool, StoreError> {
    if keyspace_exists(session, keyspace).await? {
        return Ok(false);
    }
    let cluster = session.get_cluster_state();
    let nodes = cluster.get_nodes_info();
    let datacenters: BTreeSet<&str> =
        nodes.iter().filter_map(|node| node.datacenter.as_deref()).collect();
    let mut replication = "'class': 'NetworkTopologyStrategy'".to_owned();
    for datacenter in datacenters {
        let here = nodes.iter().filter(|node| node.datacenter.as_deref() == Some(datacenter));
        let here = here.count();
        if replication_factor == 0 || usize::try_from(replication_factor).is_ok_and(|n| n > here) {
            return Err(StoreError::Invalid(format!(
                "a replication factor of {replication_factor} is not possible: the datacenter \
                 {datacenter} has {here} nodes"
            )));
        }
        let datacenter = datacenter.replace('\'', "''");
        replication.push_str(&format!(", '{datacenter}': {replication_factor}"));
    }
    // Conditional writes need it on ScyllaDB before 2025.4, by its manual; not tried.
    let tablets = match dialect {
        Dialect::ScyllaDb => " AND tablets = {'enabled': false}",
        Dialect::Portable => "",
    };
    let text = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{{replication}}}{tablets}"
    );
    run(session, &text).await?;
    Ok(true)
}

/// Only ScyllaDB has this table.
async fn detect(session: &Session) -> Result<Dialect, StoreError> {
    let is_scylladb = table_exists(session, "system_schema", "scylla_tables").await?;
    Ok(if is_scylladb { Dialect::ScyllaDb } else { Dialect::Portable })
}

/// Two that make one table at once make two of the same name on some versions of Cassandra, unless
/// both give it the same id. So this one, under which the lock for all others lies, has an id that
/// follows from the keyspace.
async fn make_version_table(
    session: &Session,
    keyspace: &str,
    dialect: Dialect,
) -> Result<(), StoreError> {
    let unavailable = |e: &dyn std::fmt::Display| StoreError::Unavailable(e.to_string());
    session.use_keyspace(keyspace, true).await.map_err(|e| unavailable(&e))?;
    let mut text = "CREATE TABLE IF NOT EXISTS schema_version (name text, version int, \
                    held_by uuid static, description text, PRIMARY KEY (name, version)) \
                    WITH CLUSTERING ORDER BY (version DESC)"
        .to_owned();
    if dialect == Dialect::Portable {
        text.push_str(&format!(" AND id = {}", table_id(keyspace)));
    }
    run(session, &text).await?;
    session.await_schema_agreement().await.map(drop).map_err(|e| unavailable(&e))
}

/// FNV-1a, 128 bits: any number that follows from the name would do.
fn table_id(keyspace: &str) -> Uuid {
    let step = |hash: u128, byte: u8| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    };
    let hash = keyspace.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step);
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
}

async fn acquire(session: &Session, lock: Uuid) -> Result<(), StoreError> {
    let text = "UPDATE schema_version USING TTL ? SET held_by = ? WHERE name = 'tables' \
                IF held_by = null";
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(usize::try_from(LOCK_SECONDS).unwrap_or(1))
        .with_jitter();
    let acquire = async || {
        if apply(session, text, (LOCK_SECONDS, lock)).await? {
            return Ok(());
        }
        Err(StoreError::Unavailable("another migration is under way".to_owned()))
    };
    acquire.retry(delays).when(|error| matches!(error, StoreError::Unavailable(_))).await
}

async fn release(session: &Session, lock: Uuid) -> Result<(), StoreError> {
    let text = "UPDATE schema_version SET held_by = null WHERE name = 'tables' IF held_by = ?";
    apply(session, text, (lock,)).await.map(drop)
}

async fn apply_missing(
    session: &Session,
    keyspace: &str,
    dialect: Dialect,
) -> Result<(u32, u32), StoreError> {
    let from = version(session, keyspace).await?;
    if from > cql::VERSION {
        return Err(StoreError::Invalid(newer(keyspace, from)));
    }
    let tombstone_gc = tombstone_gc(session, keyspace);
    for migration in cql::MIGRATIONS.iter().filter(|migration| migration.version > from) {
        let Migration { version, name, portable, scylladb } = migration;
        for statement in cql::statements(portable) {
            run(session, &statement).await?;
        }
        if dialect == Dialect::ScyllaDb {
            for statement in cql::statements(scylladb) {
                run(session, &statement.replace("{tombstone_gc}", tombstone_gc)).await?;
            }
        }
        let text = "INSERT INTO schema_version (name, version, description) \
                    VALUES ('tables', ?, ?)";
        let version = i32::try_from(*version).unwrap_or(i32::MAX);
        let inserted = session.query_unpaged(text, (version, *name)).await;
        inserted.map_err(|e| failed(&e))?;
    }
    Ok((from, cql::VERSION))
}

/// The version of the tables; 0: there are none. A crash right after a migration may have left the
/// row of its lock only.
pub(super) async fn version(session: &Session, keyspace: &str) -> Result<u32, StoreError> {
    let text =
        format!("SELECT version FROM {keyspace}.schema_version WHERE name = 'tables' LIMIT 1");
    let result = session.query_unpaged(text, &[]).await.map_err(|e| failed(&e))?;
    let rows: Vec<(Option<i32>,)> = decode(result)?;
    Ok(rows.first().and_then(|row| u32::try_from(row.0?).ok()).unwrap_or(0))
}

/// Where there is one replica there is nothing to repair, so time alone decides.
fn tombstone_gc(session: &Session, keyspace: &str) -> &'static str {
    use scylla::cluster::metadata::Strategy;
    let cluster = session.get_cluster_state();
    let strategy = cluster.get_keyspace(keyspace).map(|keyspace| &keyspace.strategy);
    let is_single = match strategy {
        Some(Strategy::NetworkTopologyStrategy { datacenter_repfactors }) => {
            datacenter_repfactors.values().all(|factor| *factor <= 1)
        }
        Some(Strategy::SimpleStrategy { replication_factor }) => *replication_factor <= 1,
        _ => false,
    };
    if is_single {
        "{'mode': 'timeout'}"
    } else {
        "{'mode': 'repair', 'propagation_delay_in_seconds': '1728000'}"
    }
}

/// Runs a statement that changes the schema, until all nodes agree.
async fn run(session: &Session, text: &str) -> Result<(), StoreError> {
    match session.query_unpaged(text, &[]).await {
        Ok(_) => Ok(()),
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::AlreadyExists { .. },
            _,
        ))) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

async fn apply(
    session: &Session,
    text: &str,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<bool, StoreError> {
    let result = session.query_unpaged(text, values).await.map_err(|e| failed(&e))?;
    let rows: Vec<Row> = decode(result)?;
    let applied = rows.first().and_then(|row| row.columns.first());
    Ok(matches!(applied, Some(Some(CqlValue::Boolean(true)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyspaces_have_ids_of_their_own_that_stay() {
        assert_eq!(table_id("a"), table_id("a"));
        assert_ne!(table_id("a"), table_id("b"));
    }
}
