//! The back office: bootstrapped once, its people with ids of their own.

use std::collections::BTreeSet;

use millrace_accounts::{AuditUser, BackOfficeError, Lang};
use serde_json::json;

use super::world::{HERE, SECRET, World};
use super::{at_once, body, new_audit_user, the_winner};

pub(crate) async fn of_many_bootstraps_at_once_exactly_one_makes_the_first_person(world: &World) {
    let bootstrap = world
        .in_turn()
        .zip(0..30)
        .map(|(process, _)| async move { process.office.bootstrap(SECRET, HERE).await });
    let (first, refused) = the_winner(at_once(bootstrap).await);
    assert_eq!(refused, vec![BackOfficeError::AlreadyBootstrapped; 29]);
    assert!(first.id > 0);
    let wrong = world.first().office.bootstrap(br#"{"secret": "guess"}"#, HERE).await;
    assert_eq!(wrong.unwrap_err(), BackOfficeError::BadSecret);
    assert_eq!(world.books().await.people.len(), 1);
}

pub(crate) async fn ids_are_positive_and_unique_in_every_process(world: &World) {
    let by = world.first().operator().await;
    let make = world.in_turn().zip(0..45).map(|(process, n)| {
        let by = by.clone();
        let new = new_audit_user(&format!("a{n}@example.com"));
        async move { process.office.create_audit_user(&by, &new).await.unwrap() }
    });
    let made = at_once(make).await;
    let ids: BTreeSet<i64> = made.iter().map(|person| person.id).collect();
    let keys: BTreeSet<_> = made.iter().map(|person| person.key).collect();
    assert_eq!((ids.len(), keys.len()), (45, 45));
    assert!(ids.iter().all(|id| (1..1 << 53).contains(id)), "{ids:?}");
    let books = world.books().await;
    assert!(books.entries.keys().all(|id| *id > 0), "those of audit entries are, too");
    for process in &world.processes {
        let page = process.office.list(&by, &[]).await.unwrap();
        let listed: Vec<i64> = page.data.iter().map(|row| row.user.id).collect();
        assert_eq!((listed.len(), page.total_count), (46, 46));
        assert!(listed.is_sorted(), "{listed:?}");
    }
}

pub(crate) async fn changes_of_an_audit_user_at_once_are_all_kept(world: &World) {
    let by = world.first().operator().await;
    let new = new_audit_user("a@example.com");
    let made = world.first().office.create_audit_user(&by, &new).await.unwrap();
    let id = made.id.to_string();
    let changes = [
        json!({"firstName": "Grace"}),
        json!({"lastName": "Hopper"}),
        json!({"phone": "2"}),
        json!({"lang": "de"}),
        json!({"email": "grace@example.com"}),
    ];
    let changes = world.in_turn().zip(changes).map(|(process, change)| {
        let (by, id) = (by.clone(), id.clone());
        async move { process.office.update_audit_user(&by, &id, &body(&change)).await.unwrap() }
    });
    at_once(changes).await;
    let page = world.first().office.list(&by, &[]).await.unwrap();
    let expected = AuditUser {
        id: made.id,
        key: made.key,
        first_name: "Grace".to_owned(),
        last_name: "Hopper".to_owned(),
        email: "grace@example.com".to_owned(),
        phone: "2".to_owned(),
        lang: Some(Lang::De),
    };
    assert_eq!(page.data[1].user, expected);
    let books = world.books().await;
    assert_eq!(books.people.values().map(|(version, _)| *version).max(), Some(6));
}

pub(crate) async fn of_audit_users_that_move_to_one_address_exactly_one_wins(world: &World) {
    let by = world.first().operator().await;
    let mut ids = Vec::new();
    for n in 0..8 {
        let new = new_audit_user(&format!("a{n}@example.com"));
        ids.push(world.first().office.create_audit_user(&by, &new).await.unwrap().id);
    }
    let moves = world.in_turn().zip(ids).map(|(process, id)| {
        let by = by.clone();
        let change = body(&json!({"email": "Wanted@example.com", "phone": id.to_string()}));
        async move { process.office.update_audit_user(&by, &id.to_string(), &change).await }
    });
    let (winner, refused) = the_winner(at_once(moves).await);
    assert_eq!(refused, vec![BackOfficeError::EmailTaken; 7]);
    assert_eq!(winner.phone, winner.id.to_string());
    let books = world.books().await;
    let moved = books.people.values().filter(|(version, _)| *version > 1).count();
    assert_eq!(moved, 1, "of the others nothing was changed");
}
