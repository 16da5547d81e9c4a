//! Deleting users while others change them, and each other.

use millrace_accounts::PeopleError;
use serde_json::json;

use super::world::World;
use super::{at_once, body, new_user, the_winner};

pub(crate) async fn an_update_against_a_deletion_is_whole_or_not_at_all(world: &World) {
    let boss = world.first().admin("boss@example.com").await;
    for round in 0..10 {
        let addresses = ["old", "new"].map(|what| format!("{what}{round}@example.com"));
        let user = world.first().user(&addresses[0]).await;
        let [one, two, three] = &world.processes;
        let update = json!({"id": user.id, "email": addresses[1], "budget": 1});
        let consent = body(&json!({
            "consent_channel": "web_login", "email": user.email, "is_agreed": true,
            "policy_version": "1.0.0", "user_id": user.id,
        }));
        let id = body(&json!({"id": user.id}));
        let (updated, consented, deleted) = tokio::join!(
            one.update(&boss, update),
            two.people.set_consent(&boss, &consent),
            three.people.delete_user(&boss, &id),
        );
        let deleted = deleted.unwrap();
        match updated {
            Ok(_) => assert_eq!(deleted.email, addresses[1], "the update was first"),
            Err(error) => {
                assert_eq!(error, PeopleError::NotFound);
                assert_eq!(deleted.email, addresses[0]);
            }
        }
        if let Err(error) = consented {
            // 422: the address is not theirs any more.
            assert!(matches!(error, PeopleError::NotFound | PeopleError::Invalid(_)), "{error:?}");
        }
        let books = world.books().await;
        assert_eq!((books.users.len(), books.emails.len(), books.consents.len()), (1, 1, 0));
        for (process, address) in world.in_turn().zip(&addresses) {
            let again = process.user(address).await;
            let id = body(&json!({"id": again.id}));
            process.people.delete_user(&boss, &id).await.unwrap();
        }
    }
}

pub(crate) async fn of_many_deletions_of_a_user_one_deletes(world: &World) {
    let boss = world.first().admin("boss@example.com").await;
    let user = world.first().user("u@example.com").await;
    let deletions = world.in_turn().zip(0..9).map(|(process, _)| {
        let (boss, id) = (boss.clone(), body(&json!({"id": user.id})));
        async move { process.people.delete_user(&boss, &id).await }
    });
    let (deleted, refused) = the_winner(at_once(deletions).await);
    assert_eq!(deleted, user);
    assert_eq!(refused, vec![PeopleError::NotFound; 8]);
    assert_eq!(world.books().await.users.len(), 1);
}

pub(crate) async fn the_last_admin_stays_when_all_delete_each_other(world: &World) {
    for round in 0..4 {
        let mut admins = Vec::new();
        for n in 0..2 + round % 2 {
            admins.push(world.first().admin(&format!("boss{round}.{n}@example.com")).await);
        }
        // Those of the rounds before are gone, but for one: it may do nothing any more.
        let before = world.first().people.all_users().await.unwrap();
        for old in before.iter().filter(|user| !admins.iter().any(|a| a.user().id == user.id)) {
            let id = body(&json!({"id": old.id}));
            world.first().people.delete_user(&admins[0], &id).await.unwrap();
        }
        let next = admins.iter().cycle().skip(1).map(|admin| admin.user().id);
        let pairs: Vec<_> = admins.iter().cloned().zip(next).collect();
        let number = pairs.len();
        let deletions = world.in_turn().zip(pairs).map(|(process, (by, whom))| async move {
            process.people.delete_user(&by, &body(&json!({"id": whom}))).await
        });
        let answers = at_once(deletions).await;
        let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused, [PeopleError::LastAdmin]);
        assert_eq!(world.books().await.users.len(), 1, "of {number}");
    }
    // Who may not sign in is no admin who could act.
    let boss = world.first().people.all_users().await.unwrap().remove(0);
    let other = new_user("inactive@example.com", json!({"role": "admin", "is_active": false}));
    world.first().people.create_as_operator(&other).await.unwrap();
    let caller = world.first().caller(&boss.email).await;
    let id = body(&json!({"id": boss.id}));
    let refused = world.first().people.delete_user(&caller, &id).await;
    assert_eq!(refused.unwrap_err(), PeopleError::LastAdmin);
}
