//! `RECORD.md` says what the code does: examples, members, headers, topics, keys and limits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use aws_lc_rs::digest::{self, SHA256};
use millrace_schema::limits::{self, Limits};
use millrace_schema::record::{
    Body, Device, Event, Fence, HEADER_ERROR, HEADER_ORIGIN_TOPIC, Job, Marker, Profile, Reach,
    Refused, VERSION,
};
use millrace_schema::topic::partition_of;
use millrace_schema::{Record, Topic, user};
use serde_json::Value;
use uuid::Uuid;

const DOCUMENT: &str = include_str!("../RECORD.md");
const RECORD_SOURCE: &str = include_str!("../src/record.rs");
const KINDS: [&str; 6] = ["event", "profile", "device", "erase", "job", "refused"];

/// What follows a heading, up to the next one of any level.
fn section(heading: &str) -> &'static str {
    let heading = format!("\n{heading}\n");
    let start = DOCUMENT.find(&heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let text = &DOCUMENT[start + heading.len()..];
    text.find("\n#").map_or(text, |end| &text[..end])
}

fn section_of_kind(kind: &str) -> &'static str {
    section(&format!("### Kind `{kind}`"))
}

/// The fenced blocks of a text: (language, content).
fn blocks(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

/// The one block of a language in a text.
fn block(text: &'static str, language: &str) -> &'static str {
    let found: Vec<_> = blocks(text).into_iter().filter(|(l, _)| *l == language).collect();
    assert_eq!(found.len(), 1, "{language} blocks in {text}");
    found[0].1
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The cells of a text's tables, head lines included.
fn rows(text: &'static str) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| -> Option<Vec<&'static str>> {
        let line = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(line.split('|').map(str::trim).collect())
    };
    text.lines().filter_map(cells).collect()
}

/// The first cells that are a name in backticks.
fn names(text: &'static str) -> BTreeSet<&'static str> {
    rows(text).into_iter().filter_map(|cells| quoted(cells[0]).first().copied()).collect()
}

/// The cells of the row that describes a member.
fn row(text: &'static str, name: &str) -> Vec<&'static str> {
    let found = rows(text).into_iter().find(|cells| quoted(cells[0]).first() == Some(&name));
    found.unwrap_or_else(|| panic!("no row for `{name}` in {text}"))
}

/// A record of each kind, with everything that it can have.
fn full_records() -> [Record<'static>; 6] {
    let job = Uuid::from_u128(9);
    let (time_us, properties, extra) = (Some(1), Some("{}".into()), Some("{}".into()));
    let fence = Fence { topic: Topic::Events, partition: 1, first: 3, last: 9, count: 2 };
    let bodies = [
        Body::Event(Event {
            user: "u".into(),
            id: "i".into(),
            name: "n".into(),
            time_us,
            properties: properties.clone(),
            extra,
        }),
        Body::Profile(Profile { user: "u".into(), time_us, properties: properties.clone() }),
        Body::Device(Device {
            user: Some("u".into()),
            device_id: "d".into(),
            time_us,
            fields: vec![("platform".into(), "web".into())],
            properties,
            unlink: true,
        }),
        Body::Marker(Marker { user: "u".into(), job }),
        Body::Job(Job {
            job,
            users: 1,
            erase: Reach::ALL.to_vec(),
            fence: vec![fence],
            salt: "00".into(),
            ids_hash: "ff".into(),
            sample: vec!["u".into()],
        }),
        Body::Refused(Refused::new("i".into(), "r".into(), b"\xff")),
    ];
    bodies.map(|body| Record { project: "p".into(), received_us: 7, body })
}

fn json(record: &Record<'_>) -> Value {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    serde_json::from_slice(&bytes).unwrap()
}

fn member_names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_example_is_a_record_of_its_kind_and_is_written_as_it_stands() {
    for kind in KINDS {
        let text = block(section_of_kind(kind), "json");
        let record = Record::decode(text.as_bytes()).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(record.body.kind(), kind);
        assert_eq!(json(&record), serde_json::from_str::<Value>(text).unwrap(), "{kind}");
    }
    let examples = blocks(DOCUMENT).iter().filter(|(language, _)| *language == "json").count();
    assert_eq!(examples, KINDS.len() + 1, "each kind's, and the dead letter");
}

#[test]
fn every_member_that_is_written_is_described_and_no_other() {
    let common = names(section("### Every kind"));
    for record in full_records() {
        let kind = record.body.kind();
        let written = json(&record);
        let mut described = names(section_of_kind(kind));
        if kind == "job" {
            let of_fence = member_names(&written["fence"][0]);
            assert!(described.is_superset(&of_fence), "{of_fence:?}");
            described.retain(|name| !of_fence.contains(name));
        }
        described.extend(&common);
        assert_eq!(described, member_names(&written), "{kind}");
    }
    let kinds = full_records().map(|record| record.body.kind());
    assert_eq!(kinds, KINDS);
    assert_eq!(quoted(row(section("### Every kind"), "kind")[1 + 1]), KINDS);
    assert!(row(section("### Every kind"), "v")[2].ends_with(&format!(": {VERSION}")));
    assert!(section("## Versions").contains(&format!("reads version {VERSION} ")));
}

#[test]
fn a_member_is_called_optional_if_a_record_without_it_is_read_as_it_stands() {
    for record in full_records() {
        let (kind, full) = (record.body.kind(), json(&record));
        for name in names(section_of_kind(kind)) {
            let mut less = full.clone();
            if less.as_object_mut().unwrap().remove(name).is_none() {
                continue;
            }
            let text = less.to_string();
            let is_optional = Record::decode(text.as_bytes()).is_ok_and(|r| json(&r) == less);
            let says_so = row(section_of_kind(kind), name)[1].ends_with("optional");
            assert_eq!(says_so, is_optional, "{kind}: {name}");
        }
    }
}

#[test]
fn every_topic_stands_beside_its_dead_letters() {
    let text = section("## Topics");
    for topic in Topic::CONSUMED {
        let cells = row(text, topic.name());
        assert_eq!(quoted(cells[3]), [topic.dead_letters().name()], "{topic}");
    }
    assert_eq!(names(text).len(), Topic::CONSUMED.len());
    for topic in Topic::ALL {
        assert!(quoted(text).contains(&topic.name()), "{topic}");
    }
}

#[test]
fn every_header_is_described_and_no_other() {
    let declared: BTreeSet<&str> = RECORD_SOURCE
        .lines()
        .filter(|line| line.starts_with("pub const HEADER_"))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    assert!(declared.contains(HEADER_ERROR));
    assert_eq!(names(section("## Headers")), declared);
}

#[test]
fn keys_and_partitions_are_as_documented() {
    let text = section("## Partition");
    let rows = rows(text);
    let counts: Vec<u32> =
        rows[0][1..].iter().map(|head| head.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    let mut keys = Vec::new();
    for cells in &rows[2..] {
        let key = quoted(cells[0]).concat().replace("\\0", "\0");
        for (partitions, cell) in counts.iter().zip(&cells[1..]) {
            let partition = partition_of(key.as_bytes(), *partitions);
            assert_eq!(cell.parse(), Ok(partition), "{key:?} of {partitions}");
        }
        keys.push(key.into_bytes());
    }
    let mut written = [const { Vec::new() }; 3];
    let example = |kind| serde_json::from_str::<Value>(block(section_of_kind(kind), "json"));
    let member = |kind, name: &str| example(kind).unwrap()[name].as_str().unwrap().to_owned();
    user::write_user_key(&mut written[0], "shop", &member("event", "user"));
    user::write_device_key(&mut written[1], "shop", &member("device", "device_id"));
    user::write_user_key(&mut written[2], "shop", &member("job", "job"));
    assert_eq!(keys, written);
}

#[test]
fn the_keys_table_is_what_is_written() {
    let text = section("## Key");
    let key_of = |kind: &str| {
        let of_kind = |cells: &Vec<&'static str>| cells[0].contains(kind);
        let cells = rows(text).into_iter().find(of_kind).unwrap();
        let parts = quoted(cells[1]);
        let end = parts.iter().rposition(|part| *part == "\\0").unwrap() + 2;
        parts[..end].concat().replace("\\0", "\0").into_bytes()
    };
    let mut written = [const { Vec::new() }; 4];
    user::write_user_key(&mut written[0], "project", "user");
    user::write_device_key(&mut written[1], "project", "device_id");
    user::write_user_key(&mut written[2], "project", "job");
    user::write_user_key(&mut written[3], "project", "id");
    let documented =
        [key_of("`event`"), key_of("without a `user`"), key_of("`job`"), key_of("`refused`")];
    assert_eq!(documented, written);
}

#[test]
fn the_jobs_example_has_the_hash_and_the_partitions_that_it_says() {
    let text = block(section_of_kind("job"), "json");
    let record = Record::decode(text.as_bytes()).unwrap();
    let Body::Job(job) = &record.body else { panic!("{record:?}") };
    let digits = job.salt.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let mut bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    assert_eq!(job.users, job.sample.len() as u64, "the sample is all of them");
    for user in &job.sample {
        bytes.extend_from_slice(&(user.len() as u32).to_le_bytes());
        bytes.extend_from_slice(user.as_bytes());
    }
    let digest = digest::digest(&SHA256, &bytes);
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(job.ids_hash, hash);

    let mut key = Vec::new();
    user::write_user_key(&mut key, &record.project, &job.sample[0]);
    let reached: Vec<Topic> = job.fence.iter().map(|fence| fence.topic).collect();
    assert!(job.erase.iter().all(|reach| reached.contains(&reach.topic())));
    assert!(job.fence.iter().all(|fence| fence.partition == partition_of(&key, 32)));
}

#[test]
fn the_dead_letter_is_dead_for_the_reason_that_its_header_gives() {
    let text = section("## Dead letters");
    let headers: Vec<(&str, &str)> =
        block(text, "text").lines().map(|line| line.split_once(": ").unwrap()).collect();
    let header = |name| headers.iter().find(|(n, _)| *n == name).unwrap().1;
    let error = Record::decode(block(text, "json").trim_end().as_bytes()).unwrap_err();
    assert_eq!(header(HEADER_ERROR), error.to_string());
    assert!(Topic::CONSUMED.iter().any(|topic| topic.name() == header(HEADER_ORIGIN_TOPIC)));
    let on_dead_letters: BTreeSet<&str> = rows(section("## Headers"))
        .into_iter()
        .filter(|cells| cells[2].starts_with("dead letters"))
        .flat_map(|cells| quoted(cells[0]))
        .collect();
    assert_eq!(headers.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), on_dead_letters);
}

#[test]
fn limits_are_those_of_the_code() {
    let says = |kind: &str, name: &str, limit: String| {
        let text = if kind.is_empty() { section("### Every kind") } else { section_of_kind(kind) };
        let cells = row(text, name);
        assert!(cells[1..].iter().any(|cell| cell.contains(&limit)), "{kind} {name}: {limit}");
    };
    let bytes = |limit: usize| format!("1 to {limit} bytes");
    says("", "project", bytes(limits::PROJECT_ID_BYTES));
    for kind in ["event", "profile", "device", "erase"] {
        says(kind, "user", bytes(limits::USER_ID_BYTES));
    }
    says("event", "id", bytes(limits::ID_BYTES));
    says("refused", "id", bytes(limits::ID_BYTES));
    says("refused", "body", format!("{} bytes", limits::REFUSED_BODY_BYTES));
    says("event", "name", bytes(limits::NAME_BYTES));
    says("event", "time_us", format!("{} hours", limits::FUTURE_US / 3_600_000_000));
    says("device", "device_id", bytes(limits::DEVICE_ID_BYTES));
    says("device", "fields", format!("1 to {} characters", limits::PLATFORM_CHARS));
    says("job", "users", format!("1 to {}", limits::USER_IDS_PER_CALL));

    let text = section("## Limits");
    let id_bytes = limits::USER_ID_BYTES.max(limits::DEVICE_ID_BYTES);
    let key_bytes = limits::PROJECT_ID_BYTES + 2 + id_bytes;
    assert!(
        text.contains(&format!("at most {} bytes as it is sent", Limits::default().item_bytes))
    );
    assert!(text.contains(&format!("nested at most {} deep", limits::JSON_DEPTH)));
    assert!(text.contains(&format!("A key is at most {key_bytes} bytes")));
}
