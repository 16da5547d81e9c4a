//! Documents that change together, and the audit log.

use futures::future::join_all;
use millrace_schema::time::wall_clock_us;
use millrace_store::{
    AUDIT_ENTRIES_MAX, AuditQuery, AuditRow, CHANGED_DOCUMENTS_MAX, Document, DocumentChange,
    DocumentStore, Expect, Kind, StoreError,
};
use uuid::Uuid;

const HOUR_US: i64 = 3_600_000_000;
const MONTH_US: i64 = 30 * 24 * HOUR_US;

fn put(kind: Kind, key: &str, expect: Expect, text: &str) -> DocumentChange {
    DocumentChange { kind, key: key.into(), expect, text: Some(text.into()), expires_us: None }
}

fn create(kind: Kind, key: &str, text: &str) -> DocumentChange {
    put(kind, key, Expect::Absent, text)
}

fn update(key: &str, version: u64, text: &str) -> DocumentChange {
    put(Kind::User, key, Expect::Version(version), text)
}

fn remove(key: &str, expect: Expect) -> DocumentChange {
    DocumentChange { kind: Kind::User, key: key.into(), expect, text: None, expires_us: None }
}

fn session(key: &str, text: &str, expires_us: i64) -> DocumentChange {
    DocumentChange { expires_us: Some(expires_us), ..create(Kind::Session, key, text) }
}

fn document(version: u64, text: &str) -> Option<Document> {
    Some(Document { version, text: text.into() })
}

fn entry(id: i64, time_us: i64) -> AuditRow {
    AuditRow {
        id,
        time_us,
        event_type: "create".into(),
        user_id: None,
        user_email: None,
        text: format!("{{\"n\":{id}}}"),
    }
}

fn all() -> AuditQuery {
    AuditQuery { limit: AUDIT_ENTRIES_MAX, ..AuditQuery::default() }
}

async fn ids<S: DocumentStore>(store: &S, query: AuditQuery) -> Vec<i64> {
    store.audit(query).await.unwrap().into_iter().map(|row| row.id).collect()
}

async fn keys<S: DocumentStore>(store: &S, prefix: &str, after: Option<&str>, n: usize) -> String {
    let found = store.documents(Kind::User, prefix, after, n).await.unwrap();
    let keys: Vec<String> = found.into_iter().map(|(key, _)| key).collect();
    keys.join(" ")
}

pub(crate) async fn a_document_is_read_back_with_its_version<S: DocumentStore>(store: &S) {
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), None);
    assert!(store.change(vec![create(Kind::User, "a", "{\"n\": \"ü\"}")], vec![]).await.unwrap());
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), document(1, "{\"n\": \"ü\"}"));
    assert!(store.change(vec![update("a", 1, "2")], vec![]).await.unwrap());
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), document(2, "2"));
    assert!(store.change(vec![remove("a", Expect::Version(2))], vec![]).await.unwrap());
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), None);
    assert!(store.change(vec![create(Kind::User, "a", "again")], vec![]).await.unwrap());
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), document(1, "again"));
}

pub(crate) async fn a_change_happens_whole_or_not_at_all<S: DocumentStore>(store: &S) {
    let user = |email: &str, id: &str| {
        vec![create(Kind::Email, email, id), create(Kind::User, id, "1"), counted(id)]
    };
    fn counted(id: &str) -> DocumentChange {
        create(Kind::Counter, id, "1")
    }
    let now_us = wall_clock_us();
    assert!(store.change(user("e@x", "1"), vec![entry(1, now_us)]).await.unwrap());
    assert!(!store.change(user("e@x", "2"), vec![entry(2, now_us)]).await.unwrap());
    for kind in [Kind::User, Kind::Counter] {
        assert_eq!(store.document(kind, "1").await.unwrap(), document(1, "1"));
        assert_eq!(store.document(kind, "2").await.unwrap(), None);
    }
    assert_eq!(store.document(Kind::Email, "e@x").await.unwrap(), document(1, "1"));
    assert_eq!(ids(store, all()).await, [1], "what did not happen is not in the audit log");
}

pub(crate) async fn a_document_is_changed_in_the_version_that_is_expected_and_no_other<
    S: DocumentStore,
>(
    store: &S,
) {
    assert!(!store.change(vec![update("a", 1, "x")], vec![]).await.unwrap(), "there is none");
    assert!(store.change(vec![create(Kind::User, "a", "1")], vec![]).await.unwrap());
    for change in [
        create(Kind::User, "a", "x"),
        update("a", 0, "x"),
        update("a", 2, "x"),
        update("a", u64::MAX, "x"),
        remove("a", Expect::Version(2)),
        remove("a", Expect::Absent),
    ] {
        assert!(!store.change(vec![change.clone()], vec![]).await.unwrap(), "{change:?}");
    }
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), document(1, "1"));
}

pub(crate) async fn what_is_absent_can_be_demanded_without_a_change<S: DocumentStore>(store: &S) {
    let change = || vec![remove("a", Expect::Absent), put(Kind::User, "b", Expect::Absent, "1")];
    assert!(store.change(change(), vec![]).await.unwrap());
    assert_eq!(store.document(Kind::User, "a").await.unwrap(), None);
    assert_eq!(store.document(Kind::User, "b").await.unwrap(), document(1, "1"));
    assert!(store.change(vec![remove("b", Expect::Version(1))], vec![]).await.unwrap());
    assert!(store.change(vec![create(Kind::User, "a", "1")], vec![]).await.unwrap());
    assert!(!store.change(change(), vec![]).await.unwrap());
    assert_eq!(store.document(Kind::User, "b").await.unwrap(), None);
}

pub(crate) async fn a_change_too_large_or_of_one_document_twice_is_refused<S: DocumentStore>(
    store: &S,
) {
    let many = |n: usize| (0..n).map(|n| create(Kind::User, &n.to_string(), "1")).collect();
    let twice = vec![create(Kind::User, "a", "1"), update("a", 1, "2")];
    for changes in [many(CHANGED_DOCUMENTS_MAX + 1), twice] {
        let refused = store.change(changes, vec![entry(1, wall_clock_us())]).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(keys(store, "", None, 10).await, "");
    assert_eq!(ids(store, all()).await, [0; 0]);
    assert!(store.change(many(CHANGED_DOCUMENTS_MAX), vec![]).await.unwrap());
}

pub(crate) async fn of_a_hundred_that_create_one_document_exactly_one_wins<S: DocumentStore>(
    store: &S,
) {
    let now_us = wall_clock_us();
    let create = async |n: i64| {
        let id = n.to_string();
        let changes = vec![create(Kind::Email, "e@x", &id), create(Kind::User, &id, "1")];
        store.change(changes, vec![entry(n, now_us)]).await.unwrap()
    };
    let won = join_all((1..=100).map(create)).await;
    let winners: Vec<i64> = (1..).zip(won).filter_map(|(n, won)| won.then_some(n)).collect();
    assert_eq!(winners.len(), 1, "{winners:?} have won");
    let winner = winners[0];
    let email = store.document(Kind::Email, "e@x").await.unwrap();
    assert_eq!(email, document(1, &winner.to_string()));
    assert_eq!(keys(store, "", None, 10).await, winner.to_string());
    assert_eq!(ids(store, all()).await, [winner]);
}

pub(crate) async fn fifty_that_count_at_once_lose_no_number<S: DocumentStore>(store: &S) {
    let take = async || {
        loop {
            let counter = store.document(Kind::Counter, "ids").await.unwrap();
            let last = counter.as_ref().map_or(0, |c| c.text.parse::<u32>().unwrap());
            let expect = counter.map_or(Expect::Absent, |c| Expect::Version(c.version));
            let next = put(Kind::Counter, "ids", expect, &(last + 1).to_string());
            if store.change(vec![next], vec![]).await.unwrap() {
                return last + 1;
            }
        }
    };
    let mut numbers = join_all((0..50).map(|_| take())).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    assert_eq!(store.document(Kind::Counter, "ids").await.unwrap(), document(50, "50"));
}

pub(crate) async fn of_an_update_and_a_removal_at_once_one_wins<S: DocumentStore>(store: &S) {
    for n in 0..10_i64 {
        let key = n.to_string();
        assert!(store.change(vec![create(Kind::User, &key, "1")], vec![]).await.unwrap());
        let (updated, removed) = tokio::join!(
            store.change(vec![update(&key, 1, "2")], vec![entry(2 * n + 1, 1)]),
            store.change(vec![remove(&key, Expect::Version(1))], vec![entry(2 * n + 2, 1)]),
        );
        let (updated, removed) = (updated.unwrap(), removed.unwrap());
        assert!(updated != removed);
        let left = store.document(Kind::User, &key).await.unwrap();
        assert_eq!(left, updated.then(|| Document { version: 2, text: "2".into() }));
        let first = ids(store, AuditQuery { limit: 1, ..all() }).await;
        assert_eq!(first, [2 * n + if updated { 1 } else { 2 }]);
    }
    assert_eq!(ids(store, all()).await.len(), 10);
}

pub(crate) async fn what_has_expired_is_absent<S: DocumentStore>(store: &S) {
    let now_us = wall_clock_us();
    let changes = vec![
        session("gone", "1", now_us - 1),
        session("here", "1", now_us + HOUR_US),
        session("later", "1", i64::MAX),
    ];
    assert!(store.change(changes, vec![]).await.unwrap());
    assert_eq!(store.document(Kind::Session, "gone").await.unwrap(), None);
    assert_eq!(store.document(Kind::Session, "here").await.unwrap(), document(1, "1"));
    let found = store.documents(Kind::Session, "", None, 2).await.unwrap();
    assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["here", "later"]);
    let expecting =
        DocumentChange { expect: Expect::Version(1), ..session("gone", "2", now_us + HOUR_US) };
    assert!(!store.change(vec![expecting], vec![]).await.unwrap());
    assert!(store.change(vec![session("gone", "2", now_us + HOUR_US)], vec![]).await.unwrap());
    assert_eq!(store.document(Kind::Session, "gone").await.unwrap(), document(1, "2"));
}

pub(crate) async fn of_many_that_take_the_place_of_an_expired_document_exactly_one_wins<
    S: DocumentStore,
>(
    store: &S,
) {
    let now_us = wall_clock_us();
    assert!(store.change(vec![session("s", "0", now_us - 1)], vec![]).await.unwrap());
    let take = async |n: i64| {
        let change = session("s", &n.to_string(), now_us + HOUR_US);
        store.change(vec![change], vec![]).await.unwrap()
    };
    let won = join_all((1..=20).map(take)).await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
}

pub(crate) async fn an_expiry_can_be_taken_back<S: DocumentStore>(store: &S) {
    let now_us = wall_clock_us();
    assert!(store.change(vec![session("s", "1", now_us + HOUR_US)], vec![]).await.unwrap());
    let forever = put(Kind::Session, "s", Expect::Version(1), "2");
    assert!(store.change(vec![forever], vec![]).await.unwrap());
    let over = DocumentChange { expect: Expect::Version(2), ..session("s", "3", now_us) };
    assert_eq!(store.document(Kind::Session, "s").await.unwrap(), document(2, "2"));
    assert!(store.change(vec![over], vec![]).await.unwrap());
    assert_eq!(store.document(Kind::Session, "s").await.unwrap(), None);
}

pub(crate) async fn documents_page_by_prefix_in_the_order_of_their_keys<S: DocumentStore>(
    store: &S,
) {
    let all = ["a", "a/1", "a/10", "a/2", "a0", "b", "ü", "\u{10ffff}"];
    let changes = all.iter().rev().map(|key| create(Kind::User, key, "1")).collect();
    assert!(store.change(changes, vec![]).await.unwrap());
    assert_eq!(keys(store, "", None, 100).await, all.join(" "));
    assert_eq!(keys(store, "a/", None, 100).await, "a/1 a/10 a/2");
    assert_eq!(keys(store, "a/", None, 2).await, "a/1 a/10");
    assert_eq!(keys(store, "a/", Some("a/10"), 2).await, "a/2");
    assert_eq!(keys(store, "a/", Some("a/11"), 2).await, "a/2", "the key need not be there");
    assert_eq!(keys(store, "a/", Some("a"), 2).await, "a/1 a/10", "before the prefix");
    assert_eq!(keys(store, "a/", Some("b"), 2).await, "", "behind the prefix");
    assert_eq!(keys(store, "", Some("b"), 9).await, "ü \u{10ffff}");
    assert_eq!(keys(store, "c", None, 9).await, "");
    assert_eq!(keys(store, "", None, 0).await, "");
    let found = store.documents(Kind::User, "b", None, 1).await.unwrap();
    assert_eq!(found, [("b".to_owned(), Document { version: 1, text: "1".into() })]);
}

pub(crate) async fn kinds_are_kept_apart<S: DocumentStore>(store: &S) {
    let changes = Kind::ALL.map(|kind| create(kind, "k", kind.name())).to_vec();
    assert!(store.change(changes, vec![]).await.unwrap());
    for kind in Kind::ALL {
        let text = Document { version: 1, text: kind.name().into() };
        assert_eq!(store.document(kind, "k").await.unwrap(), Some(text.clone()));
        let found = store.documents(kind, "", None, 9).await.unwrap();
        assert_eq!(found, [("k".to_owned(), text)]);
    }
}

pub(crate) async fn audit_entries_are_read_newest_first<S: DocumentStore>(store: &S) {
    let now_us = wall_clock_us();
    let with_change = vec![entry(3, now_us - 1), entry(4, now_us)];
    assert!(store.change(vec![create(Kind::User, "a", "1")], with_change).await.unwrap());
    let without = vec![entry(2, now_us), entry(1, now_us - 2), entry(9, now_us - 1)];
    assert!(store.change(vec![], without).await.unwrap());
    assert_eq!(ids(store, all()).await, [4, 2, 9, 3, 1]);
    assert_eq!(ids(store, AuditQuery { limit: 3, ..all() }).await, [4, 2, 9]);
    assert_eq!(ids(store, AuditQuery { limit: 0, ..all() }).await, [0; 0]);
    assert_eq!(ids(store, AuditQuery { limit: usize::MAX, ..all() }).await.len(), 5);
    let first = store.audit(AuditQuery { limit: 1, ..all() }).await.unwrap();
    assert_eq!(first, [entry(4, now_us)]);
}

pub(crate) async fn audit_entries_are_chosen_by_each_filter<S: DocumentStore>(store: &S) {
    let user = Uuid::from_u128(7);
    let rows = [
        AuditRow { event_type: "login".into(), ..entry(1, 10) },
        AuditRow { user_id: Some(user), ..entry(2, 20) },
        AuditRow { user_email: Some("Ab@x".into()), event_type: "update".into(), ..entry(3, 30) },
        AuditRow { user_id: Some(user), user_email: Some("c@x".into()), ..entry(4, 40) },
    ];
    assert!(store.change(vec![create(Kind::User, "a", "1")], rows[..2].to_vec()).await.unwrap());
    assert!(store.change(vec![], rows[2..].to_vec()).await.unwrap());
    let queries = [
        (AuditQuery { event_types: vec!["login".into()], ..all() }, vec![1]),
        (AuditQuery { event_types: vec!["login".into(), "update".into()], ..all() }, vec![3, 1]),
        (AuditQuery { event_types: vec!["none".into()], ..all() }, vec![]),
        (AuditQuery { user_id: Some(user), ..all() }, vec![4, 2]),
        (AuditQuery { user_id: Some(user), user_email: Some("c@x".into()), ..all() }, vec![4]),
        (AuditQuery { user_email: Some("aB@x".into()), ..all() }, vec![3]),
        (AuditQuery { from_us: Some(20), ..all() }, vec![4, 3, 2]),
        (AuditQuery { to_us: Some(30), ..all() }, vec![2, 1]),
        (AuditQuery { from_us: Some(20), to_us: Some(40), ..all() }, vec![3, 2]),
        (AuditQuery { from_us: Some(20), to_us: Some(20), ..all() }, vec![]),
        (AuditQuery { from_us: Some(40), to_us: Some(20), ..all() }, vec![]),
        (AuditQuery { from_us: Some(i64::MIN), to_us: Some(i64::MAX), ..all() }, vec![4, 3, 2, 1]),
    ];
    for (query, expected) in queries {
        assert_eq!(ids(store, query.clone()).await, expected, "{query:?}");
    }
    let found = store.audit(AuditQuery { user_id: Some(user), limit: 1, ..all() }).await.unwrap();
    assert_eq!(found, rows[3..]);
}

pub(crate) async fn an_entry_written_twice_is_read_once<S: DocumentStore>(store: &S) {
    let now_us = wall_clock_us();
    let changes = vec![create(Kind::User, "a", "1")];
    assert!(store.change(changes, vec![entry(1, now_us)]).await.unwrap());
    for _ in 0..2 {
        assert!(store.change(vec![], vec![entry(1, now_us)]).await.unwrap());
    }
    assert_eq!(ids(store, all()).await, [1]);
}

pub(crate) async fn audit_entries_of_many_months_are_read_to_the_end<S: DocumentStore>(store: &S) {
    let now_us = wall_clock_us();
    let at = |n: i64| entry(10 - n, now_us - n * 5 * MONTH_US / 2);
    let rows: Vec<AuditRow> = (0..10).map(at).collect();
    assert!(store.change(vec![], rows[3..].to_vec()).await.unwrap());
    let changes = vec![create(Kind::User, "a", "1")];
    assert!(store.change(changes, rows[..3].to_vec()).await.unwrap());
    assert_eq!(store.audit(all()).await.unwrap(), rows);
    assert_eq!(store.audit(AuditQuery { limit: 5, ..all() }).await.unwrap(), rows[..5]);
    let (from_us, to_us) = (Some(rows[7].time_us), Some(rows[1].time_us));
    assert_eq!(store.audit(AuditQuery { from_us, to_us, ..all() }).await.unwrap(), rows[2..8]);
}

pub(crate) async fn no_more_audit_entries_than_the_limit_are_read<S: DocumentStore>(store: &S) {
    let rows = |from: i64| (from..from + 600).map(|n| entry(n, n)).collect::<Vec<_>>();
    assert!(store.change(vec![], rows(1)).await.unwrap());
    assert!(store.change(vec![create(Kind::User, "a", "1")], rows(601)).await.unwrap());
    let found = ids(store, AuditQuery { limit: usize::MAX, ..all() }).await;
    assert_eq!(found, (201..=1200).rev().collect::<Vec<_>>());
    let refused = store.change(vec![], vec![entry(1, 1); AUDIT_ENTRIES_MAX + 1]).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}
