//! The accounts API: what each call answers, and how it refuses.

use std::time::Duration;

use millrace_accounts::{Limits, Rate};
use millrace_ingest::Config;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, config};
use crate::people::{ADMIN, PASSWORD, SignIn, assert_refused, new_user, signed};

/// A refused field.
fn field(place: &str, name: &str, kind: &str, msg: &str) -> Value {
    json!([{"loc": [place, name], "msg": msg, "type": kind}])
}

fn with(mut body: Value, members: Value) -> Value {
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    body
}

#[tokio::test]
async fn a_registration_shows_the_user_and_grants_nothing() {
    let fixture = Fixture::with_people().await;
    let greedy = with(
        new_user("Kim@example.com"),
        json!({
            "budget": 10, "credit": 5, "is_superuser": true, "is_verified": true,
            "is_active": false, "permissions": {"admin": ["budget"]}, "unknown": 1,
        }),
    );
    let answer = fixture.ask("POST /auth/register", "", &greedy).await;
    assert_eq!((answer.status, &*answer.headers["content-type"]), (201, "application/json"));
    let mut user = answer.json();
    assert!(Uuid::try_parse(user["id"].take().as_str().unwrap()).is_ok());
    let expected = json!({
        "id": null, "email": "Kim@example.com", "name": "Somebody", "role": "advertiser",
        "budget": 0, "credit": 0, "campaign_count": 0, "creative_count": 0, "placement_count": 0,
        "is_active": true, "is_superuser": false, "is_verified": false, "permissions": {},
        "preferences": {
            "etc": {"language": "ko"},
            "notification_methods": {"email": true, "slack": false, "sms": false},
            "notification_methods_data": {"slack": "", "sms": ""},
            "notifications": {
                "attribute_deleted": true, "campaign_finished": true, "publish_approval": true,
                "publish_request": true,
            },
        },
    });
    assert_eq!(user, expected);

    let refused = |members: Value| with(new_user("lee@example.com"), members);
    let code = "REGISTER_INVALID_PASSWORD";
    let short = "Password should have at least 8 characters";
    for (body, status, detail) in [
        (new_user("kim@EXAMPLE.com"), 400, json!("REGISTER_USER_ALREADY_EXISTS")),
        (refused(json!({"role": "admin"})), 403, json!("Forbidden")),
        (refused(json!({"password": "short"})), 400, json!({"code": code, "reason": short})),
        (
            refused(json!({"role": "owner"})),
            422,
            field("body", "role", "enum", "Input should be 'advertiser', 'retailer' or 'admin'"),
        ),
        (refused(json!({"name": null})), 422, field("body", "name", "missing", "Field required")),
    ] {
        assert_refused(&fixture.ask("POST /auth/register", "", &body).await, status, &detail);
    }
    let answer = fixture.ask("POST /auth/register", "", &Value::Null).await;
    let missing = json!([{"loc": ["body"], "msg": "Field required", "type": "missing"}]);
    assert_refused(&answer, 422, &missing);
    let answer = fixture.request("POST", "/auth/register", "", b"{\"email\": x}").await;
    let invalid =
        json!([{"loc": ["body", 11], "msg": "JSON decode error", "type": "json_invalid"}]);
    assert_refused(&answer, 422, &invalid);
}

#[tokio::test]
async fn an_admins_token_lets_a_registration_grant() {
    let fixture = Fixture::with_people().await;
    let admin = fixture.token(ADMIN).await;
    let body = with(
        new_user("retail@example.com"),
        json!({"role": "retailer", "is_verified": true, "permissions": {"admin": ["budget"]}}),
    );
    let body = body.to_string().replacen('{', "{\"budget\": 0.30, \"credit\": 1e3,", 1);
    let answer = fixture.request("POST", "/auth/register", &signed(&admin), body.as_bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains(r#""budget":0.3,"credit":1000,"#), "{text}");
    let user = answer.json();
    assert_eq!((&user["is_verified"], &user["role"]), (&json!(true), &json!("retailer")));
    assert_eq!(user["permissions"], json!({"admin": ["budget"]}));

    // Whoever is no admin registers as anybody.
    let other = fixture.token("retail@example.com").await;
    for token in ["nonsense", &other] {
        let email = format!("{}@example.com", token.len());
        let body = with(new_user(&email), json!({"is_verified": true}));
        let answer = fixture.ask("POST /auth/register", token, &body).await;
        assert_eq!((answer.status, &answer.json()["is_verified"]), (201, &json!(false)));
    }
}

#[tokio::test]
async fn who_signs_in_by_form_is_known_until_they_sign_out() {
    let fixture = Fixture::with_people().await;
    let user = fixture.user("kim@example.com").await;
    let answer = fixture.login("KIM@example.com", PASSWORD, "").await;
    assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "application/json"));
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert_eq!(body["token_type"], "bearer");
    let token = body["access_token"].as_str().unwrap();
    let me = fixture.ask("GET /users/me", token, &Value::Null).await;
    assert_eq!((me.status, me.json()), (200, user));

    let answer = fixture.ask("POST /auth/jwt/logout", token, &Value::Null).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.headers.get("content-type"), None);
    for call in ["GET /users/me", "POST /auth/jwt/logout"] {
        let answer = fixture.ask(call, token, &Value::Null).await;
        assert_refused(&answer, 401, &json!("Unauthorized"));
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }

    let endless = "k".repeat(100_000);
    for (email, password) in
        [("kim@example.com", "wrong"), ("nobody@example.com", PASSWORD), (&endless, &endless)]
    {
        let answer = fixture.login(email, password, "").await;
        assert_refused(&answer, 400, &json!("LOGIN_BAD_CREDENTIALS"));
    }
    let answer = fixture.request("POST", "/auth/jwt/login", "", b"username=kim").await;
    let missing = field("body", "password", "missing", "Field required");
    assert_refused(&answer, 422, &missing);
}

#[tokio::test]
async fn an_unverified_user_is_refused_where_verification_is_demanded() {
    let sign_in = SignIn { must_verify: true, ..SignIn::default() };
    let fixture = Fixture::of_people(config(), sign_in).await;
    fixture.user("kim@example.com").await;
    let answer = fixture.login("kim@example.com", PASSWORD, "").await;
    assert_refused(&answer, 400, &json!("LOGIN_USER_NOT_VERIFIED"));
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_mail() {
    let fixture = Fixture::with_people().await;
    let english = json!({"preferences": {"etc": {"language": "en"}}});
    let kim = with(new_user("kim@example.com"), english);
    assert_eq!(fixture.ask("POST /auth/register", "", &kim).await.status, 201);
    let old = fixture.token("kim@example.com").await;
    for email in ["nobody@example.com", "Kim@example.com"] {
        let answer = fixture.ask("POST /auth/forgot-password", "", &json!({"email": email})).await;
        assert_eq!((answer.status, &*answer.body), (202, &b"null"[..]));
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let token = fixture.mailed_token(1).await;
    let reset = |password: &str| json!({"token": token, "password": password});
    let call = "POST /auth/reset-password";
    let answer = fixture.ask(call, "", &reset("short")).await;
    let reason = "Password should have at least 8 characters";
    let detail = json!({"code": "RESET_PASSWORD_INVALID_PASSWORD", "reason": reason});
    assert_refused(&answer, 400, &detail);
    let answer = fixture.ask(call, "", &reset("another horse")).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"null"[..]));
    let answer = fixture.ask(call, "", &reset("a third horse")).await;
    assert_refused(&answer, 400, &json!("RESET_PASSWORD_BAD_TOKEN"));
    let answer = fixture.ask("GET /users/me", &old, &Value::Null).await;
    assert_refused(&answer, 401, &json!("Unauthorized"));
    assert_eq!(fixture.login("kim@example.com", "another horse", "").await.status, 200);

    let answer = fixture.ask("POST /auth/forgot-password", "", &json!({})).await;
    assert_refused(&answer, 422, &field("body", "email", "missing", "Field required"));
}

#[tokio::test]
async fn an_address_is_verified_by_mail() {
    let fixture = Fixture::with_people().await;
    fixture.user("kim@example.com").await;
    for email in ["nobody@example.com", "kim@example.com"] {
        let body = json!({"email": email});
        let answer = fixture.ask("POST /auth/request-verify-token", "", &body).await;
        assert_eq!((answer.status, &*answer.body), (202, &b"null"[..]));
    }
    let token = json!({"token": fixture.mailed_token(1).await});
    let answer = fixture.ask("POST /auth/verify", "", &token).await;
    assert_eq!((answer.status, &answer.json()["is_verified"]), (200, &json!(true)));
    let answer = fixture.ask("POST /auth/verify", "", &token).await;
    assert_refused(&answer, 400, &json!("VERIFY_USER_ALREADY_VERIFIED"));
    let answer = fixture.ask("POST /auth/verify", "", &json!({"token": "x"})).await;
    assert_refused(&answer, 400, &json!("VERIFY_USER_BAD_TOKEN"));
}

#[tokio::test]
async fn a_consent_is_kept_for_its_policy_version() {
    let fixture = Fixture::with_people().await;
    let user = fixture.user("kim@example.com").await;
    let token = fixture.token("kim@example.com").await;
    let id = user["id"].as_str().unwrap();
    let consent = json!({
        "consent_channel": "web_login", "email": "kim@example.com", "is_agreed": true,
        "policy_version": "1.0.0", "user_id": id, "consent_date": "2025-01-17T05:39:22Z",
        "created_at": "2025-01-17T05:39:22Z", "updated_at": "2025-01-17T05:39:22Z",
    });
    let answer = fixture.ask("POST /privacy/consents", &token, &consent).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut expected = consent.clone();
    expected.as_object_mut().unwrap().remove("email");
    assert_eq!(answer.json(), expected);

    let withdrawn = with(consent.clone(), json!({"is_agreed": false, "consent_channel": "app"}));
    assert_eq!(fixture.ask("POST /privacy/consents", &token, &withdrawn).await.status, 200);
    expected["is_agreed"] = false.into();
    let of_user = format!("GET /privacy/consents/{id}");
    let admin = fixture.token(ADMIN).await;
    for token in [&token, &admin] {
        let answer = fixture.ask(&of_user, token, &Value::Null).await;
        assert_eq!((answer.status, answer.json()), (200, json!([expected])));
    }

    let call = "POST /privacy/consents";
    let other = with(consent.clone(), json!({"email": "lee@example.com"}));
    let answer = fixture.ask(call, &token, &other).await;
    let msg = "Value error, it must be the address of the user";
    assert_refused(&answer, 422, &field("body", "email", "value_error", msg));
    fixture.user("lee@example.com").await;
    let stranger = fixture.token("lee@example.com").await;
    let forbidden = json!("Forbidden");
    assert_refused(&fixture.ask(call, &stranger, &consent).await, 403, &forbidden);
    assert_refused(&fixture.ask(&of_user, &stranger, &Value::Null).await, 403, &forbidden);
    let nobody = format!("GET /privacy/consents/{}", Uuid::nil());
    assert_refused(&fixture.ask(&nobody, &stranger, &Value::Null).await, 403, &forbidden);
    assert_refused(&fixture.ask(&nobody, &admin, &Value::Null).await, 404, &json!("Not Found"));
    for id in ["7", "%FF"] {
        let call = format!("GET /privacy/consents/{id}");
        let answer = fixture.ask(&call, &admin, &Value::Null).await;
        let msg = "Input should be a valid UUID";
        assert_refused(&answer, 422, &field("path", "user_id", "uuid_parsing", msg));
    }
}

#[tokio::test]
async fn budgets_are_changed_by_admins_and_by_retailers_with_the_right() {
    let fixture = Fixture::with_people().await;
    let id = fixture.user("kim@example.com").await["id"].clone();
    let admin = fixture.token(ADMIN).await;
    let retailer = with(
        new_user("retail@example.com"),
        json!({"role": "retailer", "permissions": {"admin": ["budget"]}}),
    );
    let retailer = fixture.ask("POST /auth/register", &admin, &retailer).await.json();
    let (own, others) = (fixture.token("kim@example.com").await, "retail@example.com");
    let others = fixture.token(others).await;

    let exact = format!(r#"{{"id": {id}, "budget": 123456789012.654321, "name": "no name"}}"#);
    for token in [&admin, &others] {
        let headers = signed(token);
        let answer = fixture.request("PATCH", "/user/budget", &headers, exact.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["name"]), (200, &json!("Somebody")));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains(r#""budget":123456789012.654321,"credit":0,"#), "{text}");
    }
    let call = "PATCH /user/budget";
    let body = json!({"id": id, "credit": 1});
    assert_refused(&fixture.ask(call, &own, &body).await, 403, &json!("Forbidden"));
    let body = json!({"id": retailer["id"], "credit": 1});
    assert_refused(&fixture.ask(call, &others, &body).await, 403, &json!("Forbidden"));
    let body = json!({"id": Uuid::nil(), "credit": 1});
    assert_refused(&fixture.ask(call, &admin, &body).await, 404, &json!("Not Found"));
    let body = json!({"id": id, "credit": -1});
    let msg = "Input should be greater than or equal to 0";
    let below = field("body", "credit", "greater_than_equal", msg);
    assert_refused(&fixture.ask(call, &admin, &body).await, 422, &below);
    let missing = field("body", "id", "missing", "Field required");
    assert_refused(&fixture.ask(call, &admin, &json!({})).await, 422, &missing);
}

#[tokio::test]
async fn users_change_what_is_theirs_and_admins_everything() {
    let fixture = Fixture::with_people().await;
    let user = fixture.user("kim@example.com").await;
    fixture.user("lee@example.com").await;
    let (own, admin) = (fixture.token("kim@example.com").await, fixture.token(ADMIN).await);
    let call = "PATCH /user/info";
    let whole = with(user.clone(), json!({"name": "Kim Min", "role": "admin"}));
    let expected = with(user.clone(), json!({"name": "Kim Min"}));
    let answer = fixture.ask(call, &own, &whole).await;
    assert_eq!((answer.status, answer.json()), (200, expected.clone()));
    let english = json!({"preferences": {"etc": {"language": "en"}}});
    let answer = fixture.ask(call, &own, &english).await;
    assert_eq!(answer.json()["preferences"]["etc"], json!({"language": "en"}));
    let body = json!({"id": user["id"], "is_verified": true, "campaign_count": 3});
    assert_refused(&fixture.ask(call, &own, &body).await, 403, &json!("Forbidden"));
    let answer = fixture.ask(call, &admin, &body).await.json();
    assert_eq!((&answer["is_verified"], &answer["campaign_count"]), (&json!(true), &json!(3)));

    let short = "Password should have at least 8 characters";
    for (members, status, detail) in [
        (json!({"email": "LEE@example.com"}), 400, json!("UPDATE_USER_EMAIL_ALREADY_EXISTS")),
        (
            json!({"password": "short"}),
            400,
            json!({"code": "UPDATE_USER_INVALID_PASSWORD", "reason": short}),
        ),
        (
            json!({"name": "Kim"}),
            422,
            field("body", "name", "string_too_short", "String should have at least 4 characters"),
        ),
        (json!({"id": Uuid::nil()}), 403, json!("Forbidden")),
    ] {
        assert_refused(&fixture.ask(call, &own, &members).await, status, &detail);
    }
    let nobody = json!({"id": Uuid::nil()});
    assert_refused(&fixture.ask(call, &admin, &nobody).await, 404, &json!("Not Found"));
    let answer = fixture.ask(call, &own, &json!({"email": "min@example.com"})).await.json();
    assert_eq!(
        (&answer["email"], &answer["is_verified"]),
        (&json!("min@example.com"), &json!(false))
    );
}

#[tokio::test]
async fn admins_list_and_delete_users() {
    let fixture = Fixture::with_people().await;
    let user = fixture.user("kim@example.com").await;
    let (own, admin) = (fixture.token("kim@example.com").await, fixture.token(ADMIN).await);
    let me = fixture.ask("GET /users/me", &admin, &Value::Null).await.json();
    let id = user["id"].as_str().unwrap();
    for (query, expected) in [
        (String::new(), json!([me, user])),
        ("?role=advertiser".to_owned(), json!([user])),
        ("?r%6Fle=retailer&other=1".to_owned(), json!([])),
        (format!("?id={id}&role=advertiser"), json!([user])),
        (format!("?id={id}&role=admin"), json!([])),
    ] {
        let answer = fixture.ask(&format!("GET /users{query}"), &admin, &Value::Null).await;
        assert_eq!((answer.status, answer.json()), (200, expected), "{query}");
    }
    let answer = fixture.ask("GET /users?id=7", &admin, &Value::Null).await;
    let msg = "Input should be a valid UUID";
    assert_refused(&answer, 422, &field("query", "id", "uuid_parsing", msg));
    let forbidden = json!("Forbidden");
    assert_refused(&fixture.ask("GET /users", &own, &Value::Null).await, 403, &forbidden);

    let call = "DELETE /users";
    assert_refused(&fixture.ask(call, &own, &json!({"id": id})).await, 403, &forbidden);
    let answer = fixture.ask(call, &admin, &json!({"id": me["id"]})).await;
    assert_refused(
        &answer,
        409,
        &json!("The last admin cannot be deleted, deactivated or demoted"),
    );
    let answer = fixture.ask(call, &admin, &json!({"id": id})).await;
    assert_eq!((answer.status, answer.json()), (200, user.clone()));
    let answer = fixture.ask(call, &admin, &json!({"id": id})).await;
    assert_refused(&answer, 404, &json!("Not Found"));
    let missing = field("body", "id", "missing", "Field required");
    assert_refused(&fixture.ask(call, &admin, &json!({})).await, 422, &missing);
    let answer = fixture.ask("GET /users/me", &own, &Value::Null).await;
    assert_refused(&answer, 401, &json!("Unauthorized"));
    assert_ne!(fixture.user("kim@example.com").await["id"], user["id"]);
}

#[tokio::test]
async fn the_audit_log_is_read_by_type_user_and_day() {
    let fixture = Fixture::with_people().await;
    let user = fixture.user("a+b@example.com").await;
    let (own, admin) = (fixture.token("a+b@example.com").await, fixture.token(ADMIN).await);
    let logs = async |query: &str| {
        let answer = fixture.ask(&format!("GET /logs{query}"), &admin, &Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().unwrap().clone()
    };
    let of_user = logs("?user_email=a%2Bb@example.com").await;
    assert_eq!(of_user.len(), 2);
    let create = &of_user[1];
    let names: Vec<&String> = create.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "affected_resource",
            "description",
            "event_type",
            "id",
            "new_value",
            "old_value",
            "timestamp",
            "user_email",
            "user_id",
        ]
    );
    assert_eq!((&create["event_type"], &create["user_id"]), (&json!("create"), &user["id"]));
    assert_eq!(create["new_value"], user);
    let both = logs("?event_types=create&event_types=login").await;
    assert_eq!(both.len(), 4, "two users, two logins");
    assert!(both.is_sorted_by(|a, b| a["timestamp"].as_str() >= b["timestamp"].as_str()));
    assert_eq!(logs("?event_types=login").await.len(), 2);
    let today = &create["timestamp"].as_str().unwrap()[..10];
    assert!(logs(&format!("?start_date={today}&event_types=login")).await.len() == 2);
    assert!(logs("?end_date=2020-01-01").await.is_empty());
    assert!(logs("?user_email=a+b@example.com").await.is_empty(), "a plus is a space");

    let answer = fixture.ask("GET /logs", &own, &Value::Null).await;
    assert_refused(&answer, 403, &json!("Forbidden"));
    let answer = fixture.ask("GET /logs?start_date=soon", &admin, &Value::Null).await;
    assert_eq!(
        (answer.status, &answer.json()["detail"][0]["loc"]),
        (422, &json!(["query", "start_date"]))
    );
}

#[tokio::test]
async fn a_head_is_a_get_whose_body_stays_away() {
    let fixture = Fixture::with_people().await;
    let admin = fixture.token(ADMIN).await;
    let me = fixture.ask("GET /users/me", &admin, &Value::Null).await.json();
    let consents = format!("/privacy/consents/{}", me["id"].as_str().unwrap());
    for path in ["/users/me", "/users", "/logs?event_types=create", &consents] {
        let get = fixture.ask(&format!("GET {path}"), &admin, &Value::Null).await;
        let mut connection = fixture.connect().await;
        let head = format!("HEAD {path} HTTP/1.1\r\n{}\r\n", signed(&admin));
        connection.send(head.as_bytes()).await;
        let answer = connection.answer(true).await;
        assert_eq!((get.status, answer.status), (200, 200), "{path}");
        assert_eq!(answer.headers["content-length"], get.headers["content-length"], "{path}");
        // What follows is the next answer, not a body.
        connection.send(b"GET /healthz HTTP/1.1\r\n\r\n").await;
        assert_eq!(connection.answer(false).await.json(), json!({"status": "alive"}), "{path}");
    }
}

#[tokio::test]
async fn every_call_with_a_bearer_refuses_whoever_has_no_good_token() {
    let fixture = Fixture::with_people().await;
    for call in [
        "POST /auth/jwt/logout",
        "POST /privacy/consents",
        "GET /privacy/consents/7",
        "PATCH /user/budget",
        "PATCH /user/info",
        "GET /users",
        "DELETE /users",
        "GET /users/me",
        "GET /logs",
    ] {
        for token in ["", "nonsense", &fixture.key] {
            let answer = fixture.ask(call, token, &json!({})).await;
            assert_refused(&answer, 401, &json!("Unauthorized"));
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{call}");
        }
    }
}

#[tokio::test]
async fn attempts_are_counted_by_the_address_that_trusted_proxies_name() {
    let once = Rate { burst: 1, period: Duration::from_secs(3_600) };
    let limits = Limits { logins_per_address: once, mails_per_account: once, ..Limits::default() };
    let sign_in = || SignIn { limits, ..SignIn::default() };
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let trusting = Config { trusted_proxies, ..config() };
    for (config, is_trusted) in [(config(), false), (trusting, true)] {
        let fixture = Fixture::of_people(config, sign_in()).await;
        let attempt = async |from: &str| {
            let email = format!("{}@example.com", Uuid::new_v4());
            let header = format!("X-Forwarded-For: 192.0.2.250, {from}\r\n");
            fixture.login(&email, "wrong", &header).await
        };
        assert_eq!(attempt("192.0.2.1").await.status, 400);
        let again = attempt("192.0.2.1, 127.0.0.9").await;
        assert_refused(&again, 429, &json!("Too Many Requests"));
        assert!(again.headers["retry-after"].parse::<u64>().unwrap() > 3_000);
        let other = attempt("192.0.2.2").await.status;
        assert_eq!(other, if is_trusted { 400 } else { 429 });
        // The back office counts with the accounts.
        let body = json!({"email": "x@example.com", "password": "wrong"});
        let headers = format!("{}X-Forwarded-For: 192.0.2.2\r\n", signed(""));
        let answer = fixture.ask_with("POST /auth-rs/v2/bo/login", &headers, &body).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (429, &json!("RATE_LIMITED")));
        assert!(answer.headers.contains_key("retry-after"));
    }
    let fixture = Fixture::of_people(config(), sign_in()).await;
    let body = json!({"email": "nobody@example.com"});
    let call = "POST /auth/forgot-password";
    assert_eq!(fixture.ask(call, "", &body).await.status, 202);
    assert_refused(&fixture.ask(call, "", &body).await, 429, &json!("Too Many Requests"));
}
