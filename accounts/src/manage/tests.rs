use super::*;
use crate::KeyError;
use crate::testing::{MemoryStore, signer};

fn accounts() -> (Accounts, Arc<Verifier>) {
    let signer = Arc::new(signer());
    let verifier = Verifier::new([signer.public_key().clone()]).without_revocations();
    let verifier = Arc::new(verifier);
    (Accounts::new(Arc::new(MemoryStore::default()), signer, Arc::clone(&verifier)), verifier)
}

#[tokio::test]
async fn a_project_id_has_1_to_128_bytes_without_control_characters() {
    let (accounts, _) = accounts();
    for id in ["a", "가게", "my shop/1", &"a".repeat(128)] {
        assert_eq!(accounts.create_project(id, "").await.unwrap().id, id);
    }
    for id in ["", "a\0b", "a\nb", &"a".repeat(129)] {
        let error = accounts.create_project(id, "").await.unwrap_err();
        assert!(matches!(error, AccountError::ProjectId { .. }), "{error}");
    }
    let error = accounts.create_project("a", "").await.unwrap_err();
    assert!(matches!(error, AccountError::Store(StoreError::Exists(_))), "{error}");
}

#[tokio::test]
async fn a_key_needs_a_project_a_scope_and_a_sensible_lifetime() {
    let (accounts, _) = accounts();
    let error = accounts.create_key("shop", &Scope::ALL, None).await.unwrap_err();
    assert!(matches!(error, AccountError::UnknownProject(_)), "{error}");
    accounts.create_project("shop", "Shop").await.unwrap();
    let error = accounts.create_key("shop", &[], None).await.unwrap_err();
    assert!(matches!(error, AccountError::NoScopes), "{error}");
    for lifetime in [Duration::ZERO, Duration::MAX] {
        let error = accounts.create_key("shop", &Scope::ALL, Some(lifetime)).await.unwrap_err();
        assert!(matches!(error, AccountError::Lifetime), "{error}");
    }
    assert_eq!(accounts.keys(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_key_works_until_its_end_and_its_row_says_the_same_end() {
    let (accounts, verifier) = accounts();
    accounts.create_project("shop", "").await.unwrap();
    let twice = [Scope::Write, Scope::Write];
    let new =
        accounts.create_key("shop", &twice, Some(Duration::from_millis(90_500))).await.unwrap();
    let end_us = new.key.expires_us.unwrap();
    let principal = verifier.verify(&new.token, end_us - 1).unwrap();
    assert_eq!(principal.expires_us, Some(end_us));
    assert_eq!(principal.scopes, [Scope::Write]);
    assert_eq!(verifier.verify(&new.token, end_us), Err(KeyError::Expired));
}

#[tokio::test]
async fn a_rotated_key_is_refused_at_once_and_its_successor_may_do_the_same() {
    let (accounts, verifier) = accounts();
    accounts.create_project("shop", "").await.unwrap();
    let old = accounts.create_key("shop", &[Scope::Read], None).await.unwrap();
    let now_us = wall_clock_us();
    verifier.verify(&old.token, now_us).unwrap();
    let new = accounts.rotate_key(old.key.id, false).await.unwrap();
    assert_eq!(verifier.verify(&old.token, now_us), Err(KeyError::Revoked));
    assert_eq!(verifier.verify(&new.token, now_us).unwrap().scopes, [Scope::Read]);
    let error = accounts.rotate_key(old.key.id, false).await.unwrap_err();
    assert!(matches!(error, AccountError::AlreadyRevoked(_)), "{error}");
}

#[tokio::test]
async fn a_rotation_may_keep_the_old_key_until_it_is_revoked() {
    let (accounts, verifier) = accounts();
    accounts.create_project("shop", "").await.unwrap();
    let old = accounts.create_key("shop", &[Scope::Read], None).await.unwrap();
    accounts.rotate_key(old.key.id, true).await.unwrap();
    let now_us = wall_clock_us();
    assert!(verifier.verify(&old.token, now_us).is_ok());
    accounts.revoke_key(old.key.id).await.unwrap();
    accounts.revoke_key(old.key.id).await.unwrap();
    assert_eq!(verifier.verify(&old.token, now_us), Err(KeyError::Revoked));
}

#[tokio::test]
async fn keys_are_listed_by_project_and_never_with_their_token() {
    let (accounts, _) = accounts();
    for project in ["a", "b"] {
        accounts.create_project(project, "").await.unwrap();
        let new = accounts.create_key(project, &Scope::ALL, None).await.unwrap();
        assert!(!format!("{new:?}").contains(&new.token));
    }
    let projects = |keys: Vec<ApiKey>| keys.into_iter().map(|k| k.project).collect::<Vec<_>>();
    assert_eq!(projects(accounts.keys(Some("b")).await.unwrap()), ["b"]);
    assert_eq!(projects(accounts.keys(None).await.unwrap()), ["a", "b"]);
    let error = accounts.revoke_key(Uuid::nil()).await.unwrap_err();
    assert!(matches!(error, AccountError::UnknownKey(_)), "{error}");
}

#[tokio::test]
async fn a_webhook_is_set_replaced_and_cleared_for_a_project_that_exists() {
    let (accounts, _) = accounts();
    let url = |path: &str| Some(format!("https://example.org/{path}"));
    let error = accounts.set_webhook("shop", url("a")).await.unwrap_err();
    assert!(matches!(error, AccountError::UnknownProject(_)), "{error}");
    accounts.create_project("shop", "").await.unwrap();
    for path in ["a", "b"] {
        accounts.set_webhook("shop", url(path)).await.unwrap();
    }
    let set = Webhook { project: "shop".to_owned(), url: "https://example.org/b".to_owned() };
    assert_eq!(accounts.webhooks().await.unwrap(), [set]);
    for _ in 0..2 {
        accounts.set_webhook("shop", None).await.unwrap();
        assert_eq!(accounts.webhooks().await.unwrap(), []);
    }
}

#[test]
fn of_a_webhook_only_the_host_is_told() {
    for url in ["https://a.example", "https://a.example/k/s3cret", "https://a.example?k=s3cret#x"] {
        assert_eq!(origin(url), "https://a.example");
    }
    assert_eq!(origin("/s3cret"), "");
}
