use std::sync::Arc;
use std::time::Duration;

use millrace_store::AuditQuery;
use serde_json::{Value, json};

use super::*;
use crate::testing::{HERE, Place, changed, form, new_user, settings};
use crate::{Limits, PeopleError, Rate, Settings, SignedIn};

const SECRET: &[u8] = br#"{"secret": "the bootstrap secret"}"#;

fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn new_audit_user(email: &str) -> Vec<u8> {
    body(&json!({
        "firstName": "", "lastName": "L", "email": email, "phone": "", "password": "Passw0rd!",
    }))
}

fn credentials(email: &str, password: &str) -> Vec<u8> {
    body(&json!({"email": email, "password": password}))
}

async fn first(place: &Place) -> BackOfficeCaller {
    place.office.bootstrap(SECRET, HERE).await.unwrap();
    caller(place, "first@office.example").await
}

async fn sign_in(place: &Place, email: &str) -> SignedIn {
    place.office.login(&credentials(email, "Passw0rd!"), HERE).await.unwrap()
}

async fn caller(place: &Place, email: &str) -> BackOfficeCaller {
    let SignedIn { access_token, session_token, .. } = sign_in(place, email).await;
    place.office.caller(Some(&access_token), Some(&session_token), HERE).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_bootstraps_at_once_one_makes_the_first_person() {
    let place = Place::new();
    let wrong = place.office.bootstrap(br#"{"secret": "guess"}"#, HERE).await;
    assert_eq!(wrong.unwrap_err(), BackOfficeError::BadSecret);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let office = Arc::clone(&place.office);
            tokio::spawn(async move { office.bootstrap(SECRET, HERE).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(user) => made.push(user),
            Err(error) => assert_eq!(error, BackOfficeError::AlreadyBootstrapped),
        }
    }
    assert_eq!(made.len(), 1);
    let shown = serde_json::to_value(&made[0]).unwrap();
    let expected = json!({
        "id": made[0].id, "firstName": "First", "lastName": "Person", "phone": "+82 2 000 0000",
        "email": "First@office.example", "lang": "en",
    });
    assert_eq!(shown, expected);
    let wrong = place.office.bootstrap(br#"{"secret": "guess"}"#, HERE).await;
    assert_eq!(wrong.unwrap_err(), BackOfficeError::BadSecret);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_unique_in_two_processes() {
    let place = Place::new();
    let offices = [Arc::clone(&place.office), Arc::new(BackOffice::new(place.core.clone(), None))];
    let caller = first(&place).await;
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let (office, caller) = (Arc::clone(&offices[n % 2]), caller.clone());
            let new = new_audit_user(&format!("a{n}@b.co"));
            tokio::spawn(async move { office.create_audit_user(&caller, &new).await.unwrap().id })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    assert!(ids.iter().all(|id| *id > 0));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 60);
}

#[tokio::test]
async fn an_audit_user_is_made_changed_and_listed() {
    let place = Place::new();
    let caller = first(&place).await;
    let office = &place.office;
    let made = office.create_audit_user(&caller, &new_audit_user("A@b.co")).await.unwrap();
    assert_eq!((made.lang, made.email.as_str()), (None, "A@b.co"));
    let again = office.create_audit_user(&caller, &new_audit_user("a@B.co")).await;
    assert_eq!(again.unwrap_err(), BackOfficeError::EmailTaken);

    place.clock.advance_s(1);
    let id = made.id.to_string();
    let change = json!({"lang": "fr", "password": "ignored", "phone": null, "lastName": "M"});
    let other = office.update_audit_user(&caller, &id, &body(&change)).await.unwrap();
    let expected = AuditUser { lang: Some(Lang::Fr), last_name: "M".to_owned(), ..made.clone() };
    assert_eq!(other, expected);
    let refused = office.update_audit_user(&caller, &id, br#"{"lang": {"fr": null}}"#).await;
    assert_eq!(refused.unwrap_err().status(), 400);
    let back = office.update_audit_user(&caller, &id, br#"{"lang": null}"#).await.unwrap();
    assert_eq!(back.lang, None);
    let taken = json!({"email": "first@office.example"});
    let taken = office.update_audit_user(&caller, &id, &body(&taken)).await;
    assert_eq!(taken.unwrap_err(), BackOfficeError::EmailTaken);
    for (id, error) in [("1", BackOfficeError::NotFound), ("999", BackOfficeError::NotFound)] {
        assert_eq!(office.update_audit_user(&caller, id, b"{}").await.unwrap_err(), error);
    }
    for id in ["x", "9007199254740992", ""] {
        let error = office.update_audit_user(&caller, id, b"{}").await.unwrap_err();
        assert_eq!(error.fields()[0].field, "userId");
    }

    let page = office.list(&caller, &[]).await.unwrap();
    let shown = serde_json::to_value(&page).unwrap();
    assert_eq!(shown["totalCount"], 2);
    assert_eq!(shown["pagination"], json!({"page": 1, "pageSize": 50}));
    assert_eq!((&shown["data"][0]["type"], &shown["data"][1]["type"]), (&json!(1), &json!(2)));
    let row = shown["data"][1].as_object().unwrap();
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    for name in ["id", "key", "firstName", "activatedAt", "updatedAt", "createdAt", "deletedAt"] {
        assert!(names.contains(&name), "{name}");
    }
    assert_ne!(row["updatedAt"], row["createdAt"]);
}

#[tokio::test]
async fn pages_are_within_bounds() {
    let place = Place::new();
    let caller = first(&place).await;
    for n in 0..3 {
        let new = new_audit_user(&format!("a{n}@b.co"));
        place.office.create_audit_user(&caller, &new).await.unwrap();
    }
    let list = async |page: &str, size: &str| {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let query = [pair("page", page), pair("pageSize", size)];
        place.office.list(&caller, &query).await.map(|page| page.data.len())
    };
    assert_eq!(list("1", "3").await, Ok(3));
    assert_eq!(list("2", "3").await, Ok(1));
    assert_eq!(list("4294967295", "200").await, Ok(0));
    for (page, size) in [("0", "1"), ("1", "0"), ("1", "201"), ("-1", "x"), ("4294967296", "1")] {
        assert_eq!(list(page, size).await.unwrap_err().status(), 400, "{page} {size}");
    }
}

#[tokio::test]
async fn a_body_is_refused_field_by_field() {
    let place = Place::new();
    let caller = first(&place).await;
    let given = json!({
        "firstName": "x".repeat(251), "email": "no", "phone": "1".repeat(21), "password": "weak",
        "lang": "kr",
    });
    let error = place.office.create_audit_user(&caller, &body(&given)).await.unwrap_err();
    let fields: Vec<&str> = error.fields().iter().map(|field| field.field.as_str()).collect();
    assert_eq!(fields, ["firstName", "lastName", "email", "phone", "password", "lang"]);
    let error = place.office.create_audit_user(&caller, b"[").await.unwrap_err();
    assert_eq!(error.fields()[0].field, "body");
}

#[tokio::test]
async fn both_tokens_must_be_good_and_of_one_person() {
    let place = Place::new();
    let caller = first(&place).await;
    place.office.create_audit_user(&caller, &new_audit_user("a@b.co")).await.unwrap();
    let ours = sign_in(&place, "first@office.example").await;
    let later = sign_in(&place, "first@office.example").await;
    let other = sign_in(&place, "a@b.co").await;
    assert_eq!(ours.expires_in, "3600");
    let check = async |access: Option<&str>, session: Option<&str>| {
        place.office.caller(access, session, HERE).await.is_ok()
    };
    assert!(check(Some(&ours.access_token), Some(&ours.session_token)).await);
    assert!(check(Some(&ours.access_token), Some(&later.session_token)).await);
    assert!(!check(Some(&ours.access_token), Some(&other.session_token)).await);
    assert!(!check(Some(&ours.access_token), None).await);
    assert!(!check(None, Some(&ours.session_token)).await);
    assert!(!check(Some(&ours.session_token), Some(&ours.session_token)).await);
    assert!(!check(Some(&ours.refresh_token), Some(&ours.session_token)).await);
    assert!(!check(Some(&ours.access_token), Some(&ours.access_token)).await);
    place.clock.advance_s(3_600);
    assert!(!check(Some(&ours.access_token), Some(&ours.session_token)).await);
}

#[tokio::test]
async fn a_session_is_continued_until_it_ends() {
    let place = Place::new();
    first(&place).await;
    let signed_in = sign_in(&place, "FIRST@office.example").await;
    let given = body(&json!({"refreshToken": signed_in.refresh_token}));
    place.clock.advance_s(29 * 86_400);
    for _ in 0..2 {
        let Refreshed { access_token, session_token } = place.office.refresh(&given).await.unwrap();
        let caller = place.office.caller(Some(&access_token), Some(&session_token), HERE).await;
        assert!(caller.is_ok());
    }
    let wrong = body(&json!({"refreshToken": signed_in.access_token}));
    let wrong = place.office.refresh(&wrong).await;
    assert_eq!(wrong.unwrap_err(), BackOfficeError::BadRefreshToken);
    place.clock.advance_s(86_400);
    let ended = place.office.refresh(&given).await;
    assert_eq!(ended.unwrap_err(), BackOfficeError::BadRefreshToken);
}

#[tokio::test]
async fn a_session_dies_with_a_password_change_and_deactivation() {
    let place = Place::new();
    let by = first(&place).await;
    place.office.create_audit_user(&by, &new_audit_user("a@b.co")).await.unwrap();
    let before = sign_in(&place, "a@b.co").await;
    place.office.set_password_as_operator("A@b.co", "0ther!Password").await.unwrap();
    let is_good = async |of: &SignedIn| {
        let refresh = body(&json!({"refreshToken": of.refresh_token}));
        let tokens = (Some(of.access_token.as_str()), Some(of.session_token.as_str()));
        let is_caller = place.office.caller(tokens.0, tokens.1, HERE).await.is_ok();
        assert_eq!(place.office.refresh(&refresh).await.is_ok(), is_caller);
        is_caller
    };
    assert!(!is_good(&before).await);
    let login = async || place.office.login(&credentials("a@b.co", "0ther!Password"), HERE).await;
    let after = login().await.unwrap();
    assert!(is_good(&after).await);
    place.office.deactivate_as_operator("a@b.co").await.unwrap();
    assert!(!is_good(&after).await);
    assert_eq!(login().await.unwrap_err(), BackOfficeError::BadCredentials);
}

#[tokio::test]
async fn who_is_deactivated_while_a_thread_is_waited_for_makes_nobody() {
    let place = Place::new();
    let by = first(&place).await;
    let office = Arc::clone(&place.office);
    let call = async move { office.create_audit_user(&by, &new_audit_user("a@b.co")).await };
    let deactivated = async {
        place.office.deactivate_as_operator("first@office.example").await.unwrap();
    };
    let result = place.meanwhile(call, deactivated).await;
    assert_eq!(result.unwrap_err(), BackOfficeError::Unauthorized);
    assert_eq!(place.office.all_people().await.unwrap().len(), 1);
}

#[tokio::test]
async fn right_logins_and_those_who_are_made_are_limited() {
    let rate = |burst| Rate { burst, period: Duration::from_secs(60) };
    let limits =
        Limits { hashes_per_account: rate(2), hashes_per_address: rate(4), ..Limits::default() };
    let place = Place::with(Settings { limits, ..settings() }, |_| None);
    let by = first(&place).await;
    sign_in(&place, "first@office.example").await;
    let login = place.office.login(&credentials("FIRST@office.example", "Passw0rd!"), HERE).await;
    assert_eq!(login.unwrap_err(), BackOfficeError::TooManyRequests(Duration::from_secs(60)));
    for status in [Ok(()), Ok(()), Err(429)] {
        let new = new_audit_user(&format!("{}@b.co", fastrand::u64(..)));
        let made = place.office.create_audit_user(&by, &new).await;
        assert_eq!(made.map(drop).map_err(|error| error.status()), status);
    }
}

#[tokio::test]
async fn the_entry_of_a_deactivation_shows_when_it_was() {
    let place = Place::new();
    first(&place).await;
    place.clock.advance_s(1);
    for _ in 0..2 {
        place.office.deactivate_as_operator("first@office.example").await.unwrap();
    }
    let deleted_at = place.office.all_people().await.unwrap()[0].deleted_at.clone();
    let query = AuditQuery { limit: 10, ..AuditQuery::default() };
    let entries = place.core.audit.read(query).await.unwrap();
    let entries: Vec<_> = entries.iter().filter(|entry| entry.event_type == "update").collect();
    assert_eq!(entries.len(), 1, "the second changes nothing");
    assert_eq!(entries[0].old_value["deletedAt"].get(), "null");
    assert_eq!(entries[0].new_value["deletedAt"].get(), json!(deleted_at).to_string());
}

#[tokio::test]
async fn audit_users_sign_in_but_may_do_nothing() {
    let place = Place::new();
    let by = first(&place).await;
    place.office.create_audit_user(&by, &new_audit_user("a@b.co")).await.unwrap();
    let audit = caller(&place, "a@b.co").await;
    let forbidden = BackOfficeError::Forbidden;
    let office = &place.office;
    let new = new_audit_user("c@d.co");
    assert_eq!(office.create_audit_user(&audit, &new).await.unwrap_err(), forbidden);
    assert_eq!(office.update_audit_user(&audit, "1", b"{}").await.unwrap_err(), forbidden);
    assert_eq!(office.list(&audit, &[]).await.unwrap_err(), forbidden);
}

#[tokio::test]
async fn users_and_the_back_office_do_not_mix() {
    let place = Place::new();
    let by = first(&place).await;
    place.office.create_audit_user(&by, &new_audit_user("a@b.co")).await.unwrap();
    let taken = place.people.register(None, &new_user("A@b.co"), HERE).await;
    assert_eq!(taken.unwrap_err(), PeopleError::RegisterEmailTaken);
    let login = place.people.login(&form("a@b.co", "Passw0rd!"), HERE).await;
    assert_eq!(login.unwrap_err(), PeopleError::BadCredentials);
    let user = changed(&new_user("u@b.co"), json!({"password": "Passw0rd!"}));
    place.people.register(None, &user, HERE).await.unwrap();
    let login = place.office.login(&credentials("u@b.co", "Passw0rd!"), HERE).await;
    assert_eq!(login.unwrap_err(), BackOfficeError::BadCredentials);
    let taken = place.office.create_audit_user(&by, &new_audit_user("U@b.co")).await;
    assert_eq!(taken.unwrap_err(), BackOfficeError::EmailTaken);
    assert_eq!(place.people.all_users().await.unwrap().len(), 1);
    let tokens = sign_in(&place, "a@b.co").await;
    for token in [&tokens.access_token, &tokens.session_token, &tokens.refresh_token] {
        assert!(place.people.caller(Some(token), HERE).await.is_err());
    }
}

#[tokio::test]
async fn answers_and_settings_show_no_secret_in_debug() {
    let place = Place::new();
    first(&place).await;
    let signed_in = sign_in(&place, "first@office.example").await;
    let shown = format!("{signed_in:?} {:?} {:?}", crate::testing::bootstrap(), place.office);
    assert!(!shown.contains("eyJ") && !shown.contains("secret\""), "{shown}");
    assert!(!shown.contains("Passw0rd"), "{shown}");
}
