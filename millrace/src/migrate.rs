//! `millrace migrate`: topics and tables of a cluster, made or checked.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use millrace_log::kafka::{self, Migrated, TopicSpec};
use millrace_schema::Topic;
use millrace_store::scylla;
use serde_json::{Value, json};

use crate::cli::{Common, Dialect, MigrateOptions};
use crate::engines::cluster::{cql_config, kafka_config};
use crate::print;

/// How long each server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(180);

/// What was done.
struct Done {
    topics: Vec<Migrated>,
    keyspace: String,
    tables: scylla::Report,
    rebased: Option<Topic>,
}

/// Makes what is missing, checks what is there, and prints what it did.
///
/// # Errors
/// A server is away, or has something else than is asked for.
pub(crate) async fn run(common: &Common, options: &MigrateOptions) -> Result<()> {
    let item_bytes_max = options.item_bytes_max;
    let kafka = kafka::Config { item_bytes_max, ..kafka_config(common, None) };
    let cql = cql_config(&common.cluster)?;
    let spec = TopicSpec {
        replication_factor: u32::from(options.replication_factor),
        min_insync_replicas: u32::from(options.min_insync_replicas()),
        retention: Duration::from_secs(options.log_retention_seconds.get()),
    };
    let topics = bounded(kafka::migrate(&kafka, &spec)).await.context("topics")?;
    let dialect = options.dialect.map(|dialect| match dialect {
        Dialect::Portable => scylla::Dialect::Portable,
        Dialect::Scylladb => scylla::Dialect::ScyllaDb,
    });
    let copies = u32::from(options.cql_replication_factor());
    let tables = scylla::migrate(&cql, dialect, copies);
    let tables = bounded(tables).await.context("tables")?;
    if let Some(topic) = options.recreated {
        let wait = cql.settle;
        tracing::warn!(%topic, ?wait, "begins again at offset 0; waits until no crash can undo it");
        let rebase = scylla::rebase(&cql, topic, kafka.partitions);
        rebase.await.with_context(|| format!("the ledger of {topic}"))?;
    }
    let done = Done { topics, keyspace: cql.keyspace, tables, rebased: options.recreated };
    Ok(print::stdout(&if common.json { format!("{}\n", done.to_json()) } else { done.to_text() })?)
}

async fn bounded<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(anyhow!("not done within {PATIENCE:?}; run it again")),
    }
}

impl Done {
    fn to_json(&self) -> Value {
        let topics = self.topics.iter();
        let topics = topics.map(|t| json!({ "topic": t.topic, "created": t.created }));
        let scylla::Report { made_keyspace, from, to, .. } = &self.tables;
        json!({
            "topics": topics.collect::<Vec<_>>(),
            "keyspace": {
                "name": self.keyspace,
                "created": made_keyspace,
                "dialect": self.dialect(),
                "version_before": from,
                "version": to,
            },
            "recreated": self.rebased.map(Topic::short_name),
        })
    }

    fn to_text(&self) -> String {
        let mut out = String::new();
        for Migrated { topic, created } in &self.topics {
            let what = if *created { "created" } else { "there, and right" };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "Topic {topic}: {what}.");
        }
        let scylla::Report { made_keyspace, from, to, .. } = &self.tables;
        let what = if *made_keyspace { "created" } else { "there" };
        let _ = write!(out, "Keyspace {}: {what}; {} tables ", self.keyspace, self.dialect());
        let _ = match (from, to) {
            (from, to) if from == to => writeln!(out, "of version {to}, right."),
            (0, to) => writeln!(out, "of version {to} created."),
            (from, to) => writeln!(out, "brought from version {from} to {to}."),
        };
        if let Some(topic) = self.rebased {
            let _ = writeln!(out, "Topic {}: begins again at offset 0.", topic.short_name());
        }
        out
    }

    const fn dialect(&self) -> &'static str {
        match self.tables.dialect {
            scylla::Dialect::Portable => "portable",
            scylla::Dialect::ScyllaDb => "scylladb",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(created: bool, from: u32) -> Done {
        let tables = scylla::Report {
            made_keyspace: created,
            dialect: scylla::Dialect::Portable,
            from,
            to: 2,
        };
        let topics = vec![Migrated { topic: "t.events".to_owned(), created }];
        Done { topics, keyspace: "k".to_owned(), tables, rebased: None }
    }

    #[test]
    fn people_are_told_what_was_made_and_what_was_there() {
        assert_eq!(
            done(true, 0).to_text(),
            "Topic t.events: created.\n\
             Keyspace k: created; portable tables of version 2 created.\n"
        );
        let again = Done { rebased: Some(Topic::Events), ..done(false, 2) };
        assert_eq!(
            again.to_text(),
            "Topic t.events: there, and right.\n\
             Keyspace k: there; portable tables of version 2, right.\n\
             Topic events: begins again at offset 0.\n"
        );
        assert!(done(false, 1).to_text().contains("brought from version 1 to 2"));
    }

    #[test]
    fn machines_get_one_object() {
        assert_eq!(
            done(true, 0).to_json(),
            json!({
                "topics": [{"topic": "t.events", "created": true}],
                "keyspace": {
                    "name": "k",
                    "created": true,
                    "dialect": "portable",
                    "version_before": 0,
                    "version": 2,
                },
                "recreated": null,
            })
        );
    }
}
