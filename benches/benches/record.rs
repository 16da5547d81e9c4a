//! The log record: what it costs to write and to read one.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace_schema::Record;
use millrace_schema::record::{Body, Device, Event, Profile};

const PROPERTIES: &str = r#"{"mkt_order_id":"20260117-000931","mkt_revenue":64500.5,"mkt_items":[{"mkt_product_id":"P-1007","mkt_product_name":"Rain jacket","mkt_product_price":39000,"mkt_quantity":1},{"mkt_product_id":"P-2210","mkt_product_name":"Wool socks","mkt_product_price":8500.5,"mkt_quantity":3}]}"#;

fn bodies() -> [(&'static str, Body<'static>); 3] {
    let text = Cow::Borrowed;
    let event = Event {
        user: text("user-00048213"),
        id: text("018f3c1e-0001-4000-8000-00000001a2b3"),
        name: text("mkt_purchase"),
        time_us: Some(1_737_092_362_123_456),
        properties: Some(text(PROPERTIES)),
        extra: None,
    };
    let profile = Profile {
        user: text("user-00048213"),
        time_us: None,
        properties: Some(text(
            r#"{"mkt_name":"Mina Park","mkt_grade":"gold","mkt_email_opt_in":true}"#,
        )),
    };
    let device = Device {
        user: Some(text("user-00048213")),
        device_id: text("gaid:38400000-8cf0-11bd-b23e-10b96e40000d"),
        time_us: None,
        fields: vec![(text("platform"), text("android")), (text("token"), text("push-token-1"))],
        properties: Some(text(r#"{"os":"Android","os_version":"16","opt_in":true}"#)),
        unlink: false,
    };
    [
        ("event", Body::Event(event)),
        ("profile", Body::Profile(profile)),
        ("device", Body::Device(device)),
    ]
}

fn record(criterion: &mut Criterion) {
    for (name, body) in bodies() {
        let record =
            Record { project: Cow::Borrowed("demo"), received_us: 1_737_092_362_500_000, body };
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        let mut group = criterion.benchmark_group(format!("record/{name}"));
        group.throughput(Throughput::Bytes(encoded.len() as u64));
        group.bench_function("encode", |bencher| {
            let empty = || Vec::with_capacity(encoded.len());
            let encode = |out: &mut Vec<u8>| black_box(&record).encode(out);
            bencher.iter_batched_ref(empty, encode, BatchSize::SmallInput);
        });
        group.bench_function("decode", |bencher| {
            bencher.iter(|| Record::decode(black_box(&encoded)).is_ok());
        });
        group.finish();
    }
}

criterion_group!(benches, record);
criterion_main!(benches);
