//! What only the embedded store does: one folder, one process, and what is left after a restart.

use millrace_schema::{Topic, UserKey};
use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{AccountStore as _, Change};
use millrace_store::{Commit, LedgerRow, Project, Stamp, Store, StoreError};

use crate::suite::{Worker, cell, cells, erase_events, put_event, put_profile, read_events, user};

fn open(dir: &tempfile::TempDir) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(dir.path(), Config::default())
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let mut worker = Worker::claim(&store, Topic::Events, 1).await;
    worker.commit([(0, put_event(&user("u"), 1, "a", "payload"))]).await;
    let ledger = store.ledger().await.unwrap();
    let project = Project { id: "p".into(), name: "n".into(), created_us: 1 };
    store.create_project(project.clone()).await.unwrap();
    drop(worker);
    drop(store);
    let store = open(&dir).unwrap();
    assert_eq!(store.ledger().await.unwrap(), ledger);
    assert_eq!(read_events(&store, &user("u")).await, [(1, "a".into(), "payload".into())]);
    assert_eq!(store.projects().await.unwrap(), [project]);
    assert!(store.topic_base(Topic::Events, 5).await.is_err());
}

#[tokio::test]
async fn a_replay_after_a_restart_does_not_bring_back_what_was_erased() {
    let dir = tempfile::tempdir().unwrap();
    let u = user("u");
    let store = open(&dir).unwrap();
    let mut worker = Worker::claim(&store, Topic::Events, 1).await;
    worker.commit([(0, put_event(&u, 1, "a", "")), (1, erase_events(&u))]).await;
    drop(worker);
    drop(store);
    let store = open(&dir).unwrap();
    let mut worker = Worker::claim(&store, Topic::Events, 1).await;
    worker.commit([(0, put_event(&u, 1, "a", ""))]).await;
    assert!(read_events(&store, &u).await.is_empty());
}

#[tokio::test]
async fn a_store_that_is_open_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let refused = open(&dir).err().unwrap();
    assert!(
        matches!(&refused, StoreError::Unavailable(text) if text.contains("another process")),
        "{refused:?}"
    );
    drop(store);
    open(&dir).unwrap();
}

#[tokio::test]
async fn a_commit_under_an_epoch_that_was_never_claimed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let ledger = LedgerRow { epoch: 1, ..LedgerRow::new(Topic::Events, 0) };
    let commit = Commit { writes: Vec::new(), ledger, generation: 0 };
    let refused = store.commit(commit).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert!(store.ledger().await.unwrap().is_empty());
}

#[tokio::test]
async fn ids_too_long_for_a_key_are_refused_and_nothing_of_their_commit_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let mut worker = Worker::claim(&store, Topic::Profiles, 0).await;
    let long = "x".repeat(70_000);
    let changes = [
        (0, put_profile(&user("u"), 1, cells([("a", cell(1, "1"))]))),
        (1, put_profile(&user("u"), 1, cells([(&long, cell(1, "1"))]))),
    ];
    let refused = worker.try_commit(changes).await;
    assert!(matches!(&refused, Err(StoreError::Invalid(text)) if text.contains("65535")));
    assert_eq!(store.profiles(vec![user("u")]).await.unwrap(), [None]);
    assert_eq!(store.ledger().await.unwrap()[0].frontier, 0);
    let refused = store.profiles(vec![UserKey::new("p", long.clone())]).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    let erase = Change::EraseEvents { user: UserKey::new("p", long) };
    assert!(matches!(worker.try_commit([(2, erase)]).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn the_first_stamp_is_above_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    assert!(store.topic_base(Topic::Events, 4).await.unwrap() > Stamp::default());
}
