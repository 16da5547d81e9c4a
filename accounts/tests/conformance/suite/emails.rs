//! An address is one person's: of whoever wants it at once, exactly one gets it.

use millrace_accounts::{BackOfficeError, PeopleError};
use serde_json::json;

use super::world::{FIRST, HERE, SECRET, World};
use super::{at_once, body, new_audit_user, new_user, the_winner};

pub(crate) async fn of_a_hundred_that_register_one_address_exactly_one_wins(world: &World) {
    let address =
        |n: usize| if n.is_multiple_of(2) { "One@example.com" } else { "one@Example.COM" };
    let register = world.in_turn().zip(0..100).map(|(process, n)| async move {
        process
            .people
            .register(None, &new_user(address(n), json!({"name": n.to_string()})), HERE)
            .await
    });
    let (winner, refused) = the_winner(at_once(register).await);
    assert_eq!(refused, vec![PeopleError::RegisterEmailTaken; 99]);
    for process in &world.processes {
        assert_eq!(process.people.all_users().await.unwrap(), std::slice::from_ref(&winner));
        assert_eq!(process.caller("ONE@example.com").await.user(), &winner);
    }
    world.books().await;
}

pub(crate) async fn a_user_and_an_audit_user_do_not_share_an_address(world: &World) {
    let by = world.first().operator().await;
    for round in 0..5 {
        let address = format!("both{round}@example.com");
        let want = world.in_turn().zip(0..10).map(|(process, n)| {
            let (by, address) = (by.clone(), address.clone());
            async move {
                if n % 2 == 0 {
                    let user =
                        process.people.register(None, &new_user(&address, json!({})), HERE).await;
                    user.map(|user| user.email).map_err(|error| (error.status(), error.detail()))
                } else {
                    let new = new_audit_user(&address.to_uppercase());
                    let person = process.office.create_audit_user(&by, &new).await;
                    let refused = |e: BackOfficeError| (e.status(), json!(e.code()));
                    person.map(|person| person.email).map_err(refused)
                }
            }
        });
        let (winner, refused) = the_winner(at_once(want).await);
        assert_eq!(winner.to_lowercase(), address);
        for refused in refused {
            let taken = [(400, json!("REGISTER_USER_ALREADY_EXISTS")), (409, json!("CONFLICT"))];
            assert!(taken.contains(&refused), "{refused:?}");
        }
    }
    let books = world.books().await;
    assert_eq!(books.users.len() + books.people.len(), 1 + 5);
}

pub(crate) async fn of_many_that_move_to_one_address_exactly_one_wins(world: &World) {
    let mut callers = Vec::new();
    for n in 0..12 {
        let address = format!("u{n}@example.com");
        world.first().user(&address).await;
        callers.push(world.first().caller(&address).await);
    }
    let moves = world.in_turn().zip(callers.clone()).map(|(process, caller)| async move {
        process.update(&caller, json!({"email": "Wanted@example.com"})).await
    });
    let (winner, refused) = the_winner(at_once(moves).await);
    assert_eq!(refused, vec![PeopleError::UpdateEmailTaken; 11]);
    assert_eq!(winner.email, "Wanted@example.com");
    let left = callers.iter().find(|caller| caller.user().id == winner.id).unwrap();
    world.first().user(&left.user().email).await;
    assert_eq!(world.books().await.users.len(), 13);
}

pub(crate) async fn an_address_that_is_left_is_taken_by_one_or_is_free(world: &World) {
    for round in 0..6 {
        let address = format!("left{round}@example.com");
        world.first().user(&address).await;
        let caller = world.first().caller(&address).await;
        let mover = world.first().clone();
        let (old, new) = (address.clone(), format!("moved{round}@example.com"));
        let moves = tokio::spawn(async move {
            for (email, name) in [(&new, "Moved"), (&old, "Back again"), (&new, "Moved")] {
                let change = json!({"email": email, "name": name});
                match mover.update(&caller, change).await {
                    Ok(_) | Err(PeopleError::UpdateEmailTaken) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        let takes = world.in_turn().zip(0..6).map(|(process, _)| {
            let address = address.clone();
            async move { process.people.register(None, &new_user(&address, json!({})), HERE).await }
        });
        let taken = at_once(takes).await;
        moves.await.unwrap();
        for refused in taken.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(*refused, PeopleError::RegisterEmailTaken);
        }
        let takers = taken.iter().filter(|answer| answer.is_ok()).count();
        assert!(takers <= 1, "{takers} have it");
        let again = world.first().people.register(None, &new_user(&address, json!({})), HERE).await;
        let held = &world.books().await.emails;
        assert!(held.contains_key(&address), "somebody has it now: {again:?}");
    }
}

pub(crate) async fn two_that_want_each_others_address_keep_their_own(world: &World) {
    let addresses = ["one@example.com", "two@example.com"];
    let mut callers = Vec::new();
    for address in addresses {
        world.first().user(address).await;
        callers.push(world.first().caller(address).await);
    }
    let wanted = ["two@example.com", "ONE@example.com"];
    let swaps = world.in_turn().zip(callers.into_iter().zip(wanted)).map(
        |(process, (caller, wanted))| async move {
            process.update(&caller, json!({"email": wanted})).await.unwrap_err()
        },
    );
    assert_eq!(at_once(swaps).await, vec![PeopleError::UpdateEmailTaken; 2]);
    let users = world.first().people.all_users().await.unwrap();
    assert!(users.iter().all(|user| addresses.contains(&user.email.as_str())));
    world.books().await;
}

pub(crate) async fn the_first_person_does_not_take_a_users_address(world: &World) {
    let first = world.first();
    let user = first.user(&FIRST.to_lowercase()).await;
    let bootstrap = async |by: usize| world.processes[by].office.bootstrap(SECRET, HERE).await;
    assert_eq!(bootstrap(0).await, Err(BackOfficeError::EmailTaken));
    let boss = first.admin("boss@example.com").await;
    // While the address becomes free some find it free and some do not; one makes the person.
    let delete = first.clone();
    let deletion = tokio::spawn(async move {
        delete.people.delete_user(&boss, &body(&json!({"id": user.id}))).await.unwrap()
    });
    let bootstraps = world
        .in_turn()
        .zip(0..12)
        .map(|(process, _)| async move { process.office.bootstrap(SECRET, HERE).await });
    let answers = at_once(bootstraps).await;
    deletion.await.unwrap();
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let expected = [BackOfficeError::EmailTaken, BackOfficeError::AlreadyBootstrapped];
        assert!(expected.contains(refused), "{refused:?}");
    }
    assert!(made <= 1, "{made} were made");
    let last = bootstrap(1).await;
    assert_eq!(last.is_ok(), made == 0, "{last:?}");
    let books = world.books().await;
    assert_eq!((books.people.len(), books.users.len()), (1, 1));
}
