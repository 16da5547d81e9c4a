//! Reading back what was sent: every call, its pages, its times, the life of a deletion.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use millrace_schema::receipt::token_hash;
use millrace_tests::client::{Answer, Client, Request, percent_encode};
use millrace_tests::generator::path;
use millrace_tests::observe;
use millrace_tests::process::{Launch, Server};
use millrace_tests::receipts::kid;
use millrace_tests::sender::job_of;
use millrace_tests::world::until;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

struct Scene {
    folder: TempDir,
    server: Server,
    client: Client,
}

impl Scene {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Launch::dev(&folder.path().join("data"))?.start()?;
        let client = server.client();
        Ok(Self { folder, server, client })
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.client.call(path, body.to_string());
        let answer = self.client.send(&request)?;
        ensure!(answer.status == 202, "{} {}", answer.status, answer.text());
        Ok(answer)
    }

    /// The receipt of a deletion, and its job.
    fn receipt_of_a_deletion(&mut self) -> Result<(Uuid, String)> {
        let job = job_of(&self.post(path::DELETE, &json!({"user_id": "u"}))?)?;
        observe::wait_idle(&self.server, &[job].into())?;
        Ok((job, observe::receipt(&mut self.client, job)?))
    }

    fn settle(&self) -> Result<()> {
        observe::wait_idle(&self.server, &BTreeSet::new())
    }

    fn read(&mut self, path: &str, query: &str) -> Result<Answer> {
        let request = self.client.read(path, query);
        self.client.send(&request)
    }

    fn json(&mut self, path: &str, query: &str) -> Result<Value> {
        let answer = self.read(path, query)?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }
}

#[test]
fn an_accepted_request_is_an_empty_202_that_names_its_durability() -> Result<()> {
    let mut scene = Scene::start()?;
    let profile = json!({"profiles": [{"user_id": "u"}]});
    for (path, body) in [
        (path::EVENTS, json!({"events": [{"user_id": "u", "name": "n"}]})),
        (path::PROFILES, profile.clone()),
        (
            path::DEVICES,
            json!({"devices": [{"user_id": "u", "device_id": "d", "platform": "web"}]}),
        ),
        (path::DELETE, json!({"user_id": "u"})),
        (path::DELETE_BULK, json!({"user_ids": ["u"]})),
    ] {
        let answer = scene.post(path, &body)?;
        ensure!(answer.body.is_empty(), "{path}: {}", answer.text());
        ensure!(answer.header("millrace-ack") == Some("fsynced"), "{path}: {answer:?}");
        ensure!(answer.header("x-request-id").is_some(), "{path}: {answer:?}");
    }
    // A body of any other type, or none, is JSON, as from `curl -d`.
    for kind in ["application/x-www-form-urlencoded", "text/plain", "application/json"] {
        let request = scene.client.call(path::PROFILES, profile.to_string());
        let answer = scene.client.send(&request.header("Content-Type", kind))?;
        ensure!(answer.status == 202, "{kind}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn a_profile_merges_and_tells_false_from_absent() -> Result<()> {
    let mut scene = Scene::start()?;
    let user = "ü/사용자 %2F?";
    let path = format!("/v1/api/users/{}", percent_encode(user));
    ensure!(scene.read(&path, "")?.status == 404, "known before it was sent");
    let sets = |time: &str, properties: Value| json!({"profiles": [{"user_id": user, "timestamp": time, "properties": properties}]});
    let later = sets("2025-01-02T00:00:00Z", json!({"mkt_name": "B", "mkt_email_opt_in": false}));
    let earlier = sets("2025-01-01T09:00:00+09:00", json!({"mkt_name": "A", "mkt_grade": 1}));
    scene.post(path::PROFILES, &later)?;
    scene.post(path::PROFILES, &earlier)?;
    scene.settle()?;
    let seen = scene.json(&path, "")?;
    let expected = json!({
        "mkt_name": {"value": "B", "timestamp": "2025-01-02T00:00:00Z"},
        "mkt_email_opt_in": {"value": false, "timestamp": "2025-01-02T00:00:00Z"},
        "mkt_grade": {"value": 1, "timestamp": "2025-01-01T00:00:00Z"},
    });
    ensure!(seen["properties"] == expected && seen["user_id"] == user, "{seen}");
    scene.post(path::PROFILES, &sets("2025-01-03T00:00:00Z", json!({"mkt_name": null})))?;
    scene.settle()?;
    let seen = scene.json(&path, "")?;
    ensure!(seen["properties"].get("mkt_name").is_none(), "{seen}");
    ensure!(seen["properties"]["mkt_grade"]["value"] == 1, "{seen}");
    Ok(())
}

#[test]
fn events_come_newest_first_in_pages_and_within_times() -> Result<()> {
    let mut scene = Scene::start()?;
    let path = "/v1/api/users/u/events";
    ensure!(scene.json(path, "")? == json!({"events": [], "next_cursor": null}), "not empty");
    let base = jiff::Timestamp::now().as_second() - 90_000;
    let at = |n: i64| jiff::Timestamp::from_second(base + n / 2).map(|t| t.to_string());
    let mut events = Vec::new();
    for n in 0..250 {
        let extra = json!({"deep": [n]});
        events.push(json!({"user_id": "u", "name": "n", "id": format!("e{n:03}"),
            "timestamp": at(n)?, "properties": {"n": n}, "x_more": extra}));
    }
    scene.post(path::EVENTS, &json!({"events": events}))?;
    scene.settle()?;
    for limit in [1, 7, 100, 249, 250, 1_000] {
        let seen = observe::read_events(&mut scene.client, "u", limit)?;
        let times: Vec<_> = seen.iter().map(|e| e.time_us).collect();
        ensure!(times.is_sorted_by(|a, b| a >= b), "limit {limit}: not newest first");
        let ids: BTreeSet<_> = seen.iter().map(|e| e.id.clone()).collect();
        ensure!((ids.len(), seen.len()) == (250, 250), "limit {limit}: {} rows", seen.len());
    }
    let page = scene.json(path, "")?;
    ensure!(page["events"].as_array().is_some_and(|a| a.len() == 100), "the default is 100");
    let first = &page["events"][0];
    ensure!(first["x_more"] == json!({"deep": [first["properties"]["n"]]}), "{first}");
    let query = format!("&from={}&to={}", at(100)?, at(200)?);
    let page = scene.json(path, &(query + "&limit=1000"))?;
    let n = page["events"].as_array().context("no list")?.len();
    ensure!(n == 100, "{n} events at or after one time and before another");
    let bad =
        ["&limit=0", "&limit=1001", "&limit=x", "&cursor=x", "&from=yesterday", "&to=2025-01-01"];
    for query in bad {
        let answer = scene.read(path, query)?;
        ensure!(answer.status == 400, "{query}: {}", answer.status);
    }
    Ok(())
}

#[test]
fn an_event_is_stored_once_however_often_it_comes() -> Result<()> {
    let mut scene = Scene::start()?;
    let with_time =
        json!({"user_id": "u", "name": "a", "id": "1", "timestamp": "2026-10-01T00:00:00Z"});
    let with_id = json!({"user_id": "u", "name": "b", "id": "2"});
    let body = json!({"events": [with_time, with_id, {"user_id": "u", "name": "c"}]});
    for _ in 0..3 {
        let request = scene.client.call(path::EVENTS, body.to_string());
        let answer = scene.client.send(&request.header("Idempotency-Key", "k"))?;
        ensure!(answer.status == 202, "{}", answer.text());
    }
    scene.settle()?;
    let names = |seen: Vec<observe::EventSeen>| {
        let mut names: Vec<_> = seen.into_iter().map(|e| e.name).collect();
        names.sort();
        names.concat()
    };
    let seen = names(observe::read_events(&mut scene.client, "u", 10)?);
    ensure!(seen == "abc", "{seen}");
    // Without the key the last one has no identity of its own.
    scene.post(path::EVENTS, &body)?;
    scene.settle()?;
    let seen = names(observe::read_events(&mut scene.client, "u", 10)?);
    ensure!(seen == "abcc", "{seen}");
    Ok(())
}

#[test]
fn a_device_moves_with_its_user_and_can_be_unlinked() -> Result<()> {
    let mut scene = Scene::start()?;
    let device = |user: &str, unlink: bool| {
        json!({"devices": [{"user_id": user, "device_id": "gaid:1", "platform": "android",
            "token": format!("t-{user}"), "properties": {"os": "15"}, "remove_user_id": unlink}]})
    };
    let listed = |scene: &mut Scene, user: &str| -> Result<Value> {
        scene.settle()?;
        scene.json(&format!("/v1/api/users/{user}/devices"), "")
    };
    scene.post(path::DEVICES, &device("u", false))?;
    let seen = listed(&mut scene, "u")?;
    let first = &seen["devices"][0];
    ensure!(first["device_id"] == "gaid:1" && first["platform"] == "android", "{seen}");
    ensure!(first["token"] == "t-u" && first["properties"] == json!({"os": "15"}), "{seen}");
    scene.post(path::DEVICES, &device("v", false))?;
    ensure!(listed(&mut scene, "u")? == json!({"devices": []}), "still with the first user");
    ensure!(listed(&mut scene, "v")?["devices"][0]["token"] == "t-v", "not with the second user");
    scene.post(path::DEVICES, &device("v", true))?;
    ensure!(listed(&mut scene, "v")? == json!({"devices": []}), "still with the second user");
    Ok(())
}

#[test]
fn a_deletion_job_is_followed_to_its_end() -> Result<()> {
    let mut scene = Scene::start()?;
    for user in ["u", "v"] {
        scene.post(path::PROFILES, &json!({"profiles": [{"user_id": user}]}))?;
        scene.post(path::EVENTS, &json!({"events": [{"user_id": user, "name": "n"}]}))?;
    }
    let body = json!({"user_ids": ["u", "nobody", "u"]}).to_string();
    let request = scene.client.call(path::DELETE_BULK, body).header("Idempotency-Key", "k");
    let answer = scene.client.send(&request)?;
    let id = job_of(&answer)?;
    let location = answer.header("location").context("no Location")?.to_owned();
    let expected = format!("/v1/api/profile/user/deletion-job/{id}?project_id=demo");
    ensure!(location == expected, "{location}");
    let again = scene.client.send(&request)?;
    ensure!(job_of(&again)? == id, "the same request is another job");
    observe::wait_idle(&scene.server, &[id].into())?;
    let request = Request::get(location).bearer(&scene.client.key);
    let answer = scene.client.send(&request)?;
    let job: Value = answer.json()?;
    ensure!(job["status"] == "completed" && job["progress"].as_f64() == Some(1.0), "{job}");
    ensure!(job["users"] == 2 && job["users_done"] == 2, "{job}");
    for time in ["accepted_at", "completed_at"] {
        observe::time_us(job[time].as_str().context(time)?)?;
    }
    ensure!(scene.read("/v1/api/users/u", "")?.status == 404, "the profile is there");
    ensure!(scene.json("/v1/api/users/u/events", "")?["events"] == json!([]), "events are there");
    ensure!(scene.read("/v1/api/users/v", "")?.status == 200, "another user's profile is gone");
    // Whatever is accepted after it starts the user afresh.
    scene.post(path::PROFILES, &json!({"profiles": [{"user_id": "u"}]}))?;
    scene.settle()?;
    ensure!(scene.read("/v1/api/users/u", "")?.status == 200, "no fresh start");
    Ok(())
}

#[test]
fn receipts_of_a_replaced_key_are_checked_with_the_keys_of_the_new_process() -> Result<()> {
    let mut scene = Scene::start()?;
    let (first, old) = scene.receipt_of_a_deletion()?;
    let new_key = scene.folder.path().join("new-key.pem");
    let (status, launch) = scene.server.terminate()?;
    ensure!(status.success(), "{status}");
    let new_key = new_key.to_str().context("the folder's name is not text")?;
    scene.server = launch.args(&["--receipt-key", new_key]).start()?;
    scene.client = scene.server.client();
    ensure!(observe::receipt(&mut scene.client, first)? == old, "the old receipt is another");
    let (second, new) = scene.receipt_of_a_deletion()?;
    ensure!(kid(&old)? != kid(&new)?, "the old key has signed it");
    // The keys are served as they were read up to a second ago.
    let keys = until("the new key is served", || {
        let keys = observe::keys(&mut scene.client).ok()?;
        keys.verify(&new).is_ok().then_some(keys)
    })?;
    ensure!(keys.verify(&old)?.job_id == first, "the receipt of another job");
    let receipt = keys.verify(&new)?;
    let previous = receipt.previous.context("no receipt before it")?;
    ensure!(receipt.job_id == second && previous.hash == token_hash(&old), "another chain");
    Ok(())
}

#[test]
fn jobs_are_listed_newest_first_and_an_unknown_one_is_404() -> Result<()> {
    let mut scene = Scene::start()?;
    let mut ids = Vec::new();
    for n in 0..5 {
        let answer =
            scene.post(path::DELETE, &json!({"user_id": format!("u{n}"), "erase": ["events"]}))?;
        ids.push(job_of(&answer)?.to_string());
    }
    observe::wait_idle(&scene.server, &ids.iter().filter_map(|id| id.parse().ok()).collect())?;
    let seen = scene.json("/v1/api/profile/user/deletion-job", "")?;
    let listed: Vec<_> = seen["jobs"].as_array().context("no list")?.iter().collect();
    let order: Vec<_> = listed.iter().filter_map(|job| job["job_id"].as_str()).collect();
    let newest_first: Vec<_> = ids.iter().rev().map(String::as_str).collect();
    ensure!(order == newest_first && seen["next_cursor"].is_null(), "{seen}");
    ensure!(listed.iter().all(|job| job["erase"] == json!(["events"])), "{seen}");
    let unknown = Uuid::now_v7();
    let answer = scene.read(&format!("/v1/api/profile/user/deletion-job/{unknown}"), "")?;
    ensure!(answer.status == 404 && answer.header("retry-after") == Some("1"), "{answer:?}");
    let answer = scene.read("/v1/api/profile/user/deletion-job/x", "")?;
    ensure!(answer.status == 404 || answer.status == 400, "{answer:?}");
    Ok(())
}

#[test]
fn a_lenient_request_takes_the_good_items_and_lists_the_others() -> Result<()> {
    let mut scene = Scene::start()?;
    let lenient = |scene: &mut Scene, body: Value| -> Result<Value> {
        let request = scene.client.call(path::EVENTS, body.to_string());
        let answer = scene.client.send(&request.header("Prefer", "handling=lenient"))?;
        ensure!(answer.status == 202, "{} {}", answer.status, answer.text());
        let applied = answer.header("preference-applied");
        ensure!(applied == Some("handling=lenient"), "{answer:?}");
        answer.json()
    };
    let good = json!({"user_id": "u", "name": "n"});
    let seen = lenient(&mut scene, json!({"events": [good, {"user_id": 1}, good]}))?;
    ensure!(seen["accepted"] == 2, "{seen}");
    ensure!(
        seen["rejected"].as_array().is_some_and(|r| r.iter().all(|e| e["index"] == 1)),
        "{seen}"
    );
    let seen = lenient(&mut scene, json!({"events": [{"name": "n"}]}))?;
    ensure!(seen["accepted"] == 0, "{seen}");
    scene.settle()?;
    let rows = observe::read_events(&mut scene.client, "u", 10)?.len();
    ensure!(rows == 2, "{rows} rows");
    Ok(())
}

#[test]
fn the_accounting_adds_up_and_the_probes_need_no_key() -> Result<()> {
    let mut scene = Scene::start()?;
    let event = json!({"user_id": "u", "name": "n", "id": "1"});
    scene.post(path::EVENTS, &json!({"events": [event]}))?;
    scene.settle()?;
    scene.post(path::EVENTS, &json!({"events": [event]}))?;
    scene.post(path::DELETE, &json!({"user_id": "u"}))?;
    scene.settle()?;
    let seen = scene.json("/v1/api/accounting", "")?;
    let expected = json!({"stored": 1, "duplicate": 1, "erased": 1});
    let outcomes = seen["topics"]["events"]["outcomes"].as_object().context("no outcomes")?;
    for (name, n) in expected.as_object().context("no object")? {
        ensure!(outcomes.get(name) == Some(n), "{seen}");
    }
    observe::time_us(seen["as_of"].as_str().context("no as_of")?)?;
    for partition in observe::ledger(&scene.server)? {
        let sum: u64 = partition.outcomes.values().sum();
        ensure!(sum == partition.frontier, "{partition:?}");
    }
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        ensure!(scene.server.probe(path)? == 200, "{path}");
    }
    let openapi = scene.server.client().send(&Request::get("/openapi.json"))?;
    ensure!(
        openapi.json::<Value>()?["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")),
        "no 3.1"
    );
    let metrics = scene.server.admin_client().send(&Request::get("/metrics"))?;
    ensure!(metrics.status == 200 && metrics.text().contains("millrace_"), "no metrics");
    Ok(())
}
