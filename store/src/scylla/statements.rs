//! Every statement, prepared once a connection, with the profile under which it runs.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};

use super::config::Config;
use super::failure::prepare_failed;
use crate::StoreError;

/// What a statement is for; a label of the metrics and the name of its execution profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    /// Writes that a deletion causes.
    Erase,
    /// Positions: read and written before and after rows.
    Ledger,
    /// Conditional writes.
    Lwt,
    /// Reads that see every conditional write, and finish one that was cut short.
    Serial,
    /// One node's generation.
    Poll,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Read, Self::Write, Self::Erase, Self::Ledger, Self::Lwt, Self::Serial, Self::Poll];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Erase => "erase",
            Self::Ledger => "ledger",
            Self::Lwt => "lwt",
            Self::Serial => "serial",
            Self::Poll => "poll",
        }
    }

    /// The driver retries nothing: its retries know no back-off.
    pub(super) fn profile(self, config: &Config) -> ExecutionProfileHandle {
        let timeout = match self {
            // Twice within a poll.
            Self::Poll => config.request_timeout / 2,
            _ => config.request_timeout,
        };
        let consistency = match self {
            Self::Serial => Consistency::LocalSerial,
            _ => config.consistency,
        };
        ExecutionProfile::builder()
            .consistency(consistency)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .request_timeout(Some(timeout.max(Duration::from_millis(1))))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .build()
            .into_handle_with_label(self.name().to_owned())
    }
}

/// A prepared statement with its kind.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) kind: Kind,
    pub(super) statement: PreparedStatement,
}

/// The profiles by name.
pub(super) struct Profiles([ExecutionProfileHandle; 7]);

impl Profiles {
    pub(super) fn new(config: &Config) -> Self {
        Self(Kind::ALL.map(|kind| kind.profile(config)))
    }

    pub(super) fn get(&self, kind: Kind) -> ExecutionProfileHandle {
        let [read, write, erase, ledger, lwt, serial, poll] = &self.0;
        let handle = match kind {
            Kind::Read => read,
            Kind::Write => write,
            Kind::Erase => erase,
            Kind::Ledger => ledger,
            Kind::Lwt => lwt,
            Kind::Serial => serial,
            Kind::Poll => poll,
        };
        handle.clone()
    }
}

macro_rules! statements {
    ($($name:ident: $kind:ident $text:literal;)+) => {
        /// All statements of one connection.
        pub(super) struct Statements {
            $(pub(super) $name: Prepared,)+
        }

        impl Statements {
            /// Prepares all, on every node.
            pub(super) async fn prepare(
                session: &Session,
                keyspace: &str,
                profiles: &Profiles,
            ) -> Result<Self, StoreError> {
                let texts = [$((Kind::$kind, $text)),+];
                let prepared = texts.map(|(kind, text)| {
                    prepare(session, kind, text.replace("{ks}", keyspace), profiles.get(kind))
                });
                let mut prepared = try_join_all(prepared).await?.into_iter();
                let mut next = || {
                    prepared.next().ok_or_else(|| {
                        StoreError::Unavailable("a statement was not prepared".to_owned())
                    })
                };
                Ok(Self { $($name: next()?,)+ })
            }
        }
    };
}

async fn prepare(
    session: &Session,
    kind: Kind,
    text: String,
    profile: ExecutionProfileHandle,
) -> Result<Prepared, StoreError> {
    let statement = session.prepare(Statement::new(text)).await;
    let mut statement = statement.map_err(|e| prepare_failed(&e))?;
    statement.set_is_idempotent(kind != Kind::Lwt);
    statement.set_execution_profile_handle(Some(profile));
    Ok(Prepared { kind, statement })
}

statements! {
    generation: Poll "SELECT host_id, gossip_generation FROM system.local WHERE key = 'local'";
    gc_grace_seconds: Read "SELECT table_name, gc_grace_seconds FROM system_schema.tables \
        WHERE keyspace_name = '{ks}'";
    schema_version: Read "SELECT version FROM {ks}.schema_version WHERE name = 'tables' LIMIT 1";

    put_event: Write "INSERT INTO {ks}.events (project_id, user_id, bucket, time_us, event_id, \
        payload) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    erase_events: Erase "DELETE FROM {ks}.events USING TIMESTAMP ? \
        WHERE project_id = ? AND user_id = ? AND bucket = ?";
    put_event_time: Write "INSERT INTO {ks}.event_times (project_id, user_id, event_id, time_us) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    erase_event_times: Erase "DELETE FROM {ks}.event_times USING TIMESTAMP ? \
        WHERE project_id = ? AND user_id = ?";
    put_profile: Write "INSERT INTO {ks}.profiles (project_id, user_id, created_us, updated_us) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    put_profile_cell: Write "INSERT INTO {ks}.profiles (project_id, user_id, name, cell) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    erase_profile: Erase "DELETE FROM {ks}.profiles USING TIMESTAMP ? \
        WHERE project_id = ? AND user_id = ?";
    put_device: Write "INSERT INTO {ks}.devices (project_id, user_id, device_id, name, \
        updated_us) VALUES (?, ?, ?, '', ?) USING TIMESTAMP ?";
    put_device_cell: Write "INSERT INTO {ks}.devices (project_id, user_id, device_id, name, cell) \
        VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    end_life: Erase "INSERT INTO {ks}.devices (project_id, user_id, life) VALUES (?, ?, ?) \
        USING TIMESTAMP ?";
    erase_devices: Erase "DELETE FROM {ks}.devices USING TIMESTAMP ? \
        WHERE project_id = ? AND user_id = ?";
    put_claim: Write "INSERT INTO {ks}.claims (project_id, device_id, holder, claim) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    erase_claim: Erase "DELETE FROM {ks}.claims USING TIMESTAMP ? \
        WHERE project_id = ? AND device_id = ? AND holder = ?";
    put_erasure: Erase "INSERT INTO {ks}.erasures (project_id, user_id, topic, log_offset, \
        job_id, received_us) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    put_job: Write "INSERT INTO {ks}.jobs (project_id, job_id, job, sample) VALUES (?, ?, ?, ?) \
        USING TIMESTAMP ?";
    put_job_by_time: Write "INSERT INTO {ks}.jobs_by_time (project_id, month, accepted_us, \
        job_id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    put_job_month: Write "INSERT INTO {ks}.job_months (project_id, month) VALUES (?, ?) \
        USING TIMESTAMP ?";
    put_open_job: Write "INSERT INTO {ks}.open_jobs (slot, project_id, job_id) VALUES (?, ?, ?) \
        USING TIMESTAMP ?";
    close_job: Write "DELETE FROM {ks}.open_jobs USING TIMESTAMP ? \
        WHERE slot = ? AND project_id = ? AND job_id = ?";
    complete_job: Lwt "UPDATE {ks}.jobs SET completion = ?, job = ?, sample = null \
        WHERE project_id = ? AND job_id = ? IF completion = null";

    head: Serial "SELECT turn, job_id, job, completion, number, receipt_job, receipt_hash \
        FROM {ks}.completions WHERE project_id = ?";
    first_turn: Lwt "UPDATE {ks}.completions SET turn = ?, job_id = ?, job = ?, completion = ?, \
        number = ?, receipt_job = ?, receipt_hash = ? WHERE project_id = ? IF turn = null";
    next_turn: Lwt "UPDATE {ks}.completions SET turn = ?, job_id = ?, job = ?, completion = ?, \
        number = ?, receipt_job = ?, receipt_hash = ? WHERE project_id = ? IF turn = ?";

    put_delivery: Lwt "UPDATE {ks}.deliveries SET delivery = ? WHERE project_id = ? \
        AND job_id = ? IF delivery != ?";
    delivery: Read "SELECT delivery FROM {ks}.deliveries WHERE project_id = ? AND job_id = ?";
    put_open_delivery: Write "INSERT INTO {ks}.open_deliveries (slot, project_id, job_id) \
        VALUES (?, ?, ?)";
    close_delivery: Write "DELETE FROM {ks}.open_deliveries \
        WHERE slot = ? AND project_id = ? AND job_id = ?";
    open_deliveries: Read "SELECT project_id, job_id FROM {ks}.open_deliveries WHERE slot = ?";

    events: Read "SELECT time_us, event_id, payload, WRITETIME(payload) FROM {ks}.events \
        WHERE project_id = ? AND user_id = ? AND bucket = ? AND (time_us) >= (?)";
    events_before: Read "SELECT time_us, event_id, payload, WRITETIME(payload) FROM {ks}.events \
        WHERE project_id = ? AND user_id = ? AND bucket = ? AND (time_us) >= (?) \
        AND (time_us, event_id) < (?, ?)";
    event_time: Read "SELECT time_us FROM {ks}.event_times \
        WHERE project_id = ? AND user_id = ? AND event_id = ?";
    profiles: Read "SELECT user_id, created_us, updated_us, WRITETIME(updated_us), name, cell \
        FROM {ks}.profiles WHERE project_id = ? AND user_id IN ?";
    devices: Read "SELECT user_id, life, device_id, name, updated_us, WRITETIME(updated_us), \
        cell, WRITETIME(cell) FROM {ks}.devices WHERE project_id = ? AND user_id IN ?";
    claims: Read "SELECT device_id, claim FROM {ks}.claims WHERE project_id = ? AND device_id IN ?";
    erasures: Read "SELECT job_id, log_offset, received_us FROM {ks}.erasures \
        WHERE project_id = ? AND user_id = ? AND topic = ?";
    job: Read "SELECT job, sample, completion, WRITETIME(job) FROM {ks}.jobs \
        WHERE project_id = ? AND job_id = ?";
    job_months: Read "SELECT month FROM {ks}.job_months WHERE project_id = ?";
    jobs_by_time: Read "SELECT accepted_us, job_id FROM {ks}.jobs_by_time \
        WHERE project_id = ? AND month = ?";
    jobs_by_time_before: Read "SELECT accepted_us, job_id FROM {ks}.jobs_by_time \
        WHERE project_id = ? AND month = ? AND (accepted_us, job_id) < (?, ?)";
    open_jobs: Read "SELECT project_id, job_id FROM {ks}.open_jobs WHERE slot = ?";

    newest_epoch: Ledger "SELECT newest_epoch, epoch FROM {ks}.ledger \
        WHERE topic = ? AND partition = ? LIMIT 1";
    newest_row: Ledger "SELECT state FROM {ks}.ledger WHERE topic = ? AND partition = ? LIMIT 1";
    ledger: Ledger "SELECT state FROM {ks}.ledger PER PARTITION LIMIT 1";
    old_epochs: Ledger "SELECT epoch FROM {ks}.ledger \
        WHERE topic = ? AND partition = ? AND epoch < ? LIMIT 3";
    put_ledger: Ledger "INSERT INTO {ks}.ledger (topic, partition, epoch, state) \
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    forget_epochs: Ledger "DELETE FROM {ks}.ledger USING TIMESTAMP ? \
        WHERE topic = ? AND partition = ? AND epoch <= ?";
    claim_first: Lwt "UPDATE {ks}.ledger SET newest_epoch = ? WHERE topic = ? AND partition = ? \
        IF newest_epoch = null";
    claim_next: Lwt "UPDATE {ks}.ledger SET newest_epoch = ? WHERE topic = ? AND partition = ? \
        IF newest_epoch = ?";
    topic: Ledger "SELECT base, partitions FROM {ks}.topics WHERE topic = ?";
    put_topic: Lwt "INSERT INTO {ks}.topics (topic, base, partitions) VALUES (?, ?, ?) \
        IF NOT EXISTS";
    rebase_topic: Lwt "UPDATE {ks}.topics SET base = ?, partitions = ? WHERE topic = ? \
        IF base = ?";

    projects: Read "SELECT project_id, name, created_us FROM {ks}.projects";
    put_project: Lwt "INSERT INTO {ks}.projects (project_id, name, created_us) VALUES (?, ?, ?) \
        IF NOT EXISTS";
    keys: Read "SELECT key_id, project_id, scopes, created_us, expires_us, revoked_us \
        FROM {ks}.api_keys";
    key_revoked: Read "SELECT revoked_us FROM {ks}.api_keys WHERE key_id = ?";
    put_key: Lwt "INSERT INTO {ks}.api_keys (key_id, project_id, scopes, created_us, expires_us, \
        revoked_us) VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    revoke_key: Lwt "UPDATE {ks}.api_keys SET revoked_us = ? WHERE key_id = ? \
        IF revoked_us = null";

    document: Read "SELECT version, text, expires_us FROM {ks}.documents \
        WHERE shard = ? AND kind = ? AND key = ?";
    documents: Read "SELECT key, version, text, expires_us FROM {ks}.documents \
        WHERE shard = ? AND kind = ? AND key >= ?";
    put_document: Lwt "UPDATE {ks}.documents USING TTL ? SET version = ?, text = ?, \
        expires_us = ? WHERE shard = ? AND kind = ? AND key = ? IF version = null";
    replace_document: Lwt "UPDATE {ks}.documents USING TTL ? SET version = ?, text = ?, \
        expires_us = ? WHERE shard = ? AND kind = ? AND key = ? IF version = ? AND expires_us = ?";
    remove_document: Lwt "DELETE FROM {ks}.documents WHERE shard = ? AND kind = ? AND key = ? \
        IF version = ? AND expires_us = ?";
    demand_no_document: Lwt "DELETE FROM {ks}.documents WHERE shard = ? AND kind = ? AND key = ? \
        IF version = null";

    put_outbox: Lwt "UPDATE {ks}.documents SET version = ?, text = ? \
        WHERE shard = ? AND kind = 'outbox' AND key = ? IF version = null";
    forestall: Lwt "UPDATE {ks}.documents SET version = 0 \
        WHERE shard = ? AND kind = 'outbox' AND key = ? IF version = null";
    outcome: Read "SELECT version FROM {ks}.documents \
        WHERE shard = ? AND kind = 'outbox' AND key = ?";
    outbox: Read "SELECT key, text, WRITETIME(version) FROM {ks}.documents \
        WHERE shard = ? AND kind = 'outbox' AND key < ?";
    clear_outbox: Write "DELETE FROM {ks}.documents USING TIMESTAMP ? \
        WHERE shard = ? AND kind = 'outbox' AND key <= ?";
    put_audit: Write "INSERT INTO {ks}.audit (month, time_us, id, entry) VALUES (?, ?, ?, ?)";
    put_audit_month: Write "INSERT INTO {ks}.audit_months (shard, month) VALUES (?, ?)";
    audit: Read "SELECT entry FROM {ks}.audit WHERE month = ? AND time_us >= ? AND time_us <= ?";
    audit_months: Read "SELECT month FROM {ks}.audit_months WHERE shard = ?";
    receipt_keys: Read "SELECT kid, public, created_us FROM {ks}.receipt_keys";
    put_receipt_key: Lwt "INSERT INTO {ks}.receipt_keys (kid, public, created_us) \
        VALUES (?, ?, ?) IF NOT EXISTS";
    webhooks: Read "SELECT project_id, url FROM {ks}.webhooks";
    set_webhook: Lwt "UPDATE {ks}.webhooks SET url = ? WHERE project_id = ? IF url != ?";
    clear_webhook: Lwt "UPDATE {ks}.webhooks SET url = null WHERE project_id = ? IF url != null";
}
