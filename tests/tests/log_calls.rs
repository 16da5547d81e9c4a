//! The two log calls: what becomes an event, what becomes a dead letter, and that the client is
//! told neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use millrace_log::embedded::{Config, EmbeddedLog};
use millrace_log::{Log, LogRecord};
use millrace_schema::Topic;
use millrace_schema::limits::JSON_DEPTH;
use millrace_schema::record::{Body, HEADER_ERROR, HEADER_ORIGIN_TOPIC, Record};
use millrace_tests::client::{Answer, Client, Request};
use millrace_tests::encoding::Encoding;
use millrace_tests::generator::path;
use millrace_tests::observe::{self, EventSeen};
use millrace_tests::process::{Launch, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

const AD_LOG: &str = "/app/v0/log";
const ACTIVITY: &str = "/app/v0/log/activity";
const ITEM_BYTES_MAX: usize = 4096;

struct Scene {
    folder: TempDir,
    server: Server,
    client: Client,
}

impl Scene {
    fn start(args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let limit = ITEM_BYTES_MAX.to_string();
        let launch = Launch::dev(&folder.path().join("data"))?.args(&["--item-bytes-max", &limit]);
        let server = launch.args(args).start()?;
        let client = server.client();
        Ok(Self { folder, server, client })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A request to a log call: its key alone names the project.
    fn request(&self, path: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::post(path, body).bearer(&self.client.key)
    }

    fn send(&mut self, request: &Request) -> Result<Answer> {
        self.client.send(request)
    }

    /// Sends what must be answered with an empty 200.
    fn take(&mut self, request: &Request) -> Result<()> {
        let answer = self.send(request)?;
        ensure!(answer.status == 200, "{request:?}: {} {}", answer.status, answer.text());
        ensure!(answer.body.is_empty(), "{request:?}: {}", answer.text());
        ensure!(answer.header("millrace-ack") == Some("fsynced"), "{answer:?}");
        ensure!(answer.header("x-request-id").is_some(), "{answer:?}");
        Ok(())
    }

    fn log(&mut self, path: &str, body: &Value) -> Result<()> {
        let request = self.request(path, body.to_string());
        self.take(&request)
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.client.call(path, body.to_string());
        self.send(&request)
    }

    /// Waits for the workers; then every partition of the ledger must add up.
    fn settle(&self) -> Result<()> {
        observe::wait_idle(&self.server, &BTreeSet::new())?;
        for partition in observe::ledger(&self.server)? {
            let sum: u64 = partition.outcomes.values().sum();
            ensure!(sum == partition.frontier, "{partition:?}");
        }
        Ok(())
    }

    /// The events of a user, newest first.
    fn events(&mut self, user: &str) -> Result<Vec<EventSeen>> {
        observe::read_events(&mut self.client, user, 10)
    }

    /// What became of the project's records of the topic of events.
    fn outcomes(&mut self) -> Result<BTreeMap<String, u64>> {
        let topic = observe::accounting(&mut self.client)?.topics.remove("events");
        Ok(topic.context("no events")?.outcomes)
    }

    fn metric(&self, series: &str) -> Result<u64> {
        let metrics = self.server.admin_client().send(&Request::get("/metrics"))?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.unwrap_or("0").parse()?)
    }

    fn items(&self, route: &str, result: &str) -> Result<u64> {
        let labels = format!("{{route=\"{route}\",result=\"{result}\"}}");
        self.metric(&format!("millrace_ingest_items_total{labels}"))
    }

    fn command(&self, args: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.server.launch().binary);
        let output = command.args(args).arg("--json").arg("--data").arg(self.data()).output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "millrace {args:?}: {error}");
        serde_json::from_slice(&output.stdout).context(error)
    }

    /// Ends the server and reads the dead letters of the topic of events.
    fn end(self) -> Result<Vec<DeadLetter>> {
        ensure!(!self.server.panicked()?, "a panic:\n{}", self.server.stderr());
        let data = self.data();
        let (status, _) = self.server.terminate()?;
        ensure!(status.success(), "{status}");
        dead_letters(&data)
    }
}

/// A body that could be no event.
#[derive(Debug)]
struct DeadLetter {
    reason: String,
    project: String,
    body: Vec<u8>,
}

impl DeadLetter {
    fn of(letter: &LogRecord) -> Result<Self> {
        let header = |name: &str| {
            let found = letter.headers.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.clone()).context("a header is missing")
        };
        ensure!(header(HEADER_ORIGIN_TOPIC)? == Topic::Events.name(), "{letter:?}");
        let record = Record::decode(&letter.value)?;
        let Body::Refused(refused) = record.body else { bail!("another kind: {letter:?}") };
        let reason = header(HEADER_ERROR)?;
        ensure!(refused.reason == reason, "{} is not {reason}", refused.reason);
        ensure!(refused.body_bytes == refused.body.len() as u64, "not whole: {letter:?}");
        let (project, body) = (record.project.into_owned(), refused.body.into_owned());
        Ok(Self { reason, project, body })
    }
}

/// Reads them from the log of a server that does not run.
fn dead_letters(data: &Path) -> Result<Vec<DeadLetter>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = EmbeddedLog::open(&data.join("log"), Config::default())?;
        let mut subscription = log.subscribe("test", Topic::EventsDlq)?;
        let bounds = log.bounds(Topic::EventsDlq).await?;
        let mut letters = Vec::new();
        for _ in 0..log.partitions() {
            let mut reader = subscription.next().await?.context("no partition")?;
            let end = bounds[reader.partition() as usize].end;
            reader.seek(0).await?;
            let mut next = 0;
            while next < end {
                for record in reader.read(1 << 20).await? {
                    next = record.offset + 1;
                    letters.push(DeadLetter::of(&record)?);
                }
            }
        }
        drop(subscription);
        log.close().await?;
        Ok(letters)
    })
}

fn ad_log(action: &str, id: &str) -> Value {
    json!({"type": "ad_log", "action": action, "ad_log": id})
}

/// A second of today.
fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn activity(schema: &str, user: &str, more: &Value) -> Value {
    let mut body = json!({"schema": schema, "channel": "web", "device_id": "d-1",
        "timestamp": now_s(), "user_id": user});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

fn properties(event: &EventSeen) -> Result<Value> {
    Ok(serde_json::from_str(event.properties.as_deref().unwrap_or("{}"))?)
}

#[test]
fn every_action_of_an_ad_log_is_read_back_as_an_event_of_its_own() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    let id = "광고/1 %2F?\"";
    let before_us = jiff::Timestamp::now().as_microsecond();
    for (action, price) in [("imp", None), ("clk", None), ("conv", Some("12.50"))] {
        let price = price.map_or(String::new(), |price| format!(",\"price\": {price}"));
        let id = serde_json::to_string(id)?;
        let body = format!(
            r#"{{"type":"ad_log","action":"{action}","ad_log":{id}{price},"unknown":[1]}}"#
        );
        let request = scene.request(AD_LOG, body);
        scene.take(&request)?;
    }
    scene.settle()?;
    let events = scene.events(&format!("ad_log:{id}"))?;
    let names: BTreeSet<&str> = events.iter().map(|event| &*event.name).collect();
    ensure!(names == ["ad.clk", "ad.conv", "ad.imp"].into(), "{events:?}");
    for event in &events {
        let price = if event.name == "ad.conv" { ",\"price\":12.50" } else { "" };
        let expected = format!("{{\"ad_log\":{}{price}}}", serde_json::to_string(id)?);
        ensure!(event.properties.as_deref() == Some(&expected), "{event:?}");
        let now_us = jiff::Timestamp::now().as_microsecond();
        ensure!((before_us..=now_us).contains(&event.time_us), "not its receipt: {event:?}");
        ensure!(event.extra.is_empty(), "{event:?}");
    }
    ensure!((scene.items("ad_log", "accepted")?, scene.items("ad_log", "rejected")?) == (3, 0));
    Ok(())
}

#[test]
fn every_schema_of_an_activity_is_read_back_as_an_event_of_its_user() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    let device = json!({"device": {"os": "15", "model": "픽셀"}, "catalogs": [{"id": "c"}]});
    let sent = [
        ("activity.item_view", json!({})),
        ("activity.add_cart", device.clone()),
        ("activity.page_view", json!({"anything": null, "else": {"deep": [1.50]}})),
        ("activity.search", json!({"query": "검색"})),
        ("activity.purchase", json!({"revenue": {"currency": "KRW", "revenue": 39_900.5}})),
    ];
    let second = now_s() - 100;
    for (n, (schema, more)) in (0..).zip(&sent) {
        let mut body = activity(schema, "u", more);
        // Whole seconds and others.
        body["timestamp"] =
            if n % 2 == 0 { json!(second + n) } else { json!((second + n) as f64 + 0.25) };
        scene.log(ACTIVITY, &body)?;
    }
    scene.settle()?;
    let events = scene.events("u")?;
    ensure!(events.len() == sent.len(), "{events:?}");
    for (n, (event, (schema, more))) in (0..).zip(events.iter().rev().zip(&sent)) {
        let mut expected = json!({"channel": "web", "device_id": "d-1"});
        for (name, value) in more.as_object().into_iter().flatten() {
            expected[name] = value.clone();
        }
        ensure!(event.name == *schema, "{event:?}");
        ensure!(properties(event)? == expected, "{event:?}");
        let fraction_us = if n % 2 == 0 { 0 } else { 250_000 };
        ensure!(event.time_us == (second + n) * 1_000_000 + fraction_us, "{event:?}");
    }
    ensure!((scene.items("activity", "accepted")?, scene.items("activity", "rejected")?) == (5, 0));
    Ok(())
}

#[test]
fn an_ad_log_is_stored_once_and_an_activity_once_for_each_idempotency_key() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    let view = activity("activity.item_view", "u", &json!({}));
    for _ in 0..3 {
        scene.log(AD_LOG, &ad_log("imp", "a"))?;
        // Written otherwise, and under another key: it is the same.
        let other = r#"{ "ad_log": "a", "action": "imp", "type": "ad_log" }"#;
        let request = scene.request(AD_LOG, other).header("Idempotency-Key", "any");
        scene.take(&request)?;
        for key in ["k", "l"] {
            let request = scene.request(ACTIVITY, view.to_string());
            scene.take(&request.header("Idempotency-Key", key))?;
        }
        scene.settle()?;
    }
    ensure!(scene.events("ad_log:a")?.len() == 1, "a repeat was stored");
    ensure!(scene.events("u")?.len() == 2, "{:?}", scene.events("u")?);
    scene.log(ACTIVITY, &view)?;
    scene.log(ACTIVITY, &view)?;
    scene.settle()?;
    ensure!(scene.events("u")?.len() == 4, "without a key each is another");
    let outcomes = scene.outcomes()?;
    ensure!(outcomes.get("duplicate") == Some(&5), "{outcomes:?}");
    Ok(())
}

#[test]
fn every_encoding_is_taken_and_no_header_makes_it_another_call() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    for encoding in Encoding::COMPRESSING {
        let name = encoding.name().context("no name")?;
        let body = encoding.encode(ad_log("imp", name).to_string().as_bytes())?;
        let request = scene.request(AD_LOG, body).header("Content-Encoding", name);
        // Neither lines nor leniency have a meaning here.
        let request = request.header("Content-Type", "application/x-ndjson");
        scene.take(&request.header("Prefer", "handling=lenient"))?;
        scene.settle()?;
        ensure!(scene.events(&format!("ad_log:{name}"))?.len() == 1, "{name}");
    }
    let mut request =
        scene.request(ACTIVITY, activity("activity.page_view", "u", &json!({})).to_string());
    request.chunk_bytes = Some(7);
    let answer = scene.send(&request.header("X-Request-Id", "mine"))?;
    ensure!((answer.status, answer.header("x-request-id")) == (200, Some("mine")), "{answer:?}");
    Ok(())
}

/// Bodies of a call that can be no event, and a part of the reason that each must be given.
fn invalid() -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let ad = |changes: Value| {
        let mut body = ad_log("imp", "a");
        for (name, value) in changes.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body.to_string().into_bytes()
    };
    let act =
        |changes: Value| activity("activity.page_view", "u", &changes).to_string().into_bytes();
    let deep = format!("{}{}", "[".repeat(JSON_DEPTH + 1), "]".repeat(JSON_DEPTH + 1));
    let very_deep = "[".repeat(ITEM_BYTES_MAX);
    let deep_ad = format!(r#"{{"type":"ad_log","action":"imp","ad_log":"a","x":{deep}}}"#);
    let deep_activity = act(json!({"device": serde_json::from_str::<Value>(&deep)?}));
    let twice = [ad(json!({})), ad(json!({}))].join(&b'\n');
    let huge = br#"{"type":"ad_log","action":"conv","ad_log":"a","price":1e999}"#.to_vec();
    let euc_kr =
        b"{\"type\":\"ad_log\",\"action\":\"imp\",\"ad_log\":\"\xb1\xa4\xb0\xed\"}".to_vec();
    let cut = act(json!({}))[..40].to_vec();
    Ok(vec![
        (AD_LOG, vec![], "not an ad log: the body is not valid JSON at byte 0"),
        (AD_LOG, b"hello".to_vec(), "not valid JSON"),
        (AD_LOG, b"\0\0".to_vec(), "not valid JSON"),
        (AD_LOG, euc_kr, "invalid UTF-8"),
        (AD_LOG, b"[]".to_vec(), "the body must be a JSON object"),
        (AD_LOG, format!("[{}]", ad_log("imp", "a")).into_bytes(), "must be a JSON object"),
        (AD_LOG, b"null".to_vec(), "must be a JSON object"),
        (AD_LOG, b"{}".to_vec(), "`type` is required; `action` is required; `ad_log` is required"),
        (AD_LOG, twice, "not valid JSON"),
        (AD_LOG, very_deep.into_bytes(), "not an ad log: "),
        (AD_LOG, deep_ad.into_bytes(), "nests arrays and objects deeper than 32 levels"),
        (AD_LOG, huge, "beyond the range of a double"),
        (AD_LOG, ad(json!({"type": "other"})), "`type` must be `ad_log`"),
        (AD_LOG, ad(json!({"action": "view"})), "`action` must be `imp`, `clk` or `conv`"),
        (AD_LOG, ad(json!({"ad_log": ""})), "`ad_log` is 0 bytes long; it must be 1 to 249"),
        (AD_LOG, ad(json!({"ad_log": "a".repeat(250)})), "`ad_log` is 250 bytes long"),
        (AD_LOG, ad(json!({"price": 1})), "`price` may come only with `conv`"),
        (AD_LOG, ad(json!({"action": "conv", "price": "1"})), "`price` must be a number"),
        (ACTIVITY, b"{".to_vec(), "not an activity: the body is not valid JSON"),
        (ACTIVITY, cut, "not valid JSON"),
        (ACTIVITY, ad(json!({})), "not an activity: `schema` is required"),
        (ACTIVITY, deep_activity, "deeper than 32 levels"),
        (ACTIVITY, act(json!({"schema": "activity.other"})), "`schema` must be `activity.`"),
        (ACTIVITY, act(json!({"user_id": "ad_log:a"})), "`user_id` begins with `ad_log:`"),
        (ACTIVITY, act(json!({"user_id": null})), "`user_id` is required"),
        (ACTIVITY, act(json!({"timestamp": "2026-01-01T00:00:00Z"})), "`timestamp` must be a num"),
        (ACTIVITY, act(json!({"timestamp": now_s() * 1_000})), "`timestamp` lies more than 24"),
        (ACTIVITY, act(json!({"timestamp": -1})), "`timestamp` lies before 1971"),
        (ACTIVITY, act(json!({"channel": 1})), "`channel` must be a string"),
        (ACTIVITY, act(json!({"device_id": null})), "`device_id` is required"),
        (ACTIVITY, act(json!({"schema": "activity.search"})), "`query` is required"),
        (ACTIVITY, act(json!({"schema": "activity.purchase"})), "`revenue` is required"),
        (
            ACTIVITY,
            act(json!({"schema": "activity.purchase", "revenue": {"revenue": 1}})),
            "`revenue` must be an object of a currency and a revenue",
        ),
    ])
}

#[test]
fn what_is_invalid_is_a_200_and_a_dead_letter_with_its_reason() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    let mut expected = invalid()?;
    for (path, body, _) in &expected {
        let request = scene.request(path, body.clone());
        scene.take(&request)?;
    }
    for encoding in Encoding::COMPRESSING {
        let name = encoding.name().context("no name")?;
        // It is kept as it came, as nobody can tell what it was.
        let broken = encoding.encode(ad_log("imp", "a").to_string().as_bytes())?[..10].to_vec();
        let request = scene.request(AD_LOG, broken.clone()).header("Content-Encoding", name);
        scene.take(&request)?;
        expected.push((AD_LOG, broken, "body is damaged, ends early, or goes on after its end"));
    }
    scene.log(AD_LOG, &ad_log("imp", "good"))?;
    scene.settle()?;
    let total = expected.len() as u64;
    let of_activities = expected.iter().filter(|(path, ..)| *path == ACTIVITY).count() as u64;
    ensure!(scene.items("activity", "rejected")? == of_activities);
    ensure!(scene.items("ad_log", "rejected")? == total - of_activities);
    ensure!((scene.items("activity", "accepted")?, scene.items("ad_log", "accepted")?) == (0, 1));
    let accounted: BTreeMap<String, u64> = [("dead".into(), total), ("stored".into(), 1)].into();
    ensure!(scene.outcomes()? == accounted, "{:?}", scene.outcomes()?);
    for user in ["u", "ad_log:a"] {
        ensure!(scene.events(user)?.is_empty(), "{user}: {:?}", scene.events(user)?);
    }
    let project = scene.server.project.clone();
    let mut letters = scene.end()?;
    for (path, body, reason) in expected {
        let is_it = |l: &DeadLetter| l.body == body && l.reason.contains(reason);
        let shown = String::from_utf8_lossy(&body).into_owned();
        let found = letters.iter().position(is_it);
        let found = found
            .with_context(|| format!("{path} {shown:?}: none says {reason:?}: {letters:#?}"))?;
        let letter = letters.swap_remove(found);
        ensure!(letter.project == project, "{letter:?}");
        let call = if path == AD_LOG { "not an ad log: " } else { "not an activity: " };
        ensure!(letter.reason.starts_with(call), "{letter:?}");
    }
    ensure!(letters.is_empty(), "{letters:?}");
    Ok(())
}

#[test]
fn a_body_over_the_item_limit_is_413_and_one_of_just_that_size_is_kept_whole() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    for path in [AD_LOG, ACTIVITY] {
        let mut over = scene.request(path, vec![b' '; ITEM_BYTES_MAX + 1]);
        for chunk_bytes in [None, Some(1000)] {
            over.chunk_bytes = chunk_bytes;
            let answer = scene.client.send_alone(&over)?;
            ensure!(answer.status == 413, "{} {}", answer.status, answer.text());
            let detail = answer.json::<Value>()?["detail"].as_str().map(str::to_owned);
            let detail = detail.context("no detail")?;
            ensure!(detail.contains(&ITEM_BYTES_MAX.to_string()), "{detail}");
        }
        for encoding in Encoding::COMPRESSING {
            let name = encoding.name().context("no name")?;
            let bomb = encoding.encode(&vec![b' '; 1024 * 1024])?;
            let bomb = scene.request(path, bomb).header("Content-Encoding", name);
            let answer = scene.client.send_alone(&bomb)?;
            ensure!(answer.status == 413, "{name}: {} {}", answer.status, answer.text());
        }
    }
    // What grows most when it is written down.
    for byte in [b'"', 0, 0xff] {
        let request = scene.request(AD_LOG, vec![byte; ITEM_BYTES_MAX]);
        scene.take(&request)?;
    }
    scene.settle()?;
    ensure!(scene.outcomes()? == [("dead".into(), 3)].into(), "{:?}", scene.outcomes()?);
    let letters = scene.end()?;
    ensure!(letters.len() == 3 && letters.iter().all(|l| l.body.len() == ITEM_BYTES_MAX));
    Ok(())
}

#[test]
fn only_a_key_with_the_scope_to_write_is_let_in_and_it_names_the_project() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    scene.command(&["project", "create", "other"])?;
    let make = |scope: &str| -> Result<String> {
        let made = scene.command(&["key", "create", "--project", "other", "--scope", scope])?;
        Ok(made["api_key"].as_str().context("no api_key")?.to_owned())
    };
    let (write, delete, read) = (make("write")?, make("delete")?, make("read")?);
    for path in [AD_LOG, ACTIVITY] {
        // What the caller may is judged before what it sends.
        let bare = Request::post(path, "{");
        let mut refused = vec![(bare.clone(), 401, "Unauthorized")];
        for forged in ["x", &format!("{write}x")] {
            refused.push((bare.clone().bearer(forged), 401, "Unauthorized"));
        }
        let elsewhere = Request::post(format!("{path}?project_id=demo"), "{").bearer(&write);
        refused.push((elsewhere, 401, "Unauthorized"));
        for key in [&delete, &read] {
            refused.push((bare.clone().bearer(key), 403, "Forbidden"));
        }
        let get = Request::get(path).bearer(&write);
        refused.push((get, 405, "Method Not Allowed"));
        for (request, status, detail) in refused {
            let answer = scene.send(&request)?;
            ensure!(answer.status == status, "{request:?}: {} {}", answer.status, answer.text());
            ensure!(answer.json::<Value>()? == json!({"detail": detail}), "{}", answer.text());
            ensure!(answer.header("x-request-id").is_some(), "{answer:?}");
        }
        let unknown = bare.clone().bearer(&write).header("Content-Encoding", "compress");
        let answer = scene.send(&unknown)?;
        ensure!(
            answer.status == 415 && answer.json::<Value>()?["detail"].is_string(),
            "{answer:?}"
        );
    }
    scene.settle()?;
    let written: u64 = observe::ledger(&scene.server)?.iter().map(|p| p.log_end).sum();
    ensure!(written == 0, "{written} records");

    let sent = Request::post(AD_LOG, ad_log("imp", "a").to_string()).bearer(&write);
    scene.take(&sent)?;
    let named = Request::post(format!("{AD_LOG}?project_id=other"), "{").bearer(&write);
    scene.take(&named)?;
    scene.settle()?;
    ensure!(scene.events("ad_log:a")?.is_empty(), "it is in the wrong project");
    let mut other = Client::new(scene.server.address, "other", &read);
    ensure!(observe::read_events(&mut other, "ad_log:a", 10)?.len() == 1);
    let letters = scene.end()?;
    ensure!(letters.len() == 1 && letters[0].project == "other", "{letters:?}");
    Ok(())
}

#[test]
fn bad_ones_are_charged_to_the_rate_as_good_ones_are() -> Result<()> {
    let mut scene = Scene::start(&["--rate-items-per-s", "1"])?;
    let request = scene.request(AD_LOG, "{");
    for _ in 0..1_000 {
        let answer = scene.send(&request)?;
        if answer.status == 429 {
            ensure!(answer.header("retry-after").is_some(), "{answer:?}");
            ensure!(
                answer.json::<Value>()? == json!({"detail": "Too Many Requests"}),
                "{answer:?}"
            );
            return Ok(());
        }
        ensure!(answer.status == 200, "{answer:?}");
    }
    bail!("a thousand in a moment, of one a second")
}

#[test]
fn without_a_log_there_is_no_200_for_good_or_bad() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let launch = Launch::dev(&folder.path().join("data"))?;
    // It is alive and not ready, so only the greeting is waited for.
    let full = launch.args(&["--disk-floor-bytes", "1000000000000000"]);
    let server = full.spawn()?.greeted()?;
    let mut client = server.client();
    for body in [ad_log("imp", "a").to_string(), "{".to_owned()] {
        let answer = client.send(&Request::post(AD_LOG, body).bearer(&server.key))?;
        ensure!(answer.status == 503, "{} {}", answer.status, answer.text());
        ensure!(answer.header("retry-after").is_some(), "{answer:?}");
        ensure!(answer.header("millrace-ack").is_none(), "{answer:?}");
        ensure!(answer.json::<Value>()?["detail"].is_string(), "{}", answer.text());
    }
    Ok(())
}

#[test]
fn deleting_a_user_erases_activities_and_does_not_reach_ad_logs() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    for user in ["a", "b"] {
        scene.log(AD_LOG, &ad_log("clk", user))?;
        scene.log(ACTIVITY, &activity("activity.add_cart", user, &json!({})))?;
    }
    for (path, body) in [
        (path::DELETE, json!({"user_id": "ad_log:a"})),
        (path::DELETE_BULK, json!({"user_ids": ["ad_log:a"]})),
        (path::EVENTS, json!({"events": [{"user_id": "ad_log:a", "name": "n"}]})),
        (path::PROFILES, json!({"profiles": [{"user_id": "ad_log:a"}]})),
    ] {
        let answer = scene.post(path, &body)?;
        ensure!(answer.status == 400, "{path}: {} {}", answer.status, answer.text());
    }
    let answer = scene.post(path::DELETE, &json!({"user_id": "a"}))?;
    let job = millrace_tests::sender::job_of(&answer)?;
    observe::wait_idle(&scene.server, &[job].into())?;
    let mut left = |user: &str| scene.events(user).map(|events| events.len());
    ensure!((left("a")?, left("b")?) == (0, 1), "not what was to be erased");
    ensure!((left("ad_log:a")?, left("ad_log:b")?) == (1, 1), "an ad log was erased");
    scene.settle()
}

#[test]
fn a_200_outlives_the_process_and_the_whole_log_read_again_changes_nothing() -> Result<()> {
    let mut scene = Scene::start(&[])?;
    for n in 0..20 {
        scene.log(AD_LOG, &ad_log("imp", &format!("a{n}")))?;
        scene.log(ACTIVITY, &activity("activity.page_view", "u", &json!({"n": n})))?;
        scene.log(AD_LOG, &json!({"n": n}))?;
    }
    let Scene { folder, server, .. } = scene;
    let server = server.kill_9()?.start()?;
    let client = server.client();
    let mut scene = Scene { folder, server, client };
    let check = |scene: &mut Scene| -> Result<()> {
        scene.settle()?;
        let accounted: BTreeMap<String, u64> = [("dead".into(), 20), ("stored".into(), 40)].into();
        ensure!(scene.outcomes()? == accounted, "{:?}", scene.outcomes()?);
        ensure!(scene.events("u")?.len() == 20);
        for n in 0..20 {
            ensure!(scene.events(&format!("ad_log:a{n}"))?.len() == 1, "a{n}");
        }
        Ok(())
    };
    check(&mut scene)?;
    scene.command(&["replay"])?;
    check(&mut scene)?;
    // A letter may be written twice, but none is missing.
    let bodies: BTreeSet<Vec<u8>> = scene.end()?.into_iter().map(|letter| letter.body).collect();
    ensure!(bodies.len() == 20, "{} bodies", bodies.len());
    Ok(())
}
