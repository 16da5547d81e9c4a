//! The ledger: epochs, fencing, resume points.

use std::collections::BTreeSet;

use millrace_schema::{Counts, Topic};
use millrace_store::{Commit, LedgerRow, Store, StoreError};

use super::{Worker, at_once, erase_events, put_event, read_events, stored, user};

pub(crate) async fn a_stale_writer_changes_nothing<S: Store>(store: &S) {
    let u = user("u");
    let mut old = Worker::claim(store, Topic::Events, 0).await;
    let mut new = Worker::claim(store, Topic::Events, 0).await;
    let refused = old.try_commit([(0, put_event(&u, 1, "old", ""))]).await;
    assert!(
        matches!(refused, Err(StoreError::Fenced { ours, newest })
            if ours == old.ledger.epoch && newest == new.ledger.epoch),
        "{refused:?}"
    );
    assert!(read_events(store, &u).await.is_empty());
    assert_eq!(store.ledger().await.unwrap(), std::slice::from_ref(&new.ledger));
    new.commit([(0, put_event(&u, 1, "new", ""))]).await;
    assert!(old.try_commit([]).await.is_err());
    assert_eq!(read_events(store, &u).await, [(1, "new".into(), String::new())]);
    assert_eq!(store.ledger().await.unwrap(), [new.ledger]);
}

pub(crate) async fn another_partition_is_not_fenced<S: Store>(store: &S) {
    let mut zero = Worker::claim(store, Topic::Events, 0).await;
    Worker::claim(store, Topic::Events, 1).await;
    Worker::claim(store, Topic::Profiles, 0).await;
    zero.commit([(0, put_event(&user("u"), 1, "a", ""))]).await;
    assert_eq!(store.ledger().await.unwrap().len(), 3);
}

pub(crate) async fn an_epoch_begins_at_the_resume_point<S: Store>(store: &S) {
    let first = store.claim(Topic::Events, 3).await.unwrap();
    assert!(first.epoch > 0);
    assert_eq!((first.frontier, first.settled, first.resume), (0, 0, 0));
    let row = LedgerRow {
        sequence: 1,
        frontier: 9,
        settled: 7,
        resume: 4,
        time_us: 90,
        resume_time_us: 40,
        counts: stored(9),
        resume_counts: stored(4),
        ..first
    };
    let generation = store.generation().await.unwrap();
    let commit = Commit { writes: Vec::new(), ledger: row.clone(), generation };
    store.commit(commit).await.unwrap();
    assert_eq!(store.ledger().await.unwrap(), std::slice::from_ref(&row));
    let next = store.claim(Topic::Events, 3).await.unwrap();
    assert!(next.epoch > row.epoch);
    let at_resume = LedgerRow {
        epoch: next.epoch,
        sequence: 0,
        frontier: 4,
        settled: 4,
        time_us: 40,
        counts: stored(4),
        ..row
    };
    assert_eq!(next, at_resume);
    assert_eq!(store.ledger().await.unwrap(), [at_resume]);
}

pub(crate) async fn epochs_are_shared_with_nobody<S: Store>(store: &S) {
    let claims = (0..16).map(|_| store.claim(Topic::Devices, 2));
    let rows = at_once(claims.collect()).await;
    let epochs: BTreeSet<u64> = rows.iter().map(|row| row.as_ref().unwrap().epoch).collect();
    assert_eq!(epochs.len(), 16);
    let newest = store.ledger().await.unwrap().remove(0);
    assert_eq!(Some(&newest.epoch), epochs.last());
}

pub(crate) async fn counts_survive<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    for offset in 0..5 {
        worker.commit([(offset, put_event(&user("u"), 1, &offset.to_string(), ""))]).await;
    }
    let row = store.ledger().await.unwrap().remove(0);
    assert_eq!((row.counts.total(), row.frontier), (5, 5));
    assert_eq!(row.counts, stored(5));
    assert_eq!(row.resume_counts, Counts::default());
}

pub(crate) async fn a_repeated_commit_changes_nothing<S: Store>(store: &S) {
    let mut worker = Worker::claim(store, Topic::Events, 0).await;
    let u = user("u");
    worker.commit([(0, put_event(&u, 1, "a", "first")), (1, put_event(&u, 2, "b", ""))]).await;
    let first = worker.ledger.clone();
    worker.commit([(2, put_event(&u, 1, "a", "second"))]).await;
    let (ledger, events) = (store.ledger().await.unwrap(), read_events(store, &u).await);
    let second = std::mem::replace(&mut worker.ledger, first);
    worker.ledger.sequence -= 1;
    worker.ledger.frontier -= 1;
    worker.commit([(0, put_event(&u, 1, "a", "first")), (1, put_event(&u, 2, "b", ""))]).await;
    assert_eq!(store.ledger().await.unwrap(), ledger);
    assert_eq!(ledger, [second]);
    assert_eq!(read_events(store, &u).await, events);
}

pub(crate) async fn a_commit_of_another_generation_is_refused<S: Store>(store: &S) {
    let ledger = store.claim(Topic::Events, 0).await.unwrap();
    let generation = store.generation().await.unwrap().wrapping_add(1);
    let moved = LedgerRow { sequence: 1, frontier: 1, ..ledger.clone() };
    let refused = store.commit(Commit { writes: Vec::new(), ledger: moved, generation }).await;
    assert!(matches!(refused, Err(StoreError::Restarted)), "{refused:?}");
    assert_eq!(store.ledger().await.unwrap(), [ledger]);
}

pub(crate) async fn a_topic_keeps_its_base_and_its_partitions<S: Store>(store: &S) {
    let base = store.topic_base(Topic::Events, 4).await.unwrap();
    assert_eq!(store.topic_base(Topic::Events, 4).await.unwrap(), base);
    store.topic_base(Topic::Profiles, 8).await.unwrap();
    let refused = store.topic_base(Topic::Events, 8).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)));
    let text = refused.to_string();
    assert!(text.contains("millrace.events") && text.contains('4') && text.contains('8'), "{text}");
    assert_eq!(store.topic_base(Topic::Events, 4).await.unwrap(), base);
}

pub(crate) async fn the_newest_epoch_is_that_of_the_last_claim<S: Store>(store: &S) {
    assert_eq!(store.newest_epoch(Topic::Devices, 1).await.unwrap(), 0);
    for _ in 0..3 {
        let row = store.claim(Topic::Devices, 1).await.unwrap();
        assert_eq!(store.newest_epoch(Topic::Devices, 1).await.unwrap(), row.epoch);
    }
    assert_eq!(store.newest_epoch(Topic::Devices, 2).await.unwrap(), 0);
    assert_eq!(store.newest_epoch(Topic::Events, 1).await.unwrap(), 0);
}

pub(crate) async fn of_two_that_write_at_once_the_stale_one_loses<S: Store>(store: &S) {
    let u = user("u");
    let mut stale = Worker::claim(store, Topic::Events, 0).await;
    let write = async {
        for offset in 0.. {
            let change = put_event(&u, offset as i64, "stale", "");
            if let Err(refused) = stale.try_commit([(offset, change)]).await {
                return refused;
            }
        }
        unreachable!()
    };
    let take_over = async {
        while store.events(u.clone(), super::ALL).await.unwrap().is_empty() {}
        Worker::claim(store, Topic::Events, 0).await
    };
    let (refused, mut new) = tokio::join!(write, take_over);
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused:?}");
    assert_eq!(store.ledger().await.unwrap(), std::slice::from_ref(&new.ledger));
    new.commit([(0, put_event(&u, 0, "new", ""))]).await;
    assert!(stale.try_commit([]).await.is_err());
    assert_eq!(store.ledger().await.unwrap(), [new.ledger]);
}

pub(crate) async fn a_rewound_partition_begins_again_and_keeps_its_rows<S: Store>(store: &S) {
    let u = user("u");
    let mut old = Worker::claim(store, Topic::Events, 0).await;
    old.commit([(0, put_event(&u, 1, "erased", "")), (1, erase_events(&u))]).await;
    old.commit([(2, put_event(&u, 2, "kept", "new"))]).await;
    let resumed = LedgerRow { sequence: 9, resume: 3, resume_time_us: 7, ..old.ledger.clone() };
    let generation = store.generation().await.unwrap();
    let commit = Commit { writes: Vec::new(), ledger: resumed, generation };
    store.commit(commit).await.unwrap();
    let row = store.rewind(Topic::Events, 0).await.unwrap();
    assert!(row.epoch > old.ledger.epoch);
    let expected = LedgerRow { epoch: row.epoch, ..LedgerRow::new(Topic::Events, 0) };
    assert_eq!(row, expected);
    assert_eq!(store.ledger().await.unwrap(), std::slice::from_ref(&row));
    let refused = old.try_commit([(3, put_event(&u, 3, "stale", ""))]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let mut new = Worker::claim(store, Topic::Events, 0).await;
    assert!(new.ledger.epoch > row.epoch);
    assert_eq!((new.ledger.frontier, new.ledger.resume, new.ledger.resume_time_us), (0, 0, 0));
    let kept = [(2, "kept".into(), "new".into())];
    assert_eq!(read_events(store, &u).await, kept);
    for (offset, change) in [
        (0, put_event(&u, 1, "erased", "")),
        (1, erase_events(&u)),
        (2, put_event(&u, 2, "kept", "new")),
    ] {
        new.commit([(offset, change)]).await;
        assert_eq!(read_events(store, &u).await, kept, "after the replay of {offset}");
    }
}

pub(crate) async fn a_partition_that_was_never_claimed_can_be_rewound<S: Store>(store: &S) {
    let row = store.rewind(Topic::Profiles, 2).await.unwrap();
    assert!(row.epoch > 0);
    assert_eq!(store.ledger().await.unwrap(), std::slice::from_ref(&row));
    assert!(store.claim(Topic::Profiles, 2).await.unwrap().epoch > row.epoch);
}
