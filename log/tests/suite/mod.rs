//! What every engine must do, written against the traits only.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millrace_log::{AppendError, Batch, Bounds, Log, LogRecord, ReadError, Reader, Subscription};
use millrace_schema::Topic;
use millrace_schema::topic::partition_of;

/// Something that holds a log over openings.
pub(super) trait Engine {
    /// Opens the log; what was there before is there again.
    fn open(&self) -> impl Future<Output = Arc<dyn Log>>;
}

/// One test for each rule of the suite; `$engine` makes a fresh engine, the attributes are those of
/// every test.
macro_rules! conformance {
    ($engine:expr $(, #[$attribute:meta])*) => {
        conformance!(@ [$(#[$attribute])*] $engine;
            offsets_are_contiguous_and_answered_in_the_order_of_the_batch
            records_of_one_key_keep_the_order_of_the_calls
            what_was_acknowledged_is_there_after_reopening
            a_read_from_any_offset_yields_the_same_records
            bounds_cover_what_was_appended
            a_seek_beyond_the_end_is_refused
            a_seek_to_the_end_waits_for_the_next_record
            a_cancelled_read_loses_nothing
            a_partition_has_one_reader_in_a_group_until_it_is_dropped
            groups_read_independently
            readers_are_revoked_and_subscriptions_end_when_the_log_closes
            a_closed_log_refuses_appends
            headers_and_empty_values_survive
            appenders_and_readers_run_side_by_side
            how_long_records_are_kept_is_told_of_every_topic
        );
    };
    (@ $attributes:tt $engine:expr; $($name:ident)*) => {
        $(conformance!(@ $attributes $engine => $name);)*
    };
    (@ [$($attributes:tt)*] $engine:expr => $name:ident) => {
        $($attributes)*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let engine = $engine;
            suite::within(suite::$name(&engine)).await;
        }
    };
}

/// Runs a test that must not hang.
pub(super) async fn within(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test hangs");
}

fn push(log: &Arc<dyn Log>, batch: &mut Batch, topic: Topic, key: &str, value: &str) {
    batch.push(
        topic,
        log.partitions(),
        |out| out.extend_from_slice(key.as_bytes()),
        |out| out.extend_from_slice(value.as_bytes()),
    );
}

fn batch_of(log: &Arc<dyn Log>, topic: Topic, records: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in records {
        push(log, &mut batch, topic, key, value);
    }
    batch
}

/// A key of the partition.
fn key_of(log: &Arc<dyn Log>, partition: u32) -> String {
    let mut keys = (0..).map(|n| format!("key-{n}"));
    keys.find(|key| partition_of(key.as_bytes(), log.partitions()) == partition).unwrap()
}

/// Appends `count` numbered records of one key, some to a call; the value of each is its offset.
async fn fill(log: &Arc<dyn Log>, topic: Topic, key: &str, count: u64) {
    let mut written = 0;
    while written < count {
        let mut batch = Batch::default();
        let size = (1 + written % 7).min(count - written);
        for _ in 0..size {
            push(log, &mut batch, topic, key, &format!("{written}-{}", "x".repeat(500)));
            written += 1;
        }
        log.append(batch).await.unwrap();
    }
}

fn number(record: &LogRecord) -> u64 {
    let text = std::str::from_utf8(&record.value).unwrap();
    text.split('-').next().unwrap().parse().unwrap()
}

/// A reader of one partition, and the membership it belongs to.
async fn reader(
    log: &Arc<dyn Log>,
    group: &str,
    topic: Topic,
    partition: u32,
) -> (Box<dyn Subscription>, Box<dyn Reader>) {
    let mut member = log.subscribe(group, topic).unwrap();
    loop {
        let reader = member.next().await.unwrap().unwrap();
        if reader.partition() == partition {
            assert_eq!(reader.topic(), topic);
            return (member, reader);
        }
    }
}

async fn read_up_to(reader: &mut dyn Reader, end: u64, max_bytes: usize) -> Vec<LogRecord> {
    let mut records: Vec<LogRecord> = Vec::new();
    while records.last().is_none_or(|record| record.offset + 1 < end) {
        let more = reader.read(max_bytes).await.unwrap();
        assert!(!more.is_empty());
        records.extend(more);
    }
    records
}

pub(super) async fn offsets_are_contiguous_and_answered_in_the_order_of_the_batch(
    engine: &impl Engine,
) {
    let log = engine.open().await;
    let mut next: BTreeMap<(Topic, u32), u64> = BTreeMap::new();
    for call in 0..20 {
        let mut batch = Batch::default();
        for item in 0..30 {
            let topic = if item % 3 == 0 { Topic::Profiles } else { Topic::Events };
            push(&log, &mut batch, topic, &format!("user-{}", (call * item) % 11), "v");
        }
        let places: Vec<_> = batch.entries().map(|e| (e.topic, e.partition)).collect();
        let appended = log.append(batch).await.unwrap();
        assert_eq!(appended.offsets.len(), places.len());
        for (place, offset) in places.iter().zip(appended.offsets) {
            let expected = next.entry(*place).or_default();
            assert_eq!(offset, *expected);
            *expected += 1;
        }
    }
}

pub(super) async fn records_of_one_key_keep_the_order_of_the_calls(engine: &impl Engine) {
    let log = engine.open().await;
    let key = key_of(&log, 1);
    // All calls first, then all answers: the order is that of the calls.
    let answers: Vec<_> = (0..500)
        .map(|n| log.append(batch_of(&log, Topic::Events, &[(key.as_str(), &format!("{n}-"))])))
        .collect();
    let mut last = None;
    for answer in answers {
        let offset = answer.await.unwrap().offsets[0];
        assert!(last < Some(offset));
        last = Some(offset);
    }
    let (_member, mut reader) = reader(&log, "workers", Topic::Events, 1).await;
    reader.seek(0).await.unwrap();
    let records = read_up_to(&mut *reader, 500, 1_000).await;
    assert!(records.iter().map(number).eq(0..500));
}

pub(super) async fn what_was_acknowledged_is_there_after_reopening(engine: &impl Engine) {
    let mut written = 0;
    for _ in 0..3 {
        let log = engine.open().await;
        let key = key_of(&log, 0);
        let (member, mut reader) = reader(&log, "workers", Topic::Devices, 0).await;
        if written > 0 {
            reader.seek(0).await.unwrap();
            let records = read_up_to(&mut *reader, written, 100_000).await;
            assert!(records.iter().map(|record| record.offset).eq(0..written));
        }
        for n in written..written + 100 {
            let value = format!("{n}-");
            let batch = batch_of(&log, Topic::Devices, &[(key.as_str(), value.as_str())]);
            assert_eq!(log.append(batch).await.unwrap().offsets, [n]);
        }
        written += 100;
        drop((member, reader));
        log.close().await.unwrap();
    }
}

pub(super) async fn a_read_from_any_offset_yields_the_same_records(engine: &impl Engine) {
    let log = engine.open().await;
    let (key, other) = (key_of(&log, 2), key_of(&log, 3));
    for _ in 0..10 {
        fill(&log, Topic::Profiles, &other, 20).await;
        fill(&log, Topic::Events, &key, 30).await;
    }
    let (_member, mut reader) = reader(&log, "workers", Topic::Events, 2).await;
    reader.seek(0).await.unwrap();
    let all = read_up_to(&mut *reader, 300, 1 << 20).await;
    assert!(all.iter().map(|record| record.offset).eq(0..300));
    // Not a multiple of the batches' sizes.
    for start in (0..300_u64).step_by(5) {
        for max_bytes in [1, 4_000] {
            reader.seek(start).await.unwrap();
            let some = reader.read(max_bytes).await.unwrap();
            assert!(!some.is_empty());
            assert_eq!(some, all[start as usize..start as usize + some.len()]);
        }
    }
}

pub(super) async fn bounds_cover_what_was_appended(engine: &impl Engine) {
    let log = engine.open().await;
    let key = key_of(&log, 0);
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[0], Bounds { start: 0, end: 0 });
    fill(&log, Topic::Events, &key, 10).await;
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[0], Bounds { start: 0, end: 10 });
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[1], Bounds { start: 0, end: 0 });
    assert_eq!(log.bounds(Topic::Profiles).await.unwrap()[0], Bounds { start: 0, end: 0 });
    assert_eq!(log.bounds(Topic::Devices).await.unwrap().len(), log.partitions() as usize);
}

pub(super) async fn a_seek_beyond_the_end_is_refused(engine: &impl Engine) {
    let log = engine.open().await;
    fill(&log, Topic::Events, &key_of(&log, 0), 10).await;
    let (_member, mut reader) = reader(&log, "workers", Topic::Events, 0).await;
    match reader.seek(11).await {
        Err(ReadError::BeyondEnd { offset: 11, end: 10 }) => {}
        other => panic!("{other:?}"),
    }
}

pub(super) async fn a_seek_to_the_end_waits_for_the_next_record(engine: &impl Engine) {
    let log = engine.open().await;
    let key = key_of(&log, 0);
    fill(&log, Topic::Events, &key, 10).await;
    let (_member, mut reader) = reader(&log, "workers", Topic::Events, 0).await;
    reader.seek(10).await.unwrap();
    let read = tokio::spawn(async move { reader.read(1_000).await.unwrap() });
    let batch = batch_of(&log, Topic::Events, &[(key.as_str(), "10-")]);
    log.append(batch).await.unwrap();
    let records = read.await.unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [10]);
}

pub(super) async fn a_cancelled_read_loses_nothing(engine: &impl Engine) {
    let log = engine.open().await;
    let key = key_of(&log, 0);
    fill(&log, Topic::Events, &key, 200).await;
    let (_member, mut reader) = reader(&log, "workers", Topic::Events, 0).await;
    reader.seek(0).await.unwrap();
    let mut records: Vec<LogRecord> = Vec::new();
    let mut cancel = true;
    while records.len() < 200 {
        // Polled once, then dropped, every other time.
        let read = reader.read(1_000);
        cancel = !cancel;
        let more = if cancel {
            tokio::select! { biased; more = read => Some(more), () = std::future::ready(()) => None }
        } else {
            Some(read.await)
        };
        records.extend(more.transpose().unwrap().unwrap_or_default());
    }
    assert!(records.iter().map(number).eq(0..200));
}

pub(super) async fn a_partition_has_one_reader_in_a_group_until_it_is_dropped(
    engine: &impl Engine,
) {
    let log = engine.open().await;
    fill(&log, Topic::Events, &key_of(&log, 0), 10).await;
    let (first, mut held) = reader(&log, "workers", Topic::Events, 0).await;
    held.seek(0).await.unwrap();
    assert_eq!(held.read(1_000_000).await.unwrap().len(), 10);

    let mut second = log.subscribe("workers", Topic::Events).unwrap();
    let mut waits = tokio::spawn(async move {
        let mut others = Vec::new();
        loop {
            let reader = second.next().await.unwrap().unwrap();
            if reader.partition() == 0 {
                return (second, reader);
            }
            others.push(reader);
        }
    });
    let early = tokio::time::timeout(Duration::from_secs(2), &mut waits).await;
    assert!(early.is_err(), "the partition has two readers");
    // The first member as a whole: to whom else a group gives one partition is not said.
    drop((held, first));
    let (_second, mut taken) = waits.await.unwrap();
    taken.seek(0).await.unwrap();
    assert_eq!(taken.read(1_000_000).await.unwrap().len(), 10);
}

pub(super) async fn groups_read_independently(engine: &impl Engine) {
    let log = engine.open().await;
    fill(&log, Topic::EventsDlq, &key_of(&log, 0), 10).await;
    for group in ["a", "b"] {
        let (_member, mut reader) = reader(&log, group, Topic::EventsDlq, 0).await;
        reader.seek(0).await.unwrap();
        assert_eq!(read_up_to(&mut *reader, 10, 1_000).await.len(), 10);
        reader.commit(10);
    }
}

pub(super) async fn readers_are_revoked_and_subscriptions_end_when_the_log_closes(
    engine: &impl Engine,
) {
    let log = engine.open().await;
    fill(&log, Topic::Events, &key_of(&log, 0), 10).await;
    let (mut member, mut reader) = reader(&log, "workers", Topic::Events, 0).await;
    reader.seek(0).await.unwrap();
    log.close().await.unwrap();
    loop {
        match reader.read(1_000).await {
            Ok(_) => {}
            Err(ReadError::Revoked) => break,
            Err(other) => panic!("{other}"),
        }
    }
    drop(reader);
    while member.next().await.unwrap().is_some() {}
}

pub(super) async fn a_closed_log_refuses_appends(engine: &impl Engine) {
    let log = engine.open().await;
    let queued = log.append(batch_of(&log, Topic::Events, &[("k", "0-")]));
    log.close().await.unwrap();
    // What was queued before is durable, and is answered.
    assert_eq!(queued.await.unwrap().offsets, [0]);
    let refused = log.append(batch_of(&log, Topic::Events, &[("k", "1-")])).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))));
    assert!(log.health().is_err());
    log.close().await.unwrap();
}

pub(super) async fn headers_and_empty_values_survive(engine: &impl Engine) {
    let log = engine.open().await;
    let headers = vec![("origin".to_owned(), "ünï".to_owned()), (String::new(), String::new())];
    let mut batch = Batch::default();
    batch.push_with_headers(Topic::EventsDlq, 1, headers.clone(), |_| (), |_| ());
    batch.push(Topic::EventsDlq, 1, |out| out.push(0), |out| out.push(255));
    log.append(batch).await.unwrap();
    let (_member, mut reader) = reader(&log, "tool", Topic::EventsDlq, 0).await;
    reader.seek(0).await.unwrap();
    let records = read_up_to(&mut *reader, 2, 1_000).await;
    assert_eq!(records[0].headers, headers);
    assert!(records[0].key.is_empty() && records[0].value.is_empty());
    assert_eq!((&records[1].key[..], &records[1].value[..]), (&[0][..], &[255][..]));
}

pub(super) async fn appenders_and_readers_run_side_by_side(engine: &impl Engine) {
    const APPENDERS: u64 = 8;
    const EACH: u64 = 200;
    let log = engine.open().await;
    let mut appenders = Vec::new();
    for appender in 0..APPENDERS {
        let log = Arc::clone(&log);
        appenders.push(tokio::spawn(async move {
            let mut offsets = Vec::new();
            for n in 0..EACH {
                let key = key_of(&log, 0);
                let value = format!("{n}-{appender}-{}", "y".repeat(300));
                let batch = batch_of(&log, Topic::Events, &[(key.as_str(), value.as_str())]);
                offsets.extend(log.append(batch).await.unwrap().offsets);
            }
            offsets
        }));
    }
    let (_member, mut reader) = reader(&log, "workers", Topic::Events, 0).await;
    reader.seek(0).await.unwrap();
    let records = read_up_to(&mut *reader, APPENDERS * EACH, 5_000).await;
    assert!(records.iter().map(|record| record.offset).eq(0..APPENDERS * EACH));
    for (appender, task) in appenders.into_iter().enumerate() {
        let offsets = task.await.unwrap();
        let tag = format!("-{appender}-");
        let its = records.iter().filter(|r| std::str::from_utf8(&r.value).unwrap().contains(&tag));
        let read: Vec<_> = its.map(|record| (record.offset, number(record))).collect();
        let sent: Vec<_> = offsets.into_iter().zip(0..EACH).collect();
        assert_eq!(read, sent);
    }
}

pub(super) async fn how_long_records_are_kept_is_told_of_every_topic(engine: &impl Engine) {
    let log = engine.open().await;
    for topic in Topic::ALL {
        let kept = log.retention(topic).await.unwrap();
        // Every engine is set up to keep them for a day or more.
        assert!(kept.is_some_and(|kept| kept > Duration::from_secs(24 * 3_600)), "{kept:?}");
    }
}
