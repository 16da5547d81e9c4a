//! Privileges of single fields: what a body may change depends on who sends it.

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{CHEAP, Installation, Person, json_request, text, user_create};
use millrace_tests::client::{Answer, Request};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::consent;

const INFO: (&str, &str) = ("PATCH", "/user/info");
const BUDGET: (&str, &str) = ("PATCH", "/user/budget");

/// What only admins change: a field, and what is not a new user's.
fn privileged() -> [(&'static str, Value); 9] {
    [
        ("budget", json!(1)),
        ("credit", json!(0.5)),
        ("campaign_count", json!(1)),
        ("creative_count", json!(2)),
        ("placement_count", json!(3)),
        ("is_active", json!(false)),
        ("is_superuser", json!(true)),
        ("is_verified", json!(true)),
        ("permissions", json!({"admin": ["budget"]})),
    ]
}

fn set() -> Result<(Installation, Person)> {
    let mut installation = Installation::start(&CHEAP)?;
    let admin = installation.first_admin()?;
    Ok((installation, admin))
}

fn me(installation: &mut Installation, person: &Person) -> Result<Value> {
    installation.json(("GET", "/users/me"), &person.token, &Value::Null, 200)
}

#[test]
fn a_privileged_field_of_a_non_admin_is_refused_only_if_it_would_change() -> Result<()> {
    let (mut installation, admin) = set()?;
    for (field, value) in privileged() {
        let user = installation.join(None, &json!({}))?;
        let before = me(&mut installation, &user)?;
        for body in [
            json!({field: value}),
            json!({"id": user.id, field: value}),
            // What they may change goes with what they may not.
            json!({"name": "Another name", field: value}),
        ] {
            let answer = installation.json(INFO, &user.token, &body, 403)?;
            ensure!(answer == json!({"detail": "Forbidden"}), "{body}: {answer}");
        }
        let after = me(&mut installation, &user)?;
        ensure!(after == before, "{field}: {before} became {after}");
        // The same as it is, or nothing, is no change.
        for same in [before[field].clone(), Value::Null] {
            let answer = installation.json(INFO, &user.token, &json!({field: same}), 200)?;
            ensure!(answer == before, "{field}: {answer}");
        }
        let body = json!({"id": user.id, field: value});
        let answer = installation.json(INFO, &admin.token, &body, 200)?;
        ensure!(answer[field] == value, "an admin's {body}: {answer}");
    }
    Ok(())
}

#[test]
fn a_role_is_nothing_that_an_update_changes() -> Result<()> {
    let (mut installation, admin) = set()?;
    let user = installation.join(None, &json!({}))?;
    for token in [&user.token, &admin.token] {
        let body = json!({"id": user.id, "role": "admin"});
        let answer = installation.json(INFO, token, &body, 200)?;
        ensure!(answer["role"] == "advertiser", "{answer}");
    }
    // Not even read.
    installation.json(INFO, &user.token, &json!({"role": 7, "unknown": {}}), 200)?;
    Ok(())
}

#[test]
fn an_open_registration_grants_nothing() -> Result<()> {
    let (mut installation, admin) = set()?;
    let user = installation.join(None, &json!({}))?;
    let grants = json!({
        "budget": 5, "credit": 6, "is_active": false, "is_superuser": true, "is_verified": true,
        "permissions": {"admin": ["budget"]},
    });
    let nothing = json!({
        "budget": 0, "credit": 0, "is_active": true, "is_superuser": false, "is_verified": false,
        "permissions": {},
    });
    let register = |email: &str, more: &Value, token: Option<&str>| {
        let request = json_request("POST", "/auth/register", user_create(email, more).to_string());
        token.map_or(request.clone(), |token| request.bearer(token))
    };
    let bearers = [
        (None, &nothing),
        (Some("not.a.token"), &nothing),
        (Some(&*user.token), &nothing),
        (Some(&*admin.token), &grants),
    ];
    for (bearer, expected) in bearers {
        let email = installation.new_email();
        let shown: Value = installation.expect(&register(&email, &grants, bearer), 201)?.json()?;
        for (name, value) in expected.as_object().into_iter().flatten() {
            ensure!(shown[name] == *value, "{name} with {bearer:?}: {shown}");
        }
        ensure!(shown["role"] == "advertiser" && shown.get("password").is_none(), "{shown}");
        let retailer = register(&installation.new_email(), &json!({"role": "retailer"}), bearer);
        installation.expect(&retailer, 201)?;
        let made_admin = register(&installation.new_email(), &json!({"role": "admin"}), bearer);
        let status = if bearer == Some(&*admin.token) { 201 } else { 403 };
        installation.expect(&made_admin, status)?;
    }
    // Ignored, but not unread.
    for (field, bad) in [
        ("budget", json!(-1)),
        ("credit", json!("1")),
        ("is_active", json!("yes")),
        ("is_superuser", json!(1)),
        ("is_verified", json!([])),
        ("permissions", json!({"admin": "budget"})),
        ("role", json!("superuser")),
    ] {
        let email = installation.new_email();
        let request = register(&email, &json!({field: bad}), None);
        let answer: Value = installation.expect(&request, 422)?.json()?;
        let loc = &answer["detail"][0]["loc"];
        ensure!(loc[0] == "body" && loc[1] == field, "{field}: {answer}");
    }
    Ok(())
}

#[test]
fn a_retailer_with_the_right_changes_the_money_of_advertisers_only() -> Result<()> {
    let (mut installation, admin) = set()?;
    let with = |role: &str, permissions: Value| json!({"role": role, "permissions": permissions});
    let right = json!({"admin": ["list_advertisers", "budget"]});
    let by = installation.join(Some(&admin), &with("retailer", right.clone()))?;
    let advertiser = installation.join(None, &json!({}))?;
    let body = json!({
        "id": advertiser.id, "budget": 100, "credit": 0.25, "name": "Another name",
        "is_superuser": true, "campaign_count": 9, "password": "Another-horse-8-battery",
    });
    let before = me(&mut installation, &advertiser)?;
    let answer = installation.json(BUDGET, &by.token, &body, 200)?;
    let mut expected = before.clone();
    expected["budget"] = json!(100);
    expected["credit"] = json!(0.25);
    ensure!(answer == expected, "{answer}, not {expected}");
    ensure!(me(&mut installation, &advertiser)? == expected, "it is not what was shown");
    // Not of others, themselves among them, nor of whom there is not.
    let other = installation.join(None, &json!({"role": "retailer"}))?;
    for id in [&other.id, &by.id, &admin.id, &Uuid::new_v4().to_string()] {
        let answer = installation.json(BUDGET, &by.token, &json!({"id": id, "budget": 1}), 403)?;
        ensure!(answer == json!({"detail": "Forbidden"}), "{answer}");
    }
    // The right is a retailer's, and stands in `admin`.
    for (role, permissions) in [
        ("advertiser", right),
        ("retailer", json!({"retailer": ["budget"]})),
        ("retailer", json!({"admin": ["Budget", "budgets"]})),
        ("retailer", json!({})),
    ] {
        let caller = installation.join(Some(&admin), &with(role, permissions.clone()))?;
        let body = json!({"id": advertiser.id, "budget": 1});
        let answer = installation.json(BUDGET, &caller.token, &body, 403)?;
        ensure!(answer == json!({"detail": "Forbidden"}), "{role} {permissions}: {answer}");
    }
    // A right that is taken away is gone at once.
    let change = json!({"id": by.id, "permissions": {}});
    installation.json(INFO, &admin.token, &change, 200)?;
    let body = json!({"id": advertiser.id, "budget": 2});
    installation.json(BUDGET, &by.token, &body, 403)?;
    installation.json(BUDGET, &admin.token, &json!({"id": Uuid::new_v4(), "budget": 2}), 404)?;
    Ok(())
}

#[test]
fn only_an_admin_learns_whether_another_exists() -> Result<()> {
    let (mut installation, admin) = set()?;
    let user = installation.join(None, &json!({}))?;
    let other = installation.join(None, &json!({}))?;
    let nobody = Person { id: Uuid::new_v4().to_string(), ..other.clone() };
    let ask = |installation: &mut Installation, token: &str, about: &Person| {
        let update = json!({"id": about.id, "name": "Another name"}).to_string();
        let delete = json!({"id": about.id}).to_string();
        let requests = [
            json_request("PATCH", "/user/info", update),
            json_request("PATCH", "/user/budget", delete.clone()),
            json_request("POST", "/privacy/consents", consent(about, 1).to_string()),
            Request::get(format!("/privacy/consents/{}", about.id)),
            json_request("DELETE", "/users", delete),
        ];
        let answers = requests.map(|request| installation.send(&request.bearer(token)));
        answers.into_iter().collect::<Result<Vec<Answer>>>()
    };
    let of_other = ask(&mut installation, &user.token, &other)?;
    let of_nobody = ask(&mut installation, &user.token, &nobody)?;
    for (known, unknown) in of_other.iter().zip(&of_nobody) {
        ensure!((known.status, unknown.status) == (403, 403), "{known:?} {unknown:?}");
        ensure!(known.body == unknown.body, "{} and {}", known.text(), unknown.text());
    }
    let of_nobody = ask(&mut installation, &admin.token, &nobody)?;
    let statuses: Vec<u16> = of_nobody.iter().map(|answer| answer.status).collect();
    ensure!(statuses == [404; 5], "an admin: {statuses:?}");
    Ok(())
}

#[test]
fn a_consent_names_the_address_of_its_user() -> Result<()> {
    let (mut installation, admin) = set()?;
    let user = installation.join(None, &json!({}))?;
    for token in [&user.token, &admin.token] {
        let wrong = Person { email: admin.email.clone(), ..user.clone() };
        let body = consent(&wrong, 1);
        let answer = installation.json(("POST", "/privacy/consents"), token, &body, 422)?;
        ensure!(answer["detail"][0]["loc"] == json!(["body", "email"]), "{answer}");
        let upper = Person { email: user.email.to_uppercase(), ..user.clone() };
        installation.json(("POST", "/privacy/consents"), token, &consent(&upper, 1), 200)?;
    }
    Ok(())
}

#[test]
fn the_last_admin_stays() -> Result<()> {
    let (mut installation, admin) = set()?;
    let delete = |of: &Person| json_request("DELETE", "/users", json!({"id": of.id}).to_string());
    installation.expect(&delete(&admin).bearer(&admin.token), 409)?;
    let superuser = installation.join(Some(&admin), &json!({"is_superuser": true}))?;
    let shown: Value =
        installation.expect(&delete(&admin).bearer(&superuser.token), 200)?.json()?;
    ensure!(text(&shown, "id")? == admin.id, "{shown}");
    installation.expect(&delete(&superuser).bearer(&superuser.token), 409)?;
    // The address of who is deleted is free again.
    let body = user_create(&admin.email, &json!({})).to_string();
    let again: Value =
        installation.expect(&json_request("POST", "/auth/register", body), 201)?.json()?;
    let id = again.get("id").and_then(Value::as_str).context("no id")?;
    ensure!(id != admin.id, "an id came back");
    Ok(())
}
