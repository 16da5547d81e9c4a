//! Projects, their keys and webhooks, and the keys of receipts.

use millrace_store::{AccountStore, ApiKey, Project, ReceiptKey, Scope, StoreError, Webhook};
use uuid::Uuid;

fn project(id: &str, name: &str) -> Project {
    Project { id: id.into(), name: name.into(), created_us: 5 }
}

fn key(id: u128, created_us: i64) -> ApiKey {
    ApiKey {
        id: Uuid::from_u128(id),
        project: "p".into(),
        scopes: vec![Scope::Write, Scope::Read],
        created_us,
        expires_us: Some(9),
        revoked_us: None,
    }
}

pub(crate) async fn projects_are_listed_by_id<S: AccountStore>(store: &S) {
    assert!(store.projects().await.unwrap().is_empty());
    for id in ["b", "a", "ab"] {
        store.create_project(project(id, "n")).await.unwrap();
    }
    let projects = ["a", "ab", "b"].map(|id| project(id, "n"));
    assert_eq!(store.projects().await.unwrap(), projects);
}

pub(crate) async fn a_project_is_made_once<S: AccountStore>(store: &S) {
    let (one, two) = tokio::join!(
        store.create_project(project("p", "one")),
        store.create_project(project("p", "two")),
    );
    let (winner, loser) = if one.is_ok() { ("one", two) } else { ("two", one) };
    assert!(matches!(loser, Err(StoreError::Exists(_))), "{loser:?}");
    assert_eq!(store.projects().await.unwrap(), [project("p", winner)]);
}

pub(crate) async fn keys_are_listed_oldest_first<S: AccountStore>(store: &S) {
    for (id, created_us) in [(1, 7), (3, 5), (2, 5)] {
        store.create_key(key(id, created_us)).await.unwrap();
    }
    assert_eq!(store.keys().await.unwrap(), [key(2, 5), key(3, 5), key(1, 7)]);
}

pub(crate) async fn a_key_is_revoked_once<S: AccountStore>(store: &S) {
    store.create_key(key(1, 5)).await.unwrap();
    assert!(!store.revoke_key(Uuid::from_u128(2), 8).await.unwrap());
    assert!(store.revoke_key(Uuid::from_u128(1), 8).await.unwrap());
    assert!(store.revoke_key(Uuid::from_u128(1), 9).await.unwrap());
    let revoked = ApiKey { revoked_us: Some(8), ..key(1, 5) };
    assert_eq!(store.keys().await.unwrap(), [revoked]);
}

pub(crate) async fn keys_of_receipts_stay_as_they_were_added<S: AccountStore>(store: &S) {
    assert!(store.receipt_keys().await.unwrap().is_empty());
    let key = |kid: &str, byte, created_us| ReceiptKey {
        kid: kid.into(),
        public: vec![byte; 32],
        created_us,
    };
    for key in [key("b", 0, 7), key("c", 255, 5), key("a", 1, 5)] {
        store.add_receipt_key(key).await.unwrap();
    }
    store.add_receipt_key(key("b", 9, 1)).await.unwrap();
    let keys = [key("a", 1, 5), key("c", 255, 5), key("b", 0, 7)];
    assert_eq!(store.receipt_keys().await.unwrap(), keys);
}

pub(crate) async fn a_project_has_one_webhook_or_none<S: AccountStore>(store: &S) {
    let webhook = |project: &str, url: &str| Webhook { project: project.into(), url: url.into() };
    assert!(store.webhooks().await.unwrap().is_empty());
    store.set_webhook("a", None).await.unwrap();
    for (project, url) in [("b", "one"), ("a", "two"), ("ab", "three"), ("b", "four")] {
        store.set_webhook(project, Some(url.into())).await.unwrap();
    }
    let all = [webhook("a", "two"), webhook("ab", "three"), webhook("b", "four")];
    assert_eq!(store.webhooks().await.unwrap(), all);
    store.set_webhook("ab", None).await.unwrap();
    assert_eq!(store.webhooks().await.unwrap(), [webhook("a", "two"), webhook("b", "four")]);
}
