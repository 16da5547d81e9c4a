//! Connecting, in the background, for as long as it takes; and looking whether the database is
//! still there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use millrace_schema::cql;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::Shared;
use super::config::Config;
use super::connection::Connection;
use super::failure::{failed, not_connected};
use super::generation::Generations;
use super::statements::{Kind, Profiles, Statements};
use super::{connection, migrate, tls};
use crate::StoreError;

/// A refusal is believed when it was the answer so often in a row: a server that is still starting
/// may not know its users, its keyspaces or its tables yet.
const BELIEVED_AFTER: u32 = 5;
/// How often a connected store looks whether the database answers.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A silent connection is given up after one of each.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How the store stands to the database.
#[derive(Clone)]
pub(super) enum Link {
    /// Not connected yet, and why not.
    Connecting(String),
    Up {
        connection: Arc<Connection>,
        /// Why the last look found no answer.
        trouble: Option<String>,
    },
    /// It never will be, and what to do.
    Failed(String),
}

/// Connects, then looks after the connection, until the store is dropped.
pub(super) async fn keep(shared: Weak<Shared>) {
    let Some(connection) = connect_in_the_end(&shared).await else { return };
    let mut trouble = None;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let link = Link::Up { connection: Arc::clone(&connection), trouble };
        shared.link.send_replace(link);
        drop(shared);
        tokio::time::sleep(LOOK_EVERY).await;
        trouble = look(&connection).await.err().map(|error| error.to_string());
    }
}

async fn connect_in_the_end(shared: &Weak<Shared>) -> Option<Arc<Connection>> {
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_jitter();
    let mut delays = delays.build();
    let mut refused = 0;
    loop {
        let config = shared.upgrade()?.config.clone();
        let text = match connect(&config).await {
            Ok(connection) => {
                info!(keyspace = config.keyspace, "connected to the database");
                return Some(Arc::new(connection));
            }
            Err(StoreError::Invalid(text)) => {
                refused += 1;
                text
            }
            Err(error) => {
                refused = 0;
                error.to_string()
            }
        };
        if refused == BELIEVED_AFTER {
            error!(reason = text, "the database cannot be used");
            fail(&shared.upgrade()?.link, text);
            return None;
        }
        warn!(reason = text, "not connected to the database");
        shared.upgrade()?.link.send_replace(Link::Connecting(text));
        tokio::time::sleep(delays.next().unwrap_or(LOOK_EVERY)).await;
    }
}

fn fail(link: &watch::Sender<Link>, text: String) {
    link.send_replace(Link::Failed(text));
}

/// # Errors
/// [`StoreError::Invalid`] if it looks as if it could never succeed, with what to do.
pub(super) async fn connect(config: &Config) -> Result<Connection, StoreError> {
    let session = session(config).await?;
    let Config { keyspace, .. } = config;
    if !keyspace_exists(&session, keyspace).await? {
        return Err(StoreError::Invalid(format!(
            "there is no keyspace {keyspace}: make it with `millrace migrate`"
        )));
    }
    if !table_exists(&session, keyspace, "schema_version").await? {
        return Err(StoreError::Invalid(format!(
            "the keyspace {keyspace} has no tables of Millrace: make them with `millrace migrate`"
        )));
    }
    // Before the statements, some of which need tables that an older version has not.
    check_version(keyspace, migrate::version(&session, keyspace).await?)?;
    let profiles = Profiles::new(config);
    let statements = Statements::prepare(&session, keyspace, &profiles).await?;
    let generations = Generations::new(config.local_datacenter.clone());
    Ok(Connection::new(session, statements, profiles, generations, config))
}

/// Asks for something that is always there.
async fn look(connection: &Connection) -> Result<(), StoreError> {
    let asked = connection.row::<(Option<i32>,)>(&connection.statements.schema_version, &[]);
    asked.await.map(drop)
}

fn check_version(keyspace: &str, version: u32) -> Result<(), StoreError> {
    let ours = cql::VERSION;
    if version < ours {
        return Err(StoreError::Invalid(format!(
            "the tables of the keyspace {keyspace} are of version {version}, and this release needs \
             {ours}: run `millrace migrate`"
        )));
    }
    if version > ours {
        return Err(StoreError::Invalid(newer(keyspace, version)));
    }
    Ok(())
}

pub(super) fn newer(keyspace: &str, version: u32) -> String {
    let ours = cql::VERSION;
    format!(
        "the tables of the keyspace {keyspace} are of version {version}, and this release knows no \
         later one than {ours}: use the release that made them, or a later one"
    )
}

/// A session with the cluster; no keyspace is looked at.
pub(super) async fn session(config: &Config) -> Result<Session, StoreError> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .connection_timeout(config.request_timeout)
        .metadata_request_serverside_timeout(config.request_timeout)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .keyspaces_to_fetch([config.keyspace.as_str()])
        .default_execution_profile_handle(Kind::Read.profile(config));
    if let Some(datacenter) = &config.local_datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    if let Some(credentials) = &config.credentials {
        builder = builder.user(&credentials.user, &credentials.password);
    }
    if let Some(tls) = &config.tls {
        builder = builder.tls_context(Some(tls::client(tls)?));
    }
    let session = builder.build().await;
    session.map_err(|error: NewSessionError| not_connected(&error))
}

pub(super) async fn keyspace_exists(session: &Session, name: &str) -> Result<bool, StoreError> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    exists(session, text, (name,)).await
}

pub(super) async fn table_exists(
    session: &Session,
    keyspace: &str,
    table: &str,
) -> Result<bool, StoreError> {
    let text = "SELECT table_name FROM system_schema.tables \
                WHERE keyspace_name = ? AND table_name = ?";
    exists(session, text, (keyspace, table)).await
}

async fn exists(
    session: &Session,
    text: &str,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<bool, StoreError> {
    let result = session.query_unpaged(text, values).await.map_err(|e| failed(&e))?;
    Ok(!connection::decode::<(String,)>(result)?.is_empty())
}
