//! What the embedded log does about crashes and damage.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use millrace_log::embedded::{
    Config, EmbeddedLog, Repair, advance, inspect, inspect_segment, partitions, repair,
};
use millrace_log::{Batch, Log, LogError, LogRecord};
use millrace_schema::Topic;

/// Bytes of both copies of a segment's header with four partitions.
const DATA_START: usize = 8_192;

fn config() -> Config {
    Config { disk_floor_bytes: 0, ..Config::default() }
}

/// Adds a record to partition 0.
fn push(batch: &mut Batch, topic: Topic, value: &str) {
    batch.push(topic, 1, |_| (), |out| out.extend_from_slice(value.as_bytes()));
}

async fn append(log: &EmbeddedLog, records: &[(Topic, &str)]) {
    let mut batch = Batch::default();
    for (topic, value) in records {
        push(&mut batch, *topic, value);
    }
    log.append(batch).await.unwrap();
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.segment"))
}

async fn values(log: &EmbeddedLog, topic: Topic) -> Vec<(u64, String)> {
    let end = log.bounds(topic).await.unwrap()[0].end;
    let mut member = log.subscribe("test", topic).unwrap();
    let mut reader = member.next().await.unwrap().unwrap();
    assert_eq!(reader.partition(), 0);
    reader.seek(0).await.unwrap();
    log.close().await.unwrap();
    let mut records: Vec<LogRecord> = Vec::new();
    while let Ok(more) = reader.read(1 << 20).await {
        records.extend(more);
    }
    assert!(records.iter().all(|record| record.offset < end));
    let text = |record: LogRecord| String::from_utf8(record.value.to_vec()).unwrap();
    records.into_iter().map(|record| (record.offset, text(record))).collect()
}

const TOPICS: [Topic; 3] = [Topic::Events, Topic::Profiles, Topic::Deletions];

/// A log of three groups, each a record of three topics; what lies in its only segment, and
/// where each group lies.
async fn three_groups(dir: &Path) -> (Vec<u8>, Vec<Range<usize>>) {
    let log = EmbeddedLog::open(dir, config()).unwrap();
    let mut groups = Vec::new();
    let mut start = DATA_START;
    for group in 0..3 {
        let records = TOPICS.map(|topic| (topic, ["first", "second", "third"][group]));
        append(&log, &records).await;
        let end = inspect(dir).unwrap().segments[0].bytes as usize;
        groups.push(start..end);
        start = end;
    }
    log.close().await.unwrap();
    (fs::read(segment(dir, 1)).unwrap(), groups)
}

/// Opens a log whose only segment is `bytes`.
fn open_bytes(dir: &Path, bytes: &[u8]) -> Result<EmbeddedLog, LogError> {
    fs::write(segment(dir, 1), bytes).unwrap();
    EmbeddedLog::open(dir, config())
}

/// Whether `found` are the records of the first `groups` groups, and perhaps one more.
fn begins_with(found: &[(u64, String)], groups: usize) {
    let all = ["first", "second", "third"];
    assert!(found.len() >= groups, "{found:?}");
    for (n, (offset, value)) in found.iter().enumerate() {
        assert_eq!((*offset, value.as_str()), (n as u64, all[n]));
    }
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_truncated_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, groups) = three_groups(folder.path()).await;
    for cut in groups[2].clone() {
        let mut bytes = whole[..cut].to_vec();
        bytes.resize(cut + if cut % 2 == 0 { 5_000 } else { 0 }, 0);
        let log = open_bytes(folder.path(), &bytes).unwrap();
        append(&log, &[(Topic::Devices, "new")]).await;
        begins_with(&values(&log, TOPICS[cut % 3]).await, 2);
        drop(log);
        let log = EmbeddedLog::open(folder.path(), config()).unwrap();
        assert_eq!(values(&log, Topic::Devices).await, [(0, "new".to_owned())]);
    }
}

#[tokio::test]
async fn a_byte_changed_anywhere_in_the_last_group_costs_no_other_group() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, groups) = three_groups(folder.path()).await;
    for at in groups[2].clone() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let log = open_bytes(folder.path(), &bytes).unwrap();
        begins_with(&values(&log, TOPICS[at % 3]).await, 2);
    }
}

#[tokio::test]
async fn later_pages_of_the_last_group_without_earlier_ones_are_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, groups) = three_groups(folder.path()).await;
    let start = groups[2].start;
    for lost in 1..groups[2].len() {
        let mut bytes = whole.clone();
        bytes[start..start + lost].fill(0);
        let log = open_bytes(folder.path(), &bytes).unwrap();
        assert_eq!(values(&log, Topic::Events).await.len(), 2);
    }
}

#[tokio::test]
async fn a_byte_changed_before_the_last_group_is_refused_until_it_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, groups) = three_groups(folder.path()).await;
    for at in groups[0].start..groups[2].start {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let refusal = open_bytes(folder.path(), &bytes).unwrap_err().to_string();
        assert!(refusal.contains("00000000000000000001.segment is damaged at byte "), "{refusal}");
        assert!(refusal.contains("millrace log repair --data"), "{refusal}");
        assert!(!inspect(folder.path()).unwrap().is_whole());

        let done = repair(folder.path()).unwrap();
        let [cut] = &done.cut[..] else { panic!("{done}") };
        let kept = fs::read(cut.kept.as_ref().unwrap()).unwrap();
        assert_eq!(kept, bytes[cut.damage.from as usize..cut.damage.to as usize]);
        let [lost] = &done.lost[..] else { panic!("{done}") };
        assert_eq!(lost.first, lost.last);
        assert_eq!(lost.first, u64::from(at >= groups[1].start));
        assert!(inspect(folder.path()).unwrap().is_whole());

        let mut found = 0;
        for topic in TOPICS {
            let log = EmbeddedLog::open(folder.path(), config()).unwrap();
            assert_eq!(log.bounds(topic).await.unwrap()[0].end, 3);
            let values = values(&log, topic).await;
            let gap = values.iter().all(|(offset, _)| *offset != lost.first);
            assert_eq!(gap, topic == lost.topic);
            found += values.len();
        }
        assert_eq!(found, 8);
    }
}

#[tokio::test]
async fn a_damaged_segment_header_is_refused_and_repaired_from_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, _) = three_groups(folder.path()).await;
    // All of the first copy's fields, one of its zeros, and the same of the second.
    let fields = (0..48 + 8 * 8 * 4).chain([4_000]);
    for at in fields.clone().chain(fields.map(|at| at + DATA_START / 2)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(open_bytes(folder.path(), &bytes).is_err(), "{at}");
        // A format version from the future is not for this release to repair.
        if at == 8 || at == 9 {
            continue;
        }
        let done = repair(folder.path()).unwrap();
        assert_eq!((done.cut.len(), done.lost.len()), (1, 0), "{done}");
        let log = EmbeddedLog::open(folder.path(), config()).unwrap();
        begins_with(&values(&log, Topic::Events).await, 3);
    }
}

/// A log of many segments.
async fn many_segments(dir: &Path) -> u64 {
    let log = EmbeddedLog::open(dir, Config { segment_bytes: 1, ..config() }).unwrap();
    for n in 0..10 {
        append(&log, &[(Topic::Events, &n.to_string())]).await;
    }
    append(&log, &[(Topic::Devices, "d")]).await;
    log.close().await.unwrap();
    inspect(dir).unwrap().segments.len() as u64
}

#[tokio::test]
async fn damage_in_an_older_segment_is_refused_though_it_lies_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(many_segments(folder.path()).await, 11);
    let path = segment(folder.path(), 5);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let refusal = EmbeddedLog::open(folder.path(), config()).unwrap_err().to_string();
    assert!(refusal.contains("00000000000000000005.segment is damaged at byte 8192"), "{refusal}");
    let done = repair(folder.path()).unwrap();
    assert_eq!((done.lost[0].first, done.lost[0].last), (4, 4));
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    let offsets: Vec<_> = values(&log, Topic::Events).await.into_iter().map(|v| v.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_missing_segment_is_refused_and_a_repair_leaves_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    many_segments(folder.path()).await;
    fs::remove_file(segment(folder.path(), 3)).unwrap();
    let refusal = EmbeddedLog::open(folder.path(), config()).unwrap_err().to_string();
    assert!(refusal.contains("00000000000000000003.segment is missing"), "{refusal}");
    let Repair { cut, lost, .. } = repair(folder.path()).unwrap();
    assert_eq!((cut[0].segment, &cut[0].kept), (3, &None));
    assert_eq!((lost.len(), lost[0].first, lost[0].last), (1, 2, 2));
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    assert_eq!(values(&log, Topic::Events).await.len(), 9);
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_moved_on_to_its_readers_and_gives_no_offset_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    append(&log, &[(Topic::Events, "0"), (Topic::Events, "1")]).await;
    log.close().await.unwrap();
    drop(log);
    let ends = [(Topic::Events, 0, 5), (Topic::Profiles, 0, 0), (Topic::Devices, 0, 1)];
    let passed = advance(folder.path(), &config(), &ends).unwrap();
    let passed: Vec<_> = passed.iter().map(|p| (p.topic, p.first, p.last)).collect();
    assert_eq!(passed, [(Topic::Events, 2, 4), (Topic::Devices, 0, 0)]);
    assert!(advance(folder.path(), &config(), &ends).unwrap().is_empty(), "once is enough");

    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    append(&log, &[(Topic::Events, "5"), (Topic::Devices, "1")]).await;
    let read = values(&log, Topic::Events).await;
    assert_eq!(read, [(0, "0".into()), (1, "1".into()), (5, "5".into())]);
    drop(log);
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    assert_eq!(values(&log, Topic::Devices).await, [(1, "1".into())]);
}

#[tokio::test]
async fn a_first_segment_without_any_header_is_rebuilt_from_its_batches() {
    let folder = tempfile::tempdir().unwrap();
    many_segments(folder.path()).await;
    // As after retention: the log begins at offset 3.
    for number in 1..=3 {
        fs::remove_file(segment(folder.path(), number)).unwrap();
    }
    let path = segment(folder.path(), 4);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..DATA_START].fill(7);
    fs::write(&path, &bytes).unwrap();
    assert!(EmbeddedLog::open(folder.path(), config()).is_err());
    let done = repair(folder.path()).unwrap();
    assert!(done.lost.is_empty(), "{done}");
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    let bounds = log.bounds(Topic::Events).await.unwrap()[0];
    assert_eq!((bounds.start, bounds.end), (3, 10));
    assert_eq!(values(&log, Topic::Events).await.len(), 7);
}

#[tokio::test]
async fn a_log_without_any_header_is_not_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (mut bytes, _) = three_groups(folder.path()).await;
    bytes[..DATA_START].fill(0);
    assert!(open_bytes(folder.path(), &bytes).is_err());
    let refusal = repair(folder.path()).unwrap_err().to_string();
    assert!(refusal.contains("header"), "{refusal}");
    assert_eq!(fs::read(segment(folder.path(), 1)).unwrap(), bytes);
}

#[tokio::test]
async fn a_segment_without_records_opens() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    log.close().await.unwrap();
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    append(&log, &[(Topic::Events, "v")]).await;
    assert_eq!(values(&log, Topic::Events).await.len(), 1);
}

#[tokio::test]
async fn a_segment_that_was_never_finished_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    three_groups(folder.path()).await;
    fs::write(segment(folder.path(), 2).with_extension("new"), b"half a header").unwrap();
    let log = EmbeddedLog::open(folder.path(), Config { segment_bytes: 1, ..config() }).unwrap();
    append(&log, &[(Topic::Events, "fourth")]).await;
    assert_eq!(values(&log, Topic::Events).await.len(), 4);
    assert_eq!(inspect(folder.path()).unwrap().segments.len(), 2);
}

#[tokio::test]
async fn bytes_of_a_batch_inside_a_value_are_not_taken_for_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, groups) = three_groups(folder.path()).await;
    let log = open_bytes(folder.path(), &whole).unwrap();
    let mut batch = Batch::default();
    let stolen = &whole[groups[2].clone()];
    batch.push(Topic::Events, 1, |_| (), |out| out.extend_from_slice(stolen));
    log.append(batch).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let mut bytes = fs::read(segment(folder.path(), 1)).unwrap();
    bytes[groups[2].end] ^= 1;
    let log = open_bytes(folder.path(), &bytes).unwrap();
    assert_eq!(values(&log, Topic::Events).await.len(), 3);
}

#[tokio::test]
async fn inspecting_works_beside_a_running_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    append(&log, &[(Topic::Events, "a"), (Topic::Events, "b"), (Topic::Profiles, "c")]).await;
    let report = inspect(folder.path()).unwrap();
    assert!(report.is_whole());
    let [segment] = &report.segments[..] else { panic!("{report}") };
    assert_eq!((segment.number, segment.batches, segment.records), (1, 2, 3));
    let parts: Vec<_> = segment.partitions.iter().map(|p| (p.topic, p.first, p.last)).collect();
    assert_eq!(parts, [(Topic::Events, 0, 1), (Topic::Profiles, 0, 0)]);
    assert!(repair(folder.path()).unwrap_err().to_string().contains("in use"));
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path(), config()).unwrap();
    let refusal = EmbeddedLog::open(folder.path(), config()).unwrap_err().to_string();
    assert!(refusal.contains("in use by another process"), "{refusal}");
    log.close().await.unwrap();
    EmbeddedLog::open(folder.path(), config()).unwrap();
    EmbeddedLog::open(folder.path(), config()).unwrap();
}

#[tokio::test]
async fn the_number_of_partitions_is_told_without_opening() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(partitions(&folder.path().join("none")).unwrap(), None);
    assert_eq!(partitions(folder.path()).unwrap(), None);
    let _log = EmbeddedLog::open(folder.path(), Config { partitions: 7, ..config() }).unwrap();
    assert_eq!(partitions(folder.path()).unwrap(), Some(7));
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    EmbeddedLog::open(folder.path(), config()).unwrap().close().await.unwrap();
    let other = Config { partitions: 8, ..config() };
    let refusal = EmbeddedLog::open(folder.path(), other).unwrap_err().to_string();
    assert!(refusal.contains("created with 4 partitions, and 8 are configured"), "{refusal}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_inspected_without_a_panic(
        bytes: Vec<u8>,
        at in 0_usize..20_000,
        with_header: bool,
    ) {
        let mut segment = Vec::new();
        if with_header {
            let folder = tempfile::tempdir().unwrap();
            drop(EmbeddedLog::open(folder.path(), config()).unwrap());
            segment = fs::read(self::segment(folder.path(), 1)).unwrap();
            segment.resize(20_000, 0);
            let end = (at + bytes.len()).min(segment.len());
            segment[at..end].copy_from_slice(&bytes[..end - at]);
        } else {
            segment.extend_from_slice(&bytes);
        }
        let report = inspect_segment(&segment);
        let damage = report.damage.iter();
        proptest::prop_assert!(damage.clone().all(|d| d.from <= d.to));
        proptest::prop_assert!(report.batches == 0);
    }
}
