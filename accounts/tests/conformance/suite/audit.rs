//! The audit log: what is written with which change, and how it is read.

use millrace_accounts::{AuditLog, Caller, Password, Scope};
use millrace_schema::time::{format_us, wall_clock_us};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{FIRST, HERE, PASSWORD, Process, World};
use super::{body, new_audit_user, new_user};

/// The entries that a query chooses.
async fn logs(process: &Process, by: &Caller, query: &[(&str, &str)]) -> Vec<AuditLog> {
    let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let query: Vec<_> = query.iter().map(pair).collect();
    process.people.logs(by, &query).await.unwrap()
}

/// Type, resource, and whose doing it was.
type Told<'a> = (&'a str, &'a str, Option<&'a str>);

/// Holds all entries, the oldest first, against what they must be, in every process; those secrets
/// must be in none.
async fn entries_must_be(world: &World, boss: &Caller, expected: &[Told<'_>], secrets: &[&str]) {
    for process in &world.processes {
        let mut entries = logs(process, boss, &[]).await;
        entries.reverse();
        let told = |entry: &AuditLog| {
            let AuditLog { event_type, affected_resource, user_email, .. } = entry;
            (event_type.clone(), affected_resource.clone(), user_email.clone())
        };
        let expected: Vec<_> = expected
            .iter()
            .map(|(is, of, by)| (is.to_string(), of.to_string(), by.map(str::to_owned)))
            .collect();
        assert_eq!(entries.iter().map(told).collect::<Vec<_>>(), expected);
        let text = serde_json::to_string(&entries).unwrap();
        for secret in [&["argon2", "eyJ", PASSWORD], secrets].concat() {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

pub(crate) async fn every_change_of_a_user_has_its_entry(world: &World) {
    let people = &world.first().people;
    let boss = world.first().admin("boss@example.com").await;
    let user = people.register(None, &new_user("u@example.com", json!({})), HERE).await.unwrap();
    let caller = world.first().caller("u@example.com").await;
    let rename = json!({"name": "Another", "password": "a new one"});
    world.first().update(&caller, rename).await.unwrap();
    let caller = people.login(b"username=u@example.com&password=a+new+one", HERE).await.unwrap();
    let caller = people.caller(Some(&caller.access_token), HERE).await.unwrap();
    let budget = body(&json!({"id": user.id, "budget": 0.1}));
    people.update_budget(&boss, &budget).await.unwrap();
    for is_agreed in [true, false] {
        let consent = json!({
            "consent_channel": "web_login", "email": "u@example.com", "is_agreed": is_agreed,
            "policy_version": "1.0.0", "user_id": user.id,
        });
        people.set_consent(&caller, &body(&consent)).await.unwrap();
    }
    people.logout(&caller).await.unwrap();
    let password = Password::new("yet a newer".to_owned());
    people.set_password_as_operator("u@example.com", password).await.unwrap();
    people.deactivate_as_operator("u@example.com").await.unwrap();
    people.delete_user(&boss, &body(&json!({"id": user.id}))).await.unwrap();

    let (of_boss, of_user) = (format!("user:{}", boss.user().id), format!("user:{}", user.id));
    let consent = format!("consent:{}/1.0.0", user.id);
    let (by_boss, by_user) = (Some("boss@example.com"), Some("u@example.com"));
    let expected = [
        ("create", &*of_boss, None),
        ("login", &of_boss, by_boss),
        ("create", &of_user, by_user),
        ("login", &of_user, by_user),
        ("update", &of_user, by_user),
        ("login", &of_user, by_user),
        ("update", &of_user, by_boss),
        ("create", &consent, by_user),
        ("update", &consent, by_user),
        ("logout", &of_user, by_user),
        ("update", &of_user, None),
        ("update", &of_user, None),
        ("delete", &of_user, by_boss),
    ];
    entries_must_be(world, &boss, &expected, &["a new one", "yet a newer"]).await;
    let renamed = logs(world.first(), &boss, &[]).await.remove(expected.len() - 1 - 4);
    let renamed = serde_json::to_value(renamed).unwrap();
    assert_eq!(renamed["old_value"], json!({"name": "Somebody"}));
    assert_eq!(renamed["new_value"], json!({"name": "Another"}));
    assert_eq!(renamed["user_id"], json!(user.id));
}

pub(crate) async fn every_change_of_the_back_office_and_of_keys_has_its_entry(world: &World) {
    let Process { office, accounts, .. } = world.first();
    let boss = world.first().admin("boss@example.com").await;
    let by = world.first().operator().await;
    let made = office.create_audit_user(&by, &new_audit_user("a@example.com")).await.unwrap();
    let id = made.id.to_string();
    office.update_audit_user(&by, &id, br#"{"lang": "fr"}"#).await.unwrap();
    office.set_password_as_operator("a@example.com", "An0ther!one").await.unwrap();
    office.deactivate_as_operator("a@example.com").await.unwrap();
    accounts.create_project("shop", "Shop").await.unwrap();
    let key = accounts.create_key("shop", &Scope::ALL, None).await.unwrap();
    accounts.revoke_key(key.key.id).await.unwrap();
    let webhook = Some("https://hooks.example.org/secret-path".to_owned());
    accounts.set_webhook("shop", webhook).await.unwrap();

    let of_boss = format!("user:{}", boss.user().id);
    let first = office.list(&by, &[]).await.unwrap().data[0].user.id;
    let of_first = format!("back_office:{first}");
    let (of_made, of_key) = (format!("back_office:{id}"), format!("key:{}", key.key.id));
    let expected = [
        ("create", &*of_boss, None),
        ("login", &of_boss, Some("boss@example.com")),
        ("create", &of_first, None),
        ("login", &of_first, Some(FIRST)),
        ("create", &of_made, Some(FIRST)),
        ("update", &of_made, Some(FIRST)),
        ("update", &of_made, None),
        ("update", &of_made, None),
        ("create", "project:shop", None),
        ("create", &of_key, None),
        ("update", &of_key, None),
        ("update", "project:shop", None),
    ];
    let secrets = ["An0ther", "secret-path", &key.token];
    entries_must_be(world, &boss, &expected, &secrets).await;
}

pub(crate) async fn entries_are_chosen_by_type_person_and_day(world: &World) {
    let one = world.first();
    // Noon: no day ends while the test runs.
    let now_s = wall_clock_us() / 1_000_000;
    let noon_s = (now_s / 86_400 + 1) * 86_400 + 43_200;
    world.advance_s(noon_s - now_s);
    let mut boss = one.admin("boss@example.com").await;
    let user = one.user("U@example.com").await;
    let other = one.user("other@example.com").await;
    let mut days = vec![day(noon_s)];
    for n in [2, 4] {
        // Tokens have ended by then.
        world.advance_s(2 * 86_400);
        days.push(day(noon_s + n * 86_400));
        boss = one.caller("boss@example.com").await;
        for id in [user.id, other.id] {
            one.update(&boss, json!({"id": id, "budget": n})).await.unwrap();
        }
        one.token("u@example.com").await;
    }
    let id = user.id.to_string();
    let counts: [(&[(&str, &str)], usize); 14] = [
        (&[], 4 + 2 * 4),
        (&[("event_types", "create")], 3),
        (&[("event_types", "create"), ("event_types", "update")], 7),
        (&[("event_types", "nothing")], 0),
        (&[("user_email", "u@EXAMPLE.com")], 1 + 2),
        (&[("user_email", "nobody@example.com")], 0),
        (&[("user_id", &id)], 1 + 2),
        (&[("user_id", &id), ("event_types", "login")], 2),
        (&[("start_date", &days[1])], 8),
        (&[("end_date", &days[1])], 8),
        (&[("start_date", &days[1]), ("end_date", &days[1])], 4),
        (&[("start_date", &days[2]), ("end_date", &days[1])], 0),
        (&[("start_date", &days[2]), ("user_id", &id), ("event_types", "login")], 1),
        (&[("unknown", "ignored"), ("end_date", &days[0])], 4),
    ];
    for process in &world.processes {
        for (query, count) in &counts {
            let found = logs(process, &boss, query).await;
            assert_eq!(found.len(), *count, "{query:?}: {found:?}");
            let times: Vec<&String> = found.iter().map(|entry| &entry.timestamp).collect();
            assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        }
    }
    let nobody = Uuid::from_u128(1).to_string();
    assert!(logs(one, &boss, &[("user_id", &nobody)]).await.is_empty());
    let stranger = one.caller("other@example.com").await;
    assert_eq!(one.people.logs(&stranger, &[]).await.unwrap_err().status(), 403);
    world.books().await;
}

/// The day of a time in seconds.
fn day(at_s: i64) -> String {
    format_us(at_s * 1_000_000)[..10].to_owned()
}

pub(crate) async fn no_more_than_a_thousand_entries_are_shown_the_newest_first(world: &World) {
    use millrace_store::{AuditRow, DocumentStore as _};
    let one = world.first();
    let boss = one.admin("boss@example.com").await;
    let now_us = wall_clock_us();
    let entry = |n: i64| AuditRow {
        id: 1_000_000 + n,
        time_us: now_us - 86_400_000_000 + n,
        event_type: "update".to_owned(),
        user_id: None,
        user_email: None,
        text: Value::Null.to_string(),
    };
    for chunk in 0..3 {
        let rows = (0..400).map(|n| entry(400 * chunk + n)).collect();
        one.store.change(Vec::new(), rows).await.unwrap();
    }
    let found = logs(one, &boss, &[]).await;
    assert_eq!(found.len(), 1_000);
    let types: Vec<&str> = found.iter().map(|entry| entry.event_type.as_str()).collect();
    assert_eq!(types[..3], ["login", "create", "update"]);
    let ids: Vec<i64> = found[2..].iter().map(|entry| entry.id).collect();
    let expected: Vec<i64> = (0..1_200).rev().take(998).map(|n| 1_000_000 + n).collect();
    assert_eq!(ids, expected);
    assert_eq!(logs(one, &boss, &[("event_types", "create")]).await.len(), 1);
}
