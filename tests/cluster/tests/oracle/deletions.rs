//! What was erased and comes again: from the dead letters, and from the beginning of the log after
//! every trace of it is gone from the database.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_schema::Topic;
use millrace_schema::record::{Body, Event, HEADER_ORIGIN_OFFSET, HEADER_ORIGIN_TIME_US, Record};
use millrace_schema::time::wall_clock_us;
use millrace_schema::topic::partition_of;
use millrace_schema::user::write_user_key;
use millrace_tests::crowd::Crowd;
use millrace_tests::observe;
use millrace_tests::world::until;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::cluster;
use crate::scene::Scene;

const PROJECT: &str = "demo";
const PARTITIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts an event of a user into the topic as a dead letter that was accepted at `offset`.
fn bury_again(scene: &Scene<'_>, user: &str, id: &str, offset: u64) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", scene.cluster.bootstrap()).set("acks", "all");
    let producer: BaseProducer = config.create()?;
    let event = Event {
        user: user.into(),
        id: id.into(),
        name: "mkt_login".into(),
        time_us: Some(1_768_628_362_000_000),
        properties: None,
        extra: None,
    };
    let received_us = wall_clock_us();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    write_user_key(&mut key, PROJECT, user);
    Record { project: PROJECT.into(), received_us, body: Body::Event(event) }.encode(&mut value);
    let (offset, time) = (offset.to_string(), received_us.to_string());
    let headers = OwnedHeaders::new()
        .insert(Header { key: HEADER_ORIGIN_OFFSET, value: Some(&offset) })
        .insert(Header { key: HEADER_ORIGIN_TIME_US, value: Some(&time) });
    let topic = format!("{}.{}", scene.spec.name, Topic::Events.short_name());
    let partition = i32::try_from(partition_of(&key, PARTITIONS))?;
    let record = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
    let sent = producer.send(record.headers(headers)).map_err(|(error, _)| error);
    sent.context("a dead letter")?;
    producer.flush(PATIENCE).context("a dead letter")
}

/// How many events are withheld.
fn withheld(scene: &Scene<'_>) -> Result<u64> {
    let rows = observe::ledger(&scene.split)?;
    Ok(rows.iter().filter_map(|row| row.outcomes.get("withheld")).sum())
}

/// Purges tombstones, and whatever they hide.
fn forget_tombstones(scene: &Scene<'_>) -> Result<()> {
    let (node, keyspace) = (&scene.cluster.nodes()[0], &*scene.spec.name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(without_grace(&node.address().to_string(), keyspace))?;
    node.nodetool(&["flush", keyspace])?;
    node.nodetool(&["compact", keyspace])?;
    Ok(())
}

async fn without_grace(cql: &str, keyspace: &str) -> Result<()> {
    let session: Session = SessionBuilder::new().known_node(cql).build().await?;
    let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let tables = session.query_unpaged(tables, (keyspace,)).await?.into_rows_result()?;
    let mut count = 0;
    for table in tables.rows::<(String,)>()? {
        let (table,) = table?;
        let alter = format!("ALTER TABLE {keyspace}.{table} WITH gc_grace_seconds = 0");
        session.query_unpaged(alter, ()).await?;
        count += 1;
    }
    ensure!(count > 5, "{keyspace} has {count} tables");
    Ok(())
}

/// Has the workers read the whole log again. Completed jobs stay among the open ones for a while.
fn replay(scene: &Scene<'_>) -> Result<()> {
    let mut why = String::new();
    let replayed = until("a replay", || match scene.split.run(&["replay"]) {
        Ok(_) => Some(()),
        Err(error) => {
            why = format!("{error:#}");
            None
        }
    });
    replayed.context(why)
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn what_was_erased_comes_back_neither_from_dead_letters_nor_from_the_whole_log() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let mut scene = Scene::new(cluster, "again", |_| {})?;
    let (erased, kept) = (Crowd::new("erased", 150), Crowd::new("kept", 50));
    scene.send(&[erased.load(), kept.load(), vec![erased.deletion(2)]].concat())?;
    scene.beside = erased.users().into_iter().chain(kept.users()).collect();
    let users: BTreeSet<String> = scene.beside.clone();
    scene.round(("no fault", |_| Ok(())))?;
    let all = &users | &scene.world.users;

    // One dead letter stands before the marker of its user, who is erased; nobody erased the other.
    let (gone, there) = (&erased.users()[0], &kept.users()[0]);
    scene.world.circumstances.whole_history = false;
    bury_again(&scene, gone, "before", 0)?;
    bury_again(&scene, there, "id-kept-000000", 0)?;
    scene.until_applied()?;
    ensure!(withheld(&scene)? == 1, "{} are withheld", withheld(&scene)?);
    expect_gone(&scene, gone)?;

    forget_tombstones(&scene)?;
    expect_gone(&scene, gone)?;
    replay(&scene)?;
    scene.world.expect_clean(&scene.split, &(&all - &BTreeSet::from([there.clone()])))?;
    ensure!(withheld(&scene)? == 1, "{} are withheld after the replay", withheld(&scene)?);
    expect_gone(&scene, gone)?;

    // What the replay wrote and erased again is forgotten, too.
    forget_tombstones(&scene)?;
    scene.world.expect_clean(&scene.split, &(&all - &BTreeSet::from([there.clone()])))
}

fn expect_gone(scene: &Scene<'_>, user: &str) -> Result<()> {
    let seen = observe::read_back(&scene.split, &BTreeSet::from([user.to_owned()]))?;
    let gone = seen
        .users
        .values()
        .all(|seen| seen.profile.is_none() && seen.devices.is_empty() && seen.events.is_empty());
    ensure!(gone, "{user} is back: {:?}", seen.users);
    Ok(())
}
