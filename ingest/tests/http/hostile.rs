//! Values that nobody expects, in every field of every call: never a fault of ours, always an
//! answer in the API's shape.

use std::time::Duration;

use millrace_accounts::{Limits, Rate};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, config};
use crate::people::{
    ADMIN, BOOTSTRAP_SECRET, OFFICE_EMAIL, OFFICE_PASSWORD, PASSWORD, SignIn, new_user, signed,
};

/// What the bodies of a call may hold.
fn calls(id: &str) -> Vec<(&'static str, Value)> {
    let update = json!({
        "id": id, "budget": 1, "credit": 1, "campaign_count": 1, "name": "Kim Min",
        "permissions": {"a": ["r"]}, "preferences": {"etc": {"language": "en"}},
        "password": PASSWORD, "is_verified": true,
    });
    let consent = json!({
        "consent_channel": "web_login", "email": "lee@example.com", "is_agreed": true,
        "policy_version": "1.0.0", "user_id": id, "consent_date": "2025-01-17T05:39:22Z",
        "created_at": "2025-01-17", "updated_at": "2025-01-17",
    });
    let audit_user = json!({
        "firstName": "Ada", "lastName": "L", "email": "ada@office.example", "phone": "1",
        "password": OFFICE_PASSWORD, "lang": "fr",
    });
    let mut create = new_user("kim@example.com");
    create["preferences"] = json!({"etc": {}});
    create["budget"] = json!(1);
    vec![
        ("POST /auth/register", create),
        ("POST /auth/jwt/login", json!({"username": "kim"})),
        ("POST /auth/google", json!({"id_token": "x"})),
        ("POST /auth/forgot-password", json!({"email": "kim@example.com"})),
        ("POST /auth/reset-password", json!({"token": "x", "password": PASSWORD})),
        ("POST /auth/request-verify-token", json!({"email": "kim@example.com"})),
        ("POST /auth/verify", json!({"token": "x"})),
        ("POST /privacy/consents", consent),
        ("PATCH /user/budget", update.clone()),
        ("PATCH /user/info", update),
        ("PATCH /user/info", json!({"id": id, "email": ADMIN})),
        ("DELETE /users", json!({"id": Uuid::nil()})),
        ("POST /users/v1/bo/back-office/bootstrap", json!({"secret": "wrong"})),
        ("POST /auth-rs/v2/bo/login", json!({"email": OFFICE_EMAIL, "password": "wrong"})),
        ("POST /auth/v1/bo/token/refresh", json!({"refreshToken": "x"})),
        ("POST /users/v1/bo/audit", audit_user.clone()),
        ("PATCH /users/v1/bo/audit/1", audit_user),
    ]
}

/// Values, as JSON text.
fn values() -> Vec<String> {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let texts = [
        "null",
        "true",
        "-1",
        "0.1234567",
        "1e400",
        "-0",
        "9007199254740993",
        "\"\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\u{fffd}\u{202e}\"",
        "[]",
        "[{}]",
        "{}",
        "{\"\": null}",
        "\"a@b.co\"",
        "\"9999-12-31\"",
        "\"-009999-01-01\"",
        "\"2025-02-30\"",
        "NaN",
        "",
    ];
    let mut values: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    values.extend([nested(100), nested(10_000), format!("{:?}", "x".repeat(70_000))]);
    values
}

fn with(body: &Map<String, Value>, field: &str, value: &str) -> String {
    let others = body.iter().filter(|(name, _)| *name != field);
    let others: String = others.map(|(name, value)| format!("{name:?}: {value}, ")).collect();
    format!("{{{others}{field:?}: {value}}}")
}

async fn fixture() -> (Fixture, String) {
    let often = Rate { burst: 1_000_000, period: Duration::from_secs(1) };
    let limits = Limits {
        logins_per_account: often,
        logins_per_address: often,
        hashes_per_account: often,
        hashes_per_address: often,
        mails_per_account: often,
        mails_per_address: often,
    };
    let fixture = Fixture::of_people(config(), SignIn { limits, ..SignIn::default() }).await;
    let secret = json!({"secret": BOOTSTRAP_SECRET});
    fixture.ask("POST /users/v1/bo/back-office/bootstrap", "", &secret).await;
    let body = json!({"email": OFFICE_EMAIL, "password": OFFICE_PASSWORD});
    let tokens = fixture.ask("POST /auth-rs/v2/bo/login", "", &body).await.json();
    let token = |name: &str| tokens["data"][name].as_str().unwrap().to_owned();
    let office =
        format!("{}x-session-token: {}\r\n", signed(&token("accessToken")), token("sessionToken"));
    (fixture, office)
}

#[tokio::test]
async fn no_value_of_a_field_is_a_fault_of_ours() {
    let (fixture, office) = fixture().await;
    let user = fixture.user("lee@example.com").await;
    let mut seen = 0;
    for (call, body) in calls(user["id"].as_str().unwrap()) {
        let (method, path) = call.split_once(' ').unwrap();
        let is_office = path.contains("/bo/");
        let body = body.as_object().unwrap();
        let fields = body.keys().map(|field| values().into_iter().map(move |v| (field, v)));
        let mut bodies: Vec<_> = fields.flatten().map(|(field, v)| with(body, field, &v)).collect();
        bodies.extend(values());
        let mut token = fixture.token(ADMIN).await;
        for body in bodies {
            let headers = if is_office { office.clone() } else { signed(&token) };
            let answer = fixture.request(method, path, &headers, body.as_bytes()).await;
            let start: String = body.chars().take(200).collect();
            let is_answered = answer.status < 500 || (path, answer.status) == ("/auth/google", 501);
            assert!(is_answered, "{call} {start}: {answer:?}");
            if answer.status >= 400 {
                let shape = if is_office { "error" } else { "detail" };
                assert!(answer.json().get(shape).is_some(), "{call} {start}: {answer:?}");
            }
            // Without an id it was the admin's own password.
            if call == "PATCH /user/info" && answer.status == 200 {
                token = fixture.token(ADMIN).await;
            }
            seen += 1;
        }
    }
    assert!(seen > 1_000, "{seen}");
}

#[tokio::test]
async fn no_parameter_is_a_fault_of_ours() {
    let (fixture, office) = fixture().await;
    let admin = fixture.token(ADMIN).await;
    let long = "x".repeat(50_000);
    let values = ["", "%", "%00", "%FF", "+", "-1", "1e9", "%F0%9F%A6%80", "9999-12-31", &*long];
    for (path, names) in [
        ("/users", &["id", "role"][..]),
        ("/logs", &["event_types", "user_id", "user_email", "start_date", "end_date"]),
        ("/users/v1/bo", &["page", "pageSize"]),
    ] {
        let headers = if path == "/users/v1/bo" { office.clone() } else { signed(&admin) };
        for (name, value) in names.iter().flat_map(|name| values.map(|value| (name, value))) {
            let target = format!("{path}?{name}={value}&{name}");
            let answer = fixture.request("GET", &target, &headers, b"").await;
            assert!(answer.status < 500, "{name} {answer:?}");
        }
    }
    for value in values {
        let target = format!("/privacy/consents/{value}");
        let answer = fixture.request("GET", &target, &signed(&admin), b"").await;
        assert!([404, 422].contains(&answer.status), "{answer:?}");
        let target = format!("/users/v1/bo/audit/{value}");
        let answer = fixture.request("PATCH", &target, &office, b"{}").await;
        assert!([400, 404].contains(&answer.status), "{answer:?}");
    }
}
