use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::testing::{HERE, PASSWORD, Place, changed, form, new_user, settings};
use crate::{Limits, Rate, Settings};

fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn shown(user: &User) -> Value {
    serde_json::to_value(user).unwrap()
}

/// The fields that are refused, and why.
fn refused<T: std::fmt::Debug>(result: Result<T, PeopleError>) -> Vec<(String, &'static str)> {
    let PeopleError::Invalid(errors) = result.unwrap_err() else { panic!("not refused by field") };
    let path = |error: &crate::FieldError| serde_json::to_string(&error.loc).unwrap();
    errors.iter().map(|error| (path(error), error.kind)).collect()
}

#[tokio::test]
async fn registration_grants_nothing_without_an_admin() {
    let place = Place::new();
    let grants = json!({
        "is_active": false, "is_superuser": true, "is_verified": true, "budget": 5, "credit": 6.5,
        "permissions": {"admin": ["budget"]}, "preferences": {"etc": {"language": "en"}},
    });
    let granting = changed(&new_user("User@Example.com"), grants.clone());
    let user = place.people.register(None, &granting, HERE).await.unwrap();
    let mut expected = json!({
        "id": user.id, "email": "User@Example.com", "name": "Somebody", "role": "advertiser",
        "budget": 0, "credit": 0, "campaign_count": 0, "creative_count": 0, "placement_count": 0,
        "is_active": true, "is_superuser": false, "is_verified": false, "permissions": {},
        "preferences": preferences::defaults(),
    });
    expected["preferences"]["etc"]["language"] = json!("en");
    let json: Value = serde_json::from_str(&serde_json::to_string(&user).unwrap()).unwrap();
    assert_eq!(json, expected);

    let admins = changed(&new_user("b@example.com"), json!({"role": "admin"}));
    let result = place.people.register(None, &admins, HERE).await;
    assert_eq!(result.unwrap_err(), PeopleError::Forbidden);

    place.admin("admin@example.com").await;
    let token = place.token("admin@example.com").await;
    let granting = changed(&granting, json!({"email": "c@example.com", "role": "admin"}));
    let user = place.people.register(Some(&token), &granting, HERE).await.unwrap();
    assert!(user.is_superuser && user.is_verified && !user.is_active && user.is_admin());
    assert_eq!((user.budget.to_string(), user.credit.to_string()), ("5".into(), "6.5".into()));
    assert_eq!(user.permissions["admin"], ["budget"]);
}

#[tokio::test]
async fn a_registration_is_refused_field_by_field() {
    let place = Place::new();
    let given = json!({
        "email": "none", "name": null, "password": 1, "role": "boss", "permissions": {"a": 1},
        "budget": -1, "credit": "5", "is_active": "yes", "preferences": {"etc": {"language": 1}},
        "unknown": true,
    });
    let expected = [
        (r#"["body","email"]"#, "value_error"),
        (r#"["body","name"]"#, "missing"),
        (r#"["body","password"]"#, "string_type"),
        (r#"["body","permissions","a"]"#, "list_type"),
        (r#"["body","role"]"#, "enum"),
        (r#"["body","budget"]"#, "greater_than_equal"),
        (r#"["body","credit"]"#, "decimal_type"),
        (r#"["body","is_active"]"#, "bool_type"),
        (r#"["body","preferences","etc","language"]"#, "string_type"),
    ];
    let found = refused(place.people.register(None, &body(&given), HERE).await);
    let expected: Vec<_> = expected.map(|(path, kind)| (path.to_owned(), kind)).to_vec();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_password_is_checked_before_the_address() {
    let place = Place::new();
    place.user("taken@example.com").await;
    for password in ["short", "Taken@example.com", &"x".repeat(1_025)] {
        let given = changed(&new_user("taken@example.com"), json!({"password": password}));
        let error = place.people.register(None, &given, HERE).await.unwrap_err();
        let at = PasswordUse::Register;
        assert!(matches!(error, PeopleError::InvalidPassword { at: a, .. } if a == at));
    }
    let again = new_user("TAKEN@example.com");
    let error = place.people.register(None, &again, HERE).await.unwrap_err();
    assert_eq!(error, PeopleError::RegisterEmailTaken);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_registrations_of_one_address_one_wins() {
    let place = Place::new();
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let people = Arc::clone(&place.people);
            let email = if n % 2 == 0 { "one@example.com" } else { "ONE@example.com" };
            tokio::spawn(async move { people.register(None, &new_user(email), HERE).await })
        })
        .collect();
    let (mut won, mut lost) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => {
                assert_eq!(error, PeopleError::RegisterEmailTaken);
                lost += 1;
            }
        }
    }
    assert_eq!((won, lost), (1, 99));
    assert_eq!(place.people.all_users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_dies_with_logout_deactivation_password_change_and_deletion() {
    let place = Place::new();
    let admin = place.admin("admin@example.com").await;
    let user = place.user("u@example.com").await;
    let people = &place.people;
    let is_good = async |token: &str| people.caller(Some(token), HERE).await.is_ok();

    let (first, second) = (place.token("u@example.com").await, place.token("u@example.com").await);
    people.logout(&people.caller(Some(&first), HERE).await.unwrap()).await.unwrap();
    assert!(!is_good(&first).await && is_good(&second).await);

    let caller = people.caller(Some(&second), HERE).await.unwrap();
    let change = json!({"password": "another horse"});
    people.update_info(&caller, &body(&change)).await.unwrap();
    assert!(!is_good(&second).await);
    let wrong = people.login(&form("u@example.com", PASSWORD), HERE).await;
    assert_eq!(wrong.unwrap_err(), PeopleError::BadCredentials);
    let third = people.login(&form("U@EXAMPLE.com", "another horse"), HERE).await.unwrap();
    assert!(is_good(&third.access_token).await);

    let boss = place.caller("admin@example.com").await;
    for is_active in [false, true] {
        let change = json!({"id": user.id, "is_active": is_active});
        people.update_info(&boss, &body(&change)).await.unwrap();
        assert!(!is_good(&third.access_token).await, "dead for good");
    }
    let fourth = people.login(&form("u@example.com", "another horse"), HERE).await.unwrap();
    people.delete_user(&boss, &body(&json!({"id": user.id}))).await.unwrap();
    assert!(!is_good(&fourth.access_token).await);
    let gone = people.login(&form("u@example.com", "another horse"), HERE).await;
    assert_eq!(gone.unwrap_err(), PeopleError::BadCredentials);
    assert_ne!(place.user("u@example.com").await.id, user.id, "the address is free again");
    assert_eq!(boss.user().id, admin.id);
}

/// Ends every token of a user, without a password.
async fn end_tokens(place: &Place, boss: &Caller, id: Uuid) {
    for is_active in [false, true] {
        let change = json!({"id": id, "is_active": is_active});
        place.people.update_info(boss, &body(&change)).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_dies_while_a_thread_is_waited_for_changes_nothing() {
    let place = Place::new();
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let victim = place.user("u@example.com").await.id;
    let thief = place.caller("u@example.com").await;
    let people = Arc::clone(&place.people);
    let change = body(&json!({"password": "another horse"}));
    let call = async move { people.update_info(&thief, &change).await };
    let result = place.meanwhile(call, end_tokens(&place, &boss, victim)).await;
    assert_eq!(result.unwrap_err(), PeopleError::Unauthorized);
    place.token("u@example.com").await;
}

#[tokio::test]
async fn what_an_admin_asked_for_is_not_done_when_they_are_none_after_the_wait() {
    let place = Place::new();
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let fallen = changed(&new_user("fallen@example.com"), json!({"is_superuser": true}));
    let fallen = place.people.create_as_operator(&fallen).await.unwrap();
    let caller = place.caller("fallen@example.com").await;
    let token = place.token("fallen@example.com").await;
    let to = async |is_superuser: bool| {
        let change = json!({"id": fallen.id, "is_superuser": is_superuser});
        place.people.update_info(&boss, &body(&change)).await.unwrap();
    };

    let people = Arc::clone(&place.people);
    let change = body(&json!({"id": boss.user().id, "password": "another horse"}));
    let call = async move { people.update_info(&caller, &change).await };
    let result = place.meanwhile(call, to(false)).await;
    assert_eq!(result.unwrap_err(), PeopleError::Forbidden);
    place.token("admin@example.com").await;

    for (role, is_made) in [("advertiser", true), ("admin", false)] {
        to(true).await;
        let grants = json!({"is_superuser": true, "role": role});
        let new = changed(&new_user(&format!("new-{role}@example.com")), grants);
        let (people, token) = (Arc::clone(&place.people), token.clone());
        let call = async move { people.register(Some(&token), &new, HERE).await };
        let made = place.meanwhile(call, to(false)).await;
        assert_eq!(made.is_ok_and(|user| !user.is_superuser), is_made);
    }
}

#[tokio::test]
async fn a_taken_address_is_refused_before_a_password_is_hashed() {
    let place = Place::new();
    place.user("taken@example.com").await;
    place.user("u@example.com").await;
    let caller = place.caller("u@example.com").await;
    let _held = place.core.passwords.hold();
    let change = body(&json!({"email": "Taken@example.com", "password": "another horse"}));
    let changed = place.people.update_info(&caller, &change).await;
    assert_eq!(changed.unwrap_err(), PeopleError::UpdateEmailTaken);
    let again = place.people.register(None, &new_user("taken@example.com"), HERE).await;
    assert_eq!(again.unwrap_err(), PeopleError::RegisterEmailTaken);
}

#[tokio::test]
async fn an_access_token_ends_after_an_hour() {
    let place = Place::new();
    place.user("u@example.com").await;
    let token = place.token("u@example.com").await;
    place.clock.advance_s(3_599);
    assert!(place.people.caller(Some(&token), HERE).await.is_ok());
    place.clock.advance_s(1);
    let error = place.people.caller(Some(&token), HERE).await.unwrap_err();
    assert_eq!(error, PeopleError::Unauthorized);
    assert_eq!(place.people.caller(None, HERE).await.unwrap_err(), PeopleError::Unauthorized);
}

#[tokio::test]
async fn only_failed_logins_are_limited_by_account_and_by_address() {
    let rate = |burst| Rate { burst, period: Duration::from_secs(60) };
    let limits =
        Limits { logins_per_account: rate(2), logins_per_address: rate(5), ..Limits::default() };
    let place = Place::with(Settings { limits, ..settings() }, |_| None);
    place.user("u@example.com").await;
    for _ in 0..10 {
        place.token("u@example.com").await;
    }
    let try_login = async |email: &str| {
        place.people.login(&form(email, "wrong horse"), HERE).await.unwrap_err().status()
    };
    let mut statuses = Vec::new();
    for email in ["u@example.com", "U@example.com", "u@example.com", "a@b.co", "c@d.co", "e@f.co"] {
        statuses.push(try_login(email).await);
    }
    assert_eq!(statuses, [400, 400, 429, 400, 400, 400]);
    assert_eq!(try_login("g@h.co").await, 429, "the address has tried five");
    let error = place.people.login(&form("u@example.com", PASSWORD), HERE).await.unwrap_err();
    assert_eq!(error.retry_after_s(), Some(60));
    place.clock.advance_s(60);
    place.token("u@example.com").await;
}

/// Few passwords are hashed for an account, and these for an address.
fn few_hashes(per_account: u32, per_address: u32) -> Place {
    let rate = |burst| Rate { burst, period: Duration::from_secs(60) };
    let (hashes_per_account, hashes_per_address) = (rate(per_account), rate(per_address));
    let limits = Limits { hashes_per_account, hashes_per_address, ..Limits::default() };
    Place::with(Settings { limits, ..settings() }, |_| None)
}

#[tokio::test]
async fn right_logins_and_changes_of_a_password_are_limited_by_account() {
    let place = few_hashes(3, 100);
    place.user("u@example.com").await;
    place.user("other@example.com").await;
    place.token("u@example.com").await;
    let caller = place.caller("u@example.com").await;
    let change = body(&json!({"password": PASSWORD}));
    place.people.update_info(&caller, &change).await.unwrap();
    let login = place.people.login(&form("U@example.com", PASSWORD), HERE).await;
    assert_eq!(login.unwrap_err().retry_after_s(), Some(60));
    place.token("other@example.com").await;
    place.clock.advance_s(60);
    let caller = place.caller("u@example.com").await;
    let error = place.people.update_info(&caller, &change).await.unwrap_err();
    assert_eq!((error.status(), error.retry_after_s()), (429, Some(60)));
    let other = body(&json!({"name": "Another name"}));
    place.people.update_info(&caller, &other).await.unwrap();
}

#[tokio::test]
async fn registrations_are_limited_by_address_whether_the_e_mail_is_taken_or_not() {
    let place = few_hashes(1, 2);
    place.user("u@example.com").await;
    let register = async |email: &str, from: &str| {
        let from = from.parse().unwrap();
        place.people.register(None, &new_user(email), from).await.map_err(|error| error.status())
    };
    assert_eq!(register("u@example.com", "127.0.0.1").await, Err(400));
    assert_eq!(register("u@example.com", "127.0.0.1").await, Err(429));
    assert_eq!(register("v@example.com", "127.0.0.1").await, Err(429));
    assert!(register("v@example.com", "192.0.2.1").await.is_ok());
}

#[tokio::test]
async fn what_finds_no_place_to_wait_uses_up_nothing() {
    let rate = |burst| Rate { burst, period: Duration::from_secs(60) };
    let limits = Limits {
        hashes_per_account: rate(3),
        hashes_per_address: rate(4),
        logins_per_account: rate(1),
        ..Limits::default()
    };
    let passwords = crate::PasswordSettings { queue: 0, threads: 1, ..settings().passwords };
    let place = Place::with(Settings { limits, passwords, ..settings() }, |_| None);
    place.user("u@example.com").await;
    let caller = place.caller("u@example.com").await;
    let people = Arc::clone(&place.people);
    let change = body(&json!({"password": PASSWORD}));
    let again = change.clone();
    let busy = async {
        for _ in 0..5 {
            let login = place.people.login(&form("u@example.com", PASSWORD), HERE).await;
            let change = place.people.update_info(&caller, &change).await;
            let register = place.people.register(None, &new_user("v@example.com"), HERE).await;
            let statuses = [login.map(drop), change.map(drop), register.map(drop)];
            assert_eq!(statuses.map(|result| result.unwrap_err().status()), [503; 3]);
        }
    };
    let waiting = caller.clone();
    let call = async move { people.update_info(&waiting, &again).await };
    place.meanwhile(call, busy).await.unwrap();
}

#[tokio::test]
async fn an_unverified_user_signs_in_only_where_that_is_not_demanded() {
    let place = Place::with(Settings { must_verify: true, ..settings() }, |_| None);
    place.user("u@example.com").await;
    let result = place.people.login(&form("u@example.com", PASSWORD), HERE).await;
    assert_eq!(result.unwrap_err(), PeopleError::NotVerified);
    let result = place.people.login(&form("u@example.com", "wrong horse"), HERE).await;
    assert_eq!(result.unwrap_err(), PeopleError::BadCredentials);
}

#[tokio::test]
async fn the_owner_may_write_back_what_they_read() {
    let place = Place::new();
    let user = place.user("Owner@example.com").await;
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let change = json!({
        "id": user.id, "budget": 0.3, "campaign_count": 2, "is_verified": true, "name": "abcd",
        "permissions": {"x": ["r", "w"]},
    });
    let user = place.people.update_info(&boss, &body(&change)).await.unwrap();
    let caller = place.caller("owner@example.com").await;
    let before = place.people.logs(&boss, &[]).await.unwrap().len();
    let whole = body(&shown(&user));
    let text = serde_json::to_string(&user).unwrap();
    assert!(text.contains("\"budget\":0.3,"), "{text}");
    assert_eq!(place.people.update_info(&caller, text.as_bytes()).await.unwrap(), user);
    assert_eq!(place.people.logs(&boss, &[]).await.unwrap().len(), before, "nothing was changed");

    let renamed = changed(&whole, json!({"name": "Other", "role": "admin", "budget": 0.30}));
    let renamed = place.people.update_info(&caller, &renamed).await.unwrap();
    assert_eq!(renamed, User { name: Some("Other".to_owned()), ..user.clone() });

    for privileged in [
        json!({"budget": 0.31}),
        json!({"credit": 1}),
        json!({"campaign_count": 3}),
        json!({"creative_count": 1}),
        json!({"placement_count": 1}),
        json!({"permissions": {}}),
        json!({"is_active": false}),
        json!({"is_superuser": true}),
        json!({"is_verified": false}),
    ] {
        let result = place.people.update_info(&caller, &changed(&whole, privileged.clone())).await;
        assert_eq!(result.unwrap_err(), PeopleError::Forbidden, "{privileged}");
    }
}

#[tokio::test]
async fn a_name_is_checked_only_when_it_changes() {
    let place = Place::new();
    let short = changed(&new_user("u@example.com"), json!({"name": "abc"}));
    place.people.register(None, &short, HERE).await.unwrap();
    let caller = place.caller("u@example.com").await;
    let update =
        async |name: &str| place.people.update_info(&caller, &body(&json!({"name": name}))).await;
    assert!(update("abc").await.is_ok());
    let path = r#"["body","name"]"#.to_owned();
    assert_eq!(refused(update("abd").await), [(path.clone(), "string_too_short")]);
    assert_eq!(refused(update(&"가".repeat(33)).await), [(path, "string_too_long")]);
    assert!(update("가나다라").await.is_ok());
}

#[tokio::test]
async fn another_address_resets_the_verification_and_must_be_free() {
    let place = Place::new();
    let user = place.user("old@example.com").await;
    place.user("other@example.com").await;
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let update = async |change: Value| {
        let change = changed(&body(&json!({"id": user.id})), change);
        place.people.update_info(&boss, &change).await
    };
    update(json!({"is_verified": true})).await.unwrap();
    let same = update(json!({"email": "OLD@example.com"})).await.unwrap();
    assert_eq!((same.email.as_str(), same.is_verified), ("OLD@example.com", true));
    let taken = update(json!({"email": "Other@example.com"})).await;
    assert_eq!(taken.unwrap_err(), PeopleError::UpdateEmailTaken);
    let moved = update(json!({"email": "new@example.com", "is_verified": true})).await.unwrap();
    assert_eq!((moved.email.as_str(), moved.is_verified), ("new@example.com", false));
    place.user("old@example.com").await;
    place.token("new@example.com").await;
}

#[tokio::test]
async fn another_users_id_is_forbidden_existing_or_not() {
    let place = Place::new();
    let other = place.user("other@example.com").await.id;
    let admin = place.admin("admin@example.com").await.id;
    place.user("u@example.com").await;
    let caller = place.caller("u@example.com").await;
    for id in [other, admin, Uuid::from_u128(1)] {
        let change = body(&json!({"id": id, "name": "Other name"}));
        let people = &place.people;
        let forbidden = PeopleError::Forbidden;
        assert_eq!(people.update_info(&caller, &change).await.unwrap_err(), forbidden);
        assert_eq!(people.update_budget(&caller, &change).await.unwrap_err(), forbidden);
        assert_eq!(people.delete_user(&caller, &change).await.unwrap_err(), forbidden);
        assert_eq!(people.consents(&caller, &id.to_string()).await.unwrap_err(), forbidden);
    }
    assert_eq!(place.people.users(&caller, &[]).await.unwrap_err(), PeopleError::Forbidden);
    assert_eq!(place.people.logs(&caller, &[]).await.unwrap_err(), PeopleError::Forbidden);
    let boss = place.caller("admin@example.com").await;
    let nobody = body(&json!({"id": Uuid::from_u128(1)}));
    assert_eq!(place.people.update_info(&boss, &nobody).await.unwrap_err(), PeopleError::NotFound);
    assert_eq!(place.people.delete_user(&boss, &nobody).await.unwrap_err(), PeopleError::NotFound);
}

#[tokio::test]
async fn budgets_are_changed_by_admins_and_entitled_retailers() {
    let place = Place::new();
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let advertiser = place.user("adv@example.com").await.id;
    let retail = changed(&new_user("shop@example.com"), json!({"role": "retailer"}));
    let shop = place.people.register(None, &retail, HERE).await.unwrap().id;
    let caller = place.caller("shop@example.com").await;
    let change = |id: Uuid| body(&json!({"id": id, "budget": 10.25, "credit": 1, "name": "x"}));
    let error = place.people.update_budget(&caller, &change(advertiser)).await.unwrap_err();
    assert_eq!(error, PeopleError::Forbidden, "without the right");

    let right = body(&json!({"id": shop, "permissions": {"admin": ["budget"]}}));
    place.people.update_info(&boss, &right).await.unwrap();
    let caller = place.caller("shop@example.com").await;
    let user = place.people.update_budget(&caller, &change(advertiser)).await.unwrap();
    assert_eq!((user.budget.to_string(), user.credit.to_string()), ("10.25".into(), "1".into()));
    assert_eq!(user.name.as_deref(), Some("Somebody"), "only the money changes");
    for id in [shop, boss.user().id, Uuid::from_u128(1)] {
        let error = place.people.update_budget(&caller, &change(id)).await.unwrap_err();
        assert_eq!(error, PeopleError::Forbidden);
    }
    let missing = place.people.update_budget(&boss, b"{}").await;
    assert_eq!(refused(missing), [(r#"["body","id"]"#.to_owned(), "missing")]);
    place.people.update_budget(&boss, &change(shop)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays_even_when_two_delete_each_other() {
    let place = Place::new();
    let first = place.admin("a@example.com").await.id;
    let second = place.admin("b@example.com").await.id;
    let (a, b) = (place.caller("a@example.com").await, place.caller("b@example.com").await);
    let delete = |caller: Caller, id: Uuid| {
        let people = Arc::clone(&place.people);
        tokio::spawn(async move { people.delete_user(&caller, &body(&json!({"id": id}))).await })
    };
    let (one, other) = (delete(a, second), delete(b, first));
    let results = [one.await.unwrap(), other.await.unwrap()];
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors, [PeopleError::LastAdmin]);
    assert_eq!(place.people.all_users().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_admin_stays_active_when_two_deactivate_or_demote_each_other() {
    for change in [json!({"is_active": false}), json!({"is_superuser": false})] {
        let place = Place::new();
        let mut calls = Vec::new();
        for email in ["a@example.com", "b@example.com"] {
            let superuser = changed(&new_user(email), json!({"is_superuser": true}));
            let id = place.people.create_as_operator(&superuser).await.unwrap().id;
            calls.push((place.caller(email).await, id));
        }
        let ids = [calls[1].1, calls[0].1];
        let tasks = calls.into_iter().zip(ids).map(|((caller, _), id)| {
            let change = changed(&body(&change), json!({"id": id}));
            let people = Arc::clone(&place.people);
            tokio::spawn(async move { people.update_info(&caller, &change).await })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            let _ = task.await.unwrap();
        }
        let all = place.people.all_users().await.unwrap();
        assert_eq!(all.iter().filter(|user| user.is_active_admin()).count(), 1, "{change}");
    }
}

#[tokio::test]
async fn the_last_admin_neither_deactivates_nor_demotes_themselves() {
    let place = Place::new();
    let first = changed(&new_user("a@example.com"), json!({"is_superuser": true}));
    place.people.create_as_operator(&first).await.unwrap();
    let second = place.admin("b@example.com").await.id;
    let boss = place.caller("a@example.com").await;
    let update = async |change: Value| place.people.update_info(&boss, &body(&change)).await;
    update(json!({"id": second, "is_active": false})).await.unwrap();
    for change in [json!({"is_active": false}), json!({"is_superuser": false})] {
        assert_eq!(update(change).await.unwrap_err(), PeopleError::LastAdmin);
    }
    update(json!({"id": second, "is_active": true})).await.unwrap();
    update(json!({"is_superuser": false})).await.unwrap();
    // The operator can make another.
    place.people.deactivate_as_operator("b@example.com").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_against_a_deletion_never_brings_a_user_back() {
    let place = Place::new();
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    for n in 0..20 {
        let user = place.user(&format!("u{n}@example.com")).await;
        let (people, by) = (Arc::clone(&place.people), boss.clone());
        let moved = format!("moved{n}@example.com");
        let change = body(&json!({"id": user.id, "email": moved}));
        let update = tokio::spawn(async move { people.update_info(&by, &change).await });
        let consent = json!({
            "consent_channel": "web", "email": user.email, "is_agreed": true,
            "policy_version": "1", "user_id": user.id,
        });
        let (people, by) = (Arc::clone(&place.people), boss.clone());
        let consent = tokio::spawn(async move { people.set_consent(&by, &body(&consent)).await });
        let id = body(&json!({"id": user.id}));
        place.people.delete_user(&boss, &id).await.unwrap();
        if let Err(error) = update.await.unwrap() {
            assert_eq!(error, PeopleError::NotFound);
        }
        if let Err(error) = consent.await.unwrap() {
            assert!(matches!(error, PeopleError::NotFound | PeopleError::Invalid(_)), "{error:?}");
        }
        place.user(&format!("u{n}@example.com")).await;
        place.user(&format!("moved{n}@example.com")).await;
        let prefix = consent::prefix(user.id);
        let store = &place.core.store;
        let left = store.documents(Kind::Consent, &prefix, None, 10).await.unwrap();
        assert!(left.is_empty(), "no consent of a deleted user is left");
    }
}

#[tokio::test]
async fn a_second_consent_to_a_version_changes_only_the_answer() {
    let place = Place::new();
    let user = place.user("u@example.com").await;
    let caller = place.caller("u@example.com").await;
    let consent = json!({
        "consent_channel": "web_login", "email": "U@example.com", "is_agreed": true,
        "policy_version": "1.0.0", "user_id": user.id, "consent_date": "2025-01-17",
    });
    let first = place.people.set_consent(&caller, &body(&consent)).await.unwrap();
    assert_eq!(first.consent_date, "2025-01-17T00:00:00Z");
    assert_eq!(first.created_at, first.updated_at);
    place.clock.advance_s(1);
    let again = json!({"is_agreed": false, "consent_channel": "app", "consent_date": null});
    let again = changed(&body(&consent), again);
    let second = place.people.set_consent(&caller, &again).await.unwrap();
    let updated_at = second.updated_at.clone();
    assert_eq!(second, Consent { is_agreed: false, updated_at, ..first.clone() });
    assert_ne!(second.updated_at, first.updated_at);
    let other = changed(&body(&consent), json!({"policy_version": "1.1.0"}));
    place.people.set_consent(&caller, &other).await.unwrap();
    let all = place.people.consents(&caller, &user.id.to_string()).await.unwrap();
    let versions: Vec<_> = all.iter().map(|consent| consent.policy_version.as_str()).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    let strange = changed(&body(&consent), json!({"email": "x@example.com"}));
    let result = place.people.set_consent(&caller, &strange).await;
    assert_eq!(refused(result), [(r#"["body","email"]"#.to_owned(), "value_error")]);
}

async fn mails(place: &Place, count: usize) -> Vec<String> {
    loop {
        let files = std::fs::read_dir(&place.outbox).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().unwrap() == "eml").collect();
        if files.len() >= count {
            files.sort();
            let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
            return files.into_iter().map(read).collect();
        }
        tokio::task::yield_now().await;
    }
}

/// The token of a mail's link, whatever the encoding did to it.
fn token_of(mail: &str) -> String {
    let text = mail.replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n");
    let link = text.split("token=").nth(1).unwrap();
    let link: String = link.chars().take_while(|c| !c.is_whitespace()).collect();
    percent_encoding::percent_decode_str(&link).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn a_reset_token_is_good_once_and_ends_every_session() {
    let place = Place::new();
    let english =
        changed(&new_user("u@example.com"), json!({"preferences": {"etc": {"language": "en"}}}));
    place.people.register(None, &english, HERE).await.unwrap();
    let access = place.token("u@example.com").await;
    let ask = |email: &str| body(&json!({"email": email}));
    place.people.forgot_password(&ask("nobody@example.com"), HERE).await.unwrap();
    place.people.forgot_password(&ask("U@example.com"), HERE).await.unwrap();
    let mails = mails(&place, 1).await;
    assert!(mails[0].contains("Subject: Reset your password"), "{}", mails[0]);
    assert!(mails[0].contains("https://app.example.com/reset-password"), "{}", mails[0]);
    let token = token_of(&mails[0]);
    let reset = async |password: &str| {
        let given = json!({"token": token, "password": password});
        place.people.reset_password(&body(&given), HERE).await
    };
    let refused = reset("short").await.unwrap_err();
    assert!(matches!(refused, PeopleError::InvalidPassword { at: PasswordUse::Reset, .. }));
    reset("another horse").await.unwrap();
    assert_eq!(reset("third horse!").await.unwrap_err(), PeopleError::BadResetToken);
    assert!(place.people.caller(Some(&access), HERE).await.is_err());
    place.people.login(&form("u@example.com", "another horse"), HERE).await.unwrap();
    let bad = body(&json!({"token": access, "password": PASSWORD}));
    let bad = place.people.reset_password(&bad, HERE).await;
    assert_eq!(bad.unwrap_err(), PeopleError::BadResetToken, "a token of another kind");
}

#[tokio::test]
async fn mailed_tokens_die_with_all_others() {
    let place = Place::new();
    place.user("u@example.com").await;
    let ask = body(&json!({"email": "u@example.com"}));
    place.people.request_verify(&ask, HERE).await.unwrap();
    let token = token_of(&mails(&place, 1).await[0]);
    let caller = place.caller("u@example.com").await;
    let change = json!({"password": "another horse"});
    place.people.update_info(&caller, &body(&change)).await.unwrap();
    let verified = place.people.verify(&body(&json!({"token": token}))).await;
    assert_eq!(verified.unwrap_err(), PeopleError::BadVerifyToken);
}

#[tokio::test]
async fn a_reset_token_is_good_only_for_the_address_it_was_sent_to() {
    let place = Place::new();
    let english = json!({"preferences": {"etc": {"language": "en"}}});
    let english = changed(&new_user("u@example.com"), english);
    place.people.register(None, &english, HERE).await.unwrap();
    let caller = place.caller("u@example.com").await;
    let ask = body(&json!({"email": "u@example.com"}));
    place.people.forgot_password(&ask, HERE).await.unwrap();
    let token = token_of(&mails(&place, 1).await[0]);
    let reset = body(&json!({"token": token, "password": "another horse"}));
    let update = async |email: &str| {
        place.people.update_info(&caller, &body(&json!({"email": email}))).await.unwrap()
    };
    update("v@example.com").await;
    let result = place.people.reset_password(&reset, HERE).await;
    assert_eq!(result.unwrap_err(), PeopleError::BadResetToken);
    update("U@example.com").await;
    place.people.reset_password(&reset, HERE).await.unwrap();
}

#[tokio::test]
async fn a_revocation_outlives_its_token() {
    let place = Place::new();
    // The token ends now for the store, which goes by the clock on the wall.
    place.clock.advance_s(-3_600);
    place.user("u@example.com").await;
    let token = place.token("u@example.com").await;
    let caller = place.people.caller(Some(&token), HERE).await.unwrap();
    place.people.logout(&caller).await.unwrap();
    let after = place.people.caller(Some(&token), HERE).await;
    assert_eq!(after.unwrap_err(), PeopleError::Unauthorized);
}

#[tokio::test]
async fn a_verify_token_verifies_the_address_it_was_sent_to() {
    let place = Place::new();
    place.user("u@example.com").await;
    let caller = place.caller("u@example.com").await;
    let ask = body(&json!({"email": "u@example.com"}));
    place.people.request_verify(&ask, HERE).await.unwrap();
    let token = token_of(&mails(&place, 1).await[0]);
    let verify = async || place.people.verify(&body(&json!({"token": token}))).await;
    let update = async |email: &str| {
        place.people.update_info(&caller, &body(&json!({"email": email}))).await.unwrap()
    };
    update("v@example.com").await;
    assert_eq!(verify().await.unwrap_err(), PeopleError::BadVerifyToken);
    update("U@example.com").await;
    assert!(verify().await.unwrap().is_verified);
    assert_eq!(verify().await.unwrap_err(), PeopleError::AlreadyVerified);
    let bad = place.people.verify(&body(&json!({"token": "x"}))).await;
    assert_eq!(bad.unwrap_err(), PeopleError::BadVerifyToken);
}

#[tokio::test]
async fn mails_are_limited_whether_the_account_exists_or_not() {
    let rate = Rate { burst: 1, period: Duration::from_secs(60) };
    let limits = Limits { mails_per_account: rate, ..Limits::default() };
    let place = Place::with(Settings { limits, ..settings() }, |_| None);
    place.user("u@example.com").await;
    for email in ["u@example.com", "nobody@example.com"] {
        let ask = body(&json!({"email": email}));
        place.people.forgot_password(&ask, HERE).await.unwrap();
        let error = place.people.request_verify(&ask, HERE).await.unwrap_err();
        assert_eq!(error.status(), 429);
    }
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_without_secrets() {
    let place = Place::new();
    let admin = place.admin("admin@example.com").await;
    let user = place.user("u@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let change = json!({"id": user.id, "budget": 0.1, "password": "another horse"});
    place.people.update_info(&boss, &body(&change)).await.unwrap();
    place.people.delete_user(&boss, &body(&json!({"id": user.id}))).await.unwrap();
    let logs = place.people.logs(&boss, &[]).await.unwrap();
    let types: Vec<&str> = logs.iter().map(|entry| entry.event_type.as_str()).collect();
    assert_eq!(types, ["delete", "update", "login", "create", "create"]);
    let update = serde_json::to_value(&logs[1]).unwrap();
    assert_eq!(update["user_id"], json!(admin.id));
    assert_eq!(update["affected_resource"], format!("user:{}", user.id));
    assert_eq!(logs[1].old_value["budget"].get(), "0");
    assert_eq!(logs[1].new_value["budget"].get(), "0.1");
    assert_eq!(logs[1].new_value.len(), 1, "only what differs");
    let text = serde_json::to_string(&logs).unwrap();
    assert!(!text.contains("horse") && !text.contains("argon2"), "{text}");
    let query = [("event_types".to_owned(), "update".to_owned())];
    assert_eq!(place.people.logs(&boss, &query).await.unwrap().len(), 1);
    let ids: std::collections::BTreeSet<i64> = logs.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), logs.len());
    assert!(ids.iter().all(|id| *id > 0));
}

#[tokio::test]
async fn where_a_user_is_notified_is_in_no_audit_entry() {
    let place = Place::new();
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let to = |data: Value| json!({"preferences": {"notification_methods_data": data}});
    let first = to(json!({"slack": "https://hooks.example.com/s3cret-1"}));
    let user = changed(&new_user("u@example.com"), first);
    let user = place.people.register(None, &user, HERE).await.unwrap();
    let second = to(json!({"slack": "https://hooks.example.com/s3cret-2", "own": ["s3cret-3"]}));
    let second = changed(&body(&second), json!({"id": user.id}));
    let shown = place.people.update_info(&boss, &second).await.unwrap();
    assert!(shown.preferences["notification_methods_data"]["slack"] != "***");
    place.people.delete_user(&boss, &body(&json!({"id": user.id}))).await.unwrap();
    let logs = place.people.logs(&boss, &[]).await.unwrap();
    assert!(!serde_json::to_string(&logs).unwrap().contains("s3cret"));
    let preferences = |of: &crate::audit::Values| -> Value {
        serde_json::from_str(of["preferences"].get()).unwrap()
    };
    let (old, new) = (preferences(&logs[1].old_value), preferences(&logs[1].new_value));
    assert_eq!(old["notification_methods_data"], json!({"slack": "***", "sms": ""}));
    let expected = json!({"slack": "***", "sms": "", "own": "***"});
    assert_eq!(new["notification_methods_data"], expected);
    assert_eq!(new["etc"]["language"], "ko", "what is no secret is shown");
    assert_eq!(preferences(&logs[0].old_value)["notification_methods_data"], expected);
}

#[tokio::test]
async fn users_are_listed_by_id_and_role() {
    let place = Place::new();
    let admin = place.admin("admin@example.com").await;
    place.clock.advance_s(1);
    let user = place.user("u@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let list = async |name: &str, value: &str| {
        let query = [(name.to_owned(), value.to_owned())];
        place.people.users(&boss, &query).await
    };
    assert_eq!(list("other", "x").await.unwrap(), [admin.clone(), user.clone()]);
    assert_eq!(list("role", "admin").await.unwrap(), [admin]);
    assert_eq!(list("id", &user.id.to_string()).await.unwrap(), [user]);
    assert!(list("id", &Uuid::from_u128(1).to_string()).await.unwrap().is_empty());
    let path = |name: &str| format!(r#"["query","{name}"]"#);
    assert_eq!(refused(list("id", "7").await), [(path("id"), "uuid_parsing")]);
    assert_eq!(refused(list("role", "boss").await), [(path("role"), "enum")]);
}

#[tokio::test]
async fn google_sign_in_must_be_configured() {
    let place = Place::new();
    let error = place.people.google(&body(&json!({"id_token": "x"})), HERE).await.unwrap_err();
    assert_eq!(error.status(), 501);
}

#[tokio::test]
async fn projects_and_keys_are_in_the_audit_log_too() {
    let place = Place::new();
    place.admin("admin@example.com").await;
    let boss = place.caller("admin@example.com").await;
    let signer = Arc::new(crate::testing::signer());
    let verifier = Arc::new(crate::Verifier::new([signer.public_key().clone()]));
    let store = Arc::new(crate::testing::MemoryStore::default());
    let accounts = crate::Accounts::new(store, signer, verifier).with_audit(place.core.audit());
    accounts.create_project("shop", "Shop").await.unwrap();
    assert!(accounts.create_project("shop", "Shop").await.is_err());
    let key = accounts.create_key("shop", &crate::Scope::ALL, None).await.unwrap();
    for _ in 0..2 {
        accounts.revoke_key(key.key.id).await.unwrap();
    }
    let logs = place.people.logs(&boss, &[]).await.unwrap();
    let revoked = accounts.keys(None).await.unwrap()[0].revoked_us.unwrap();
    assert_eq!(logs[0].old_value["revoked_us"].get(), "null");
    assert_eq!(logs[0].new_value["revoked_us"].get(), revoked.to_string());
    assert_eq!(logs[0].new_value.len(), 1, "only what differs");
    let resources: Vec<&str> =
        logs.iter().take(3).map(|entry| entry.affected_resource.as_str()).collect();
    let of_key = format!("key:{}", key.key.id);
    assert_eq!(resources, [&of_key, &of_key, "project:shop"]);
    assert_eq!(logs[2].description, "project made by the operator");
    assert!(!serde_json::to_string(&logs).unwrap().contains(&key.token));
}
