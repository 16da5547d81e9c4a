//! Consents: one of a user to a version of a policy, however many are sent at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::world::World;
use super::{at_once, body};

pub(crate) async fn consents_to_one_version_at_once_are_one(world: &World) {
    let user = world.first().user("u@example.com").await;
    let caller = world.first().caller("u@example.com").await;
    let consents = world.in_turn().zip(0..24).map(|(process, n)| {
        let caller = caller.clone();
        let consent = body(&json!({
            "consent_channel": format!("channel {n}"), "email": user.email,
            "is_agreed": n % 2 == 0, "policy_version": "1.0.0", "user_id": user.id,
        }));
        async move { process.people.set_consent(&caller, &consent).await.unwrap() }
    });
    let kept = at_once(consents).await;
    let of_the_first = |consent: &millrace_accounts::Consent| {
        let consent = consent.clone();
        (consent.consent_channel, consent.consent_date, consent.created_at)
    };
    let made: BTreeSet<_> = kept.iter().map(of_the_first).collect();
    assert_eq!(made.len(), 1, "the others change the answer alone: {made:?}");
    let all = world.first().people.consents(&caller, &user.id.to_string()).await.unwrap();
    assert_eq!(all.len(), 1);
    assert!(kept.contains(&all[0]), "the last one's answer stays");
    let books = world.books().await;
    assert_eq!(books.consents.values().map(|(version, _)| *version).collect::<Vec<_>>(), [24]);
    let types = |event_type: &str| {
        let of_consents = |(is, of): &&(String, String)| is == event_type && of.starts_with("cons");
        books.entries.values().filter(of_consents).count()
    };
    assert_eq!((types("create"), types("update")), (1, 23));
}

pub(crate) async fn consents_to_many_versions_at_once_are_all_kept(world: &World) {
    let user = world.first().user("u@example.com").await;
    let caller = world.first().caller("u@example.com").await;
    let consent = |version: &str| -> Value {
        json!({
            "consent_channel": "web_login", "email": user.email, "is_agreed": true,
            "policy_version": version, "user_id": user.id,
        })
    };
    let consents = world.in_turn().zip(0..12).map(|(process, n)| {
        let (caller, consent) = (caller.clone(), body(&consent(&format!("{n:02}"))));
        async move { process.people.set_consent(&caller, &consent).await.unwrap() }
    });
    let mut kept = at_once(consents).await;
    kept.sort_by(|a, b| a.policy_version.cmp(&b.policy_version));
    for process in &world.processes {
        let all = process.people.consents(&caller, &user.id.to_string()).await.unwrap();
        assert_eq!(all, kept);
    }
    world.books().await;
}
