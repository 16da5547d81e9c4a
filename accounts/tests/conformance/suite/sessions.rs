//! Who is signed in: in every process the same, and no longer once it has ended in any.

use millrace_accounts::{BackOfficeError, Password, PeopleError, SignedIn};
use serde_json::json;

use super::world::{FIRST, HERE, PASSWORD, Process, World, form};
use super::{at_once, body, new_audit_user};

/// In which processes a token is good: all or none.
async fn is_good(world: &World, token: &str) -> bool {
    let mut known = Vec::new();
    for process in &world.processes {
        known.push(process.knows(token).await);
    }
    assert!(known.iter().all(|is| *is == known[0]), "{known:?}");
    known[0]
}

pub(crate) async fn who_signs_out_in_one_process_is_out_in_all(world: &World) {
    world.first().user("u@example.com").await;
    for out in &world.processes {
        let (token, other) =
            (world.first().token("u@example.com").await, out.token("u@example.com").await);
        assert!(is_good(world, &token).await);
        let caller = out.people.caller(Some(&token), HERE).await.unwrap();
        let twice = at_once(world.in_turn().zip(0..2).map(|(process, _)| {
            let caller = caller.clone();
            async move { process.people.logout(&caller).await }
        }));
        assert_eq!(twice.await, [Ok(()), Ok(())]);
        assert!(!is_good(world, &token).await);
        assert!(is_good(world, &other).await, "another session goes on");
    }
    world.books().await;
}

pub(crate) async fn all_tokens_die_everywhere_with_deactivation_deletion_and_another_password(
    world: &World,
) {
    let [one, other, _] = &world.processes;
    let boss = one.admin("boss@example.com").await;
    let ends = ["is_active", "password", "operator's password", "operator", "deletion"];
    for (n, end) in ends.into_iter().enumerate() {
        let address = format!("u{n}@example.com");
        let user = other.user(&address).await;
        let tokens = [one.token(&address).await, other.token(&address).await];
        let id = user.id;
        let kept = other.update(&boss, json!({"id": id, "budget": 1, "is_active": true})).await;
        assert_eq!(kept.unwrap().id, id);
        for token in &tokens {
            assert!(is_good(world, token).await, "nothing of that ends a session");
        }
        match end {
            "is_active" => {
                other.update(&boss, json!({"id": id, "is_active": false})).await.map(drop)
            }
            "password" => {
                let change = json!({"id": id, "password": "another one"});
                other.update(&boss, change).await.map(drop)
            }
            "operator's password" => {
                let password = Password::new("another one".to_owned());
                other.people.set_password_as_operator(&address, password).await.map(drop)
            }
            "operator" => other.people.deactivate_as_operator(&address).await.map(drop),
            _ => other.people.delete_user(&boss, &body(&json!({"id": id}))).await.map(drop),
        }
        .unwrap();
        for token in &tokens {
            assert!(!is_good(world, token).await, "{end}");
        }
        let refused = one.people.login(&form(&address, PASSWORD), HERE).await;
        assert_eq!(refused.unwrap_err(), PeopleError::BadCredentials, "{end}");
        if end == "is_active" {
            other.update(&boss, json!({"id": id, "is_active": true})).await.unwrap();
            assert!(!is_good(world, &tokens[0]).await, "what is dead stays dead");
            one.token(&address).await;
        }
    }
    world.books().await;
}

/// Whether a session goes on: for its tokens and for its refresh token alike.
async fn goes_on(process: &Process, session: &SignedIn) -> bool {
    let (access, session_token) = (&session.access_token, &session.session_token);
    let caller = process.office.caller(Some(access), Some(session_token), HERE).await;
    let refresh = body(&json!({"refreshToken": session.refresh_token}));
    let refreshed = process.office.refresh(&refresh).await;
    match (caller, refreshed) {
        (Ok(_), Ok(_)) => true,
        (Err(BackOfficeError::Unauthorized), Err(BackOfficeError::BadRefreshToken)) => false,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_back_office_session_ends_everywhere(world: &World) {
    let [one, other, third] = &world.processes;
    let by = one.operator().await;
    one.office.create_audit_user(&by, &new_audit_user("a@example.com")).await.unwrap();
    let firsts = third.sign_in(FIRST).await;
    for password in [Some("An0ther!one"), None] {
        let session = match password {
            Some(_) => one.sign_in("a@example.com").await,
            None => {
                let credentials = super::world::credentials("a@example.com", "An0ther!one");
                one.office.login(&credentials, HERE).await.unwrap()
            }
        };
        for process in &world.processes {
            assert!(goes_on(process, &session).await);
        }
        match password {
            Some(to) => other.office.set_password_as_operator("A@example.com", to).await,
            None => other.office.deactivate_as_operator("A@example.com").await,
        }
        .unwrap();
        for process in &world.processes {
            assert!(!goes_on(process, &session).await);
            assert!(goes_on(process, &firsts).await, "that of another goes on");
        }
    }
    world.books().await;
}

pub(crate) async fn a_login_with_the_old_password_does_not_outlive_it(world: &World) {
    let first = world.first();
    first.user("u@example.com").await;
    let mut old = PASSWORD.to_owned();
    for round in 0..5 {
        let new = format!("password-{round}");
        let logins = at_once(world.in_turn().zip(0..6).map(|(process, _)| {
            let form = form("u@example.com", &old);
            async move { process.people.login(&form, HERE).await }
        }));
        let password = Password::new(new.clone());
        let (logins, set) =
            tokio::join!(logins, first.people.set_password_as_operator("u@example.com", password));
        set.unwrap();
        for login in logins {
            match login {
                Ok(token) => assert!(!is_good(world, &token.access_token).await),
                Err(error) => assert_eq!(error, PeopleError::BadCredentials),
            }
        }
        old = new;
    }
    world.books().await;
}
