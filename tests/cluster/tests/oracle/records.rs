//! What stands in the topics: ours, read by a foreign client, and foreign, read by us.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace_cluster::Cluster;
use millrace_schema::Topic;
use millrace_schema::topic::partition_of;
use millrace_schema::user::{write_device_key, write_user_key};
use millrace_tests::generator::path;
use millrace_tests::observe;
use millrace_tests::system::System;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::foreign::{self, Read};
use crate::scene::Scene;
use crate::{cluster, records_document};

const PROJECT: &str = "demo";
const PARTITIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

fn scene<'c>(cluster: &'c Cluster, name: &str) -> Result<Scene<'c>> {
    Scene::new(cluster, name, |spec| (spec.doors, spec.workers) = (1, 1))
}

/// Sends one call through the front door, which must take it.
fn send(scene: &Scene<'_>, path: &str, body: &str) -> Result<()> {
    let doors = scene.split.doors();
    let mut client = doors.client(doors.all()[0]);
    let answer = client.send(&client.call(path, body))?;
    ensure!([200, 202].contains(&answer.status), "{body}: {} {}", answer.status, answer.text());
    Ok(())
}

fn user_key(user: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_user_key(&mut key, PROJECT, user);
    key
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn a_foreign_client_reads_the_records_that_are_documented() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let scene = scene(cluster, "wire")?;
    send(
        &scene,
        path::EVENTS,
        r#"{"events":[{"id":"order-17","name":"mkt_purchase","user_id":"u1","timestamp":"2026-01-17T05:39:22Z","properties":{"mkt_revenue": 39.90},"x_session":[1]}]}"#,
    )?;
    send(
        &scene,
        path::PROFILES,
        r#"{"profiles":[{"user_id":"u1","properties":{"mkt_grade":"gold"}}]}"#,
    )?;
    send(
        &scene,
        path::DEVICES,
        r#"{"devices":[{"device_id":"gaid:1","platform":"android","user_id":"u1"},{"device_id":"gaid:1","platform":"android","remove_user_id":true}]}"#,
    )?;
    send(&scene, path::DELETE, r#"{"user_id":"u1"}"#)?;
    send(&scene, "/app/v0/log", r#"{"type":"ad_log"}"#)?;
    let topic = |topic: Topic| format!("{}.{}", scene.spec.name, topic.short_name());
    let read = |of: Topic, count| foreign::read(cluster, &topic(of), count);
    let records = [
        (Topic::Events, read(Topic::Events, 3)?),
        (Topic::Profiles, read(Topic::Profiles, 2)?),
        (Topic::Devices, read(Topic::Devices, 3)?),
        (Topic::Deletions, read(Topic::Deletions, 1)?),
    ];
    let document = records_document::members()?;
    let mut kinds = BTreeSet::new();
    for (topic, records) in &records {
        for record in records {
            kinds.insert(check(*topic, record, &document).with_context(|| format!("{record:?}"))?);
        }
    }
    let all = ["device", "erase", "event", "job", "profile", "refused"].map(str::to_owned);
    ensure!(kinds == BTreeSet::from(all), "{kinds:?}");
    let events = records[0].1.iter().map(value).collect::<Result<Vec<Value>>>()?;
    let value = events.iter().find(|value| value["kind"] == "event").context("no event")?;
    ensure!(value["properties"]["mkt_revenue"] == 39.90, "{value}");
    ensure!(value["time_us"] == 1_768_628_362_000_000_i64, "{value}");
    Ok(())
}

fn value(record: &Read) -> Result<Value> {
    Ok(serde_json::from_slice(record.value.as_ref().context("no value")?)?)
}

/// Holds a record against the document; returns its kind.
fn check(topic: Topic, record: &Read, document: &records_document::Members) -> Result<String> {
    let value = value(record)?;
    let kind = value["kind"].as_str().context("no kind")?.to_owned();
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    ensure!(value["v"] == 1 && text("project") == PROJECT && record.headers.is_empty(), "{value}");
    let mut key = user_key(&text("user"));
    if kind == "job" {
        key = user_key(&text("job"));
    } else if kind == "refused" {
        key = user_key(&text("id"));
    } else if value.get("user").is_none() {
        key.clear();
        write_device_key(&mut key, PROJECT, &text("device_id"));
    }
    ensure!(record.key.as_ref() == Some(&key), "another key than {key:?}");
    ensure!(record.partition == partition_of(&key, PARTITIONS), "another partition, {topic}");
    let known = document.get(&kind).with_context(|| format!("{kind} is not documented"))?;
    let members = value.as_object().context("no object")?;
    for name in members.keys() {
        ensure!(known.contains_key(name), "{name} of {kind} is not documented");
    }
    for (name, optional) in known {
        ensure!(*optional || members.contains_key(name), "{name} is missing");
    }
    Ok(kind)
}

/// Something that no front door of ours writes.
struct Foreign {
    what: &'static str,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

fn foreign_records() -> Vec<Foreign> {
    let ours = r#"{"v":1,"kind":"event","project":"demo","user":"u1","received_us":1,"id":"i","name":"n"}"#;
    let key = || Some(user_key("u1"));
    let of = |what, key, value: &[u8]| Foreign { what, key, value: Some(value.to_vec()) };
    let noise: Vec<u8> = (0..1_000_000).map(|_| fastrand::u8(..)).collect();
    vec![
        of("garbage", key(), b"\x00\xff\xfenot a record"),
        of("truncated", key(), &ours.as_bytes()[..ours.len() - 9]),
        of("a future version", key(), ours.replace("\"v\":1", "\"v\":2").as_bytes()),
        of("an unknown kind", key(), ours.replace("event", "evens").as_bytes()),
        Foreign { what: "a null value", key: key(), value: None },
        of("an empty value", key(), b""),
        of("1 MiB of letters", key(), "x".repeat(1024 * 1024).as_bytes()),
        of("almost 1 MiB of noise", key(), &noise),
        of("a foreign key", Some(user_key("somebody else")), ours.as_bytes()),
        of("no key", None, ours.as_bytes()),
    ]
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn foreign_records_become_dead_letters_and_the_partition_goes_on() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let scene = scene(cluster, "foreign")?;
    for topic in Topic::CONSUMED {
        produce(cluster, &format!("{}.{}", scene.spec.name, topic.short_name()))?;
    }
    send(&scene, path::EVENTS, r#"{"events":[{"id":"a","name":"n","user_id":"u1"}]}"#)?;
    let mut users = Vec::new();
    for n in 0..16 {
        let body = format!(r#"{{"profiles":[{{"user_id":"v{n}","properties":{{"p":{n}}}}}]}}"#);
        send(&scene, path::PROFILES, &body)?;
        users.push(format!("v{n}"));
    }
    observe::wait_idle(&scene.split, &BTreeSet::new())?;

    let expected = foreign_records();
    let mut dead: BTreeMap<String, u64> = BTreeMap::new();
    for partition in observe::ledger(&scene.split)? {
        let sum: u64 = partition.outcomes.values().sum();
        ensure!(sum == partition.frontier, "{partition:?}");
        *dead.entry(partition.topic).or_default() += partition.outcomes.get("dead").unwrap_or(&0);
    }
    for topic in Topic::CONSUMED {
        ensure!(dead[topic.name()] == expected.len() as u64, "{topic}: {dead:?}");
        let letters = format!("{}.{}", scene.spec.name, topic.dead_letters().short_name());
        let letters = foreign::read(cluster, &letters, expected.len())?;
        buried(topic, &expected, &letters)?;
    }
    let seen = observe::read_back(&scene.split, &users.into_iter().collect())?;
    ensure!(seen.users.values().all(|user| user.profile.is_some()), "a profile is missing");
    ensure!(!scene.split.panicked()?, "a panic:\n{}", scene.split.stderr());
    Ok(())
}

/// Sets how large a record a topic takes; the rest as `millrace migrate` sets it.
fn limit(cluster: &Cluster, topic: &str, max_message_bytes: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("max.message.bytes", max_message_bytes)
        .set("message.timestamp.type", "LogAppendTime")
        .set("cleanup.policy", "delete");
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(admin.alter_configs([&topic], &AdminOptions::new()))?;
    ensure!(done.iter().all(std::result::Result::is_ok), "{done:?}");
    Ok(())
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn dead_letters_that_cannot_be_written_stop_the_partition_and_lose_nothing() -> Result<()> {
    let (_turn, cluster) = cluster()?;
    let scene = scene(cluster, "unwritable")?;
    let letters = format!("{}.events.dlq", scene.spec.name);
    limit(cluster, &letters, "100")?;
    produce(cluster, &format!("{}.events", scene.spec.name))?;
    // Somebody whose records come after the foreign ones.
    let behind = |user: &String| partition_of(&user_key(user), PARTITIONS) == 0;
    let user = (0..).map(|n| format!("w{n}")).find(behind).context("no such user")?;
    let event = format!(r#"{{"events":[{{"id":"a","name":"n","user_id":"{user}"}}]}}"#);
    send(&scene, path::EVENTS, &event)?;
    let since = Instant::now();
    while !scene.split.stderr().contains("dead letters:") {
        ensure!(since.elapsed() < PATIENCE, "nobody said a word:\n{}", scene.split.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
    let frontier = || -> Result<u64> {
        let mut ledger = observe::ledger(&scene.split)?.into_iter();
        let here = ledger.find(|row| row.topic == "millrace.events" && row.partition == 0);
        Ok(here.context("no row")?.frontier)
    };
    ensure!(frontier()? == 0, "the partition went on to {}", frontier()?);

    limit(cluster, &letters, "2097152")?;
    observe::wait_idle(&scene.split, &BTreeSet::new())?;
    let foreign = foreign_records();
    ensure!(frontier()? == foreign.len() as u64 + 1, "{}", frontier()?);
    buried(Topic::Events, &foreign, &foreign::read(cluster, &letters, foreign.len())?)?;
    let seen = observe::read_back(&scene.split, &BTreeSet::from([user]))?;
    ensure!(seen.users.values().all(|user| user.events.len() == 1), "the event is missing");
    Ok(())
}

/// Puts all foreign records into partition 0 of a topic.
fn produce(cluster: &Cluster, topic: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap()).set("acks", "all");
    config.set("compression.type", "lz4").set("message.max.bytes", "4000000");
    // Each is a batch of its own, or the broker would refuse several together.
    config.set("batch.num.messages", "1");
    let producer: BaseProducer = config.create()?;
    for Foreign { what, key, value } in foreign_records() {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0);
        (record.key, record.payload) = (key.as_deref(), value.as_deref());
        let sent = producer.send(record).map_err(|(error, _)| error);
        sent.with_context(|| format!("{what} to {topic}"))?;
    }
    producer.flush(PATIENCE).with_context(|| topic.to_owned())
}

/// Every foreign record is among the dead letters, as it was, with where it came from and why.
fn buried(topic: Topic, expected: &[Foreign], letters: &[Read]) -> Result<()> {
    let mut left: Vec<&Read> = letters.iter().collect();
    for Foreign { what, key, value } in expected {
        // There is no dead letter without key, or without value: they are empty.
        let (key, value) = (key.clone().unwrap_or_default(), value.as_deref().unwrap_or_default());
        let noise = *what == "almost 1 MiB of noise";
        let is = |letter: &&Read| {
            let read = letter.value.as_deref().unwrap_or_default();
            letter.key.as_deref().unwrap_or_default() == key
                && if noise { read.len() == value.len() } else { read == value }
        };
        let at = left.iter().position(is).with_context(|| format!("{topic}: no {what}"))?;
        let letter = left.swap_remove(at);
        let header = |name: &str| {
            let value = letter.headers.get(&format!("millrace-{name}"));
            value.with_context(|| format!("{topic}: {what} without {name}"))
        };
        ensure!(header("origin-topic")? == topic.name(), "{topic}: {what}: {:?}", letter.headers);
        ensure!(header("origin-partition")? == "0", "{topic}: {what}: {:?}", letter.headers);
        header("origin-offset")?.parse::<u64>()?;
        header("origin-time-us")?.parse::<i64>()?;
        ensure!(!header("error")?.is_empty(), "{topic}: {what}: no reason");
    }
    ensure!(left.is_empty(), "{topic}: {} strange dead letters", left.len());
    Ok(())
}
