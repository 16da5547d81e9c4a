//! How fast bodies are read: small events in batches of 100, as JSON and as NDJSON, and a bulk
//! deletion of 100,000 ids.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_schema::limits::Limits;
use millrace_schema::parse::{Format, Parser};

const RECEIVED_US: i64 = 1_737_092_362_000_000;
const EVENTS: u64 = 100;
const IDS: u64 = 100_000;

fn small_events() -> Vec<String> {
    let event = |i| {
        format!(
            r#"{{"id":"0194721c-5c1b-7c33-a1ee-{i:012x}","name":"mkt_product_view","user_id":"user-{i}","timestamp":"2025-01-17T05:39:22.{i:03}Z","properties":{{"mkt_product_id":"p-{i}","mkt_product_price":12900.5,"mkt_quantity":{i},"mkt_brand":"밀레이스"}}}}"#
        )
    };
    (0..EVENTS).map(event).collect()
}

fn events(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("events_of_100");
    group.throughput(Throughput::Elements(EVENTS));
    let bodies = [
        ("json", Format::Json, format!("{{\"events\":[{}]}}", small_events().join(","))),
        ("ndjson", Format::NdJson, small_events().join("\n")),
    ];
    for (name, format, body) in bodies {
        let mut parser = Parser::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                let parsed =
                    parser.events(black_box(body.as_bytes()), format, &limits, RECEIVED_US);
                parsed.map(|p| p.items.len())
            });
        });
    }
    group.finish();
}

fn user_ids(c: &mut Criterion) {
    let limits = Limits::default();
    let ids: Vec<String> = (0..IDS).map(|i| format!("\"user-{i}\"")).collect();
    let body = format!("{{\"user_ids\":[{}]}}", ids.join(","));
    let mut parser = Parser::new();
    let mut group = c.benchmark_group("user_ids");
    group.throughput(Throughput::Elements(IDS));
    group.bench_function("json", |b| {
        b.iter(|| {
            let parsed = parser.user_ids(black_box(body.as_bytes()), Format::Json, &limits);
            parsed.map(|p| p.users.len())
        });
    });
    group.finish();
}

criterion_group!(benches, events, user_ids);
criterion_main!(benches);
