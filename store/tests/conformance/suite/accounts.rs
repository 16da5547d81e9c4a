//! Projects and keys.

use millrace_store::{AccountStore, ApiKey, Project, Scope, StoreError};
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
