//! Money over HTTP, digit by digit, and what an update of a whole user changes.

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{CHEAP, Installation, Person, json_request, user_create};
use millrace_tests::client::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Money of a user, as it stands in an answer.
#[derive(Deserialize)]
struct Amounts {
    budget: Box<RawValue>,
    credit: Box<RawValue>,
}

impl Amounts {
    fn are(&self, wire: &str) -> bool {
        self.budget.get() == wire && self.credit.get() == wire
    }
}

/// What is sent, and what comes back.
const TAKEN: [(&str, &str); 16] = [
    ("0.1", "0.1"),
    ("0.2", "0.2"),
    // 0.1 + 0.2, whose nearest double is another.
    ("0.3", "0.3"),
    ("0.30", "0.3"),
    ("0.300000000000", "0.3"),
    ("0", "0"),
    ("-0", "0"),
    ("0.0", "0"),
    ("123", "123"),
    ("0.000001", "0.000001"),
    ("999999999999999999", "999999999999999999"),
    // Above 2^53: a double would lose the last digit.
    ("9007199254740993", "9007199254740993"),
    ("123456789012.345678", "123456789012.345678"),
    ("1e3", "1000"),
    ("1.5E-1", "0.15"),
    ("1e+17", "100000000000000000"),
];

/// What is sent, and the `type` it is refused with.
const REFUSED: [(&str, &str); 19] = [
    // What a program of doubles says of 0.1 + 0.2.
    ("0.30000000000000004", "decimal_max_places"),
    ("0.0000001", "decimal_max_places"),
    ("1e-7", "decimal_max_places"),
    ("1000000000000000000", "decimal_max_digits"),
    ("1e18", "decimal_max_digits"),
    ("1234567890123.456789", "decimal_max_digits"),
    ("1e400", "decimal_max_digits"),
    ("1e999999999999", "decimal_max_digits"),
    ("-1", "greater_than_equal"),
    ("-0.000001", "greater_than_equal"),
    ("-1e3", "greater_than_equal"),
    ("\"1\"", "decimal_type"),
    ("\"NaN\"", "decimal_type"),
    ("\"\"", "decimal_type"),
    ("true", "decimal_type"),
    ("[]", "decimal_type"),
    ("{}", "decimal_type"),
    ("NaN", "json_invalid"),
    ("Infinity", "json_invalid"),
];

/// The ways in which an admin sets budget and credit, each of a whole body.
fn bodies(
    installation: &mut Installation,
    user: &Person,
    amount: &str,
) -> [(&'static str, &'static str, String, u16); 3] {
    let members = format!(r#""budget":{amount},"credit":{amount}}}"#);
    let update = format!(r#"{{"id":"{}",{members}"#, user.id);
    let create = user_create(&installation.new_email(), &json!({})).to_string();
    let create = format!("{},{members}", &create[..create.len() - 1]);
    [
        ("PATCH", "/user/budget", update.clone(), 200),
        ("PATCH", "/user/info", update, 200),
        ("POST", "/auth/register", create, 201),
    ]
}

#[test]
fn an_amount_comes_back_as_the_decimal_it_is() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let admin = installation.first_admin()?;
    let user = installation.join(None, &json!({}))?;
    for (amount, wire) in TAKEN {
        for (method, path, body, status) in bodies(&mut installation, &user, amount) {
            let request = json_request(method, path, body).bearer(&admin.token);
            let answer = installation.expect(&request, status)?;
            let text = answer.text();
            ensure!(answer.json::<Amounts>()?.are(wire), "{path}: {amount} became {text}");
        }
        let me = installation.expect(&Request::get("/users/me").bearer(&user.token), 200)?;
        ensure!(me.json::<Amounts>()?.are(wire), "{amount} is kept as {}", me.text());
        let list = Request::get(format!("/users?id={}", user.id)).bearer(&admin.token);
        let list = installation.expect(&list, 200)?;
        let listed = list.json::<Vec<Amounts>>()?;
        ensure!(listed.iter().all(|user| user.are(wire)), "{amount} is listed as {}", list.text());
        logged_as(&mut installation, &admin, wire).context(amount)?;
    }
    Ok(())
}

/// The audit log has the digits, too.
fn logged_as(installation: &mut Installation, admin: &Person, wire: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Entry {
        new_value: Amounts,
    }
    let request = Request::get("/logs?event_types=create").bearer(&admin.token);
    let answer = installation.expect(&request, 200)?;
    let entries: Vec<Value> = answer.json()?;
    let newest = entries.first().context("no entry")?.to_string();
    let raw: Vec<&RawValue> = serde_json::from_slice(&answer.body)?;
    let entry: Entry = serde_json::from_str(raw.first().context("no entry")?.get())?;
    ensure!(entry.new_value.are(wire), "{newest}");
    Ok(())
}

#[test]
fn what_is_no_amount_is_422_and_changes_nothing() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let admin = installation.first_admin()?;
    let user = installation.join(None, &json!({}))?;
    for (amount, kind) in REFUSED {
        for (method, path, body, _) in bodies(&mut installation, &user, amount) {
            let request = json_request(method, path, body).bearer(&admin.token);
            let answer: Value = installation.expect(&request, 422)?.json()?;
            let details = answer["detail"].as_array().context("no details")?;
            // One for each field; of a body that is no JSON, one.
            let fields = if kind == "json_invalid" { 1 } else { 2 };
            ensure!(details.len() == fields, "{path} {amount}: {answer}");
            for (detail, field) in details.iter().zip(["budget", "credit"]) {
                ensure!(detail["type"] == kind, "{path} {amount}: {answer}");
                let is_named = kind == "json_invalid" || detail["loc"] == json!(["body", field]);
                ensure!(is_named && detail["loc"][0] == "body", "{path} {amount}: {answer}");
            }
        }
    }
    let me = installation.expect(&Request::get("/users/me").bearer(&user.token), 200)?;
    ensure!(me.json::<Amounts>()?.are("0"), "{}", me.text());
    Ok(())
}

/// The newest entry of the audit log about somebody, and how many there are.
fn newest(installation: &mut Installation, admin: &Person, of: &Person) -> Result<(Value, usize)> {
    let target = format!("/logs?event_types=update&user_id={}", of.id);
    let entries = installation.json(("GET", &target), &admin.token, &Value::Null, 200)?;
    let entries = entries.as_array().cloned().unwrap_or_default();
    Ok((entries.first().cloned().unwrap_or_default(), entries.len()))
}

#[test]
fn a_user_who_sends_themselves_back_changes_only_what_differs() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let admin = installation.first_admin()?;
    // A name that a change could not set, money that is no double, things unknown to the server.
    let unusual = json!({
        "name": "Al",
        "permissions": {"admin": ["budget", "odd"], "unknown": []},
        "preferences": {"etc": {"language": "en", "own": [1.5]}, "more": {"deep": {"er": null}}},
        "is_verified": true,
    });
    let user = installation.join(Some(&admin), &unusual)?;
    let money = format!(r#"{{"id":"{}","budget":9007199254740993,"credit":0.3}}"#, user.id);
    let money = json_request("PATCH", "/user/budget", money).bearer(&admin.token);
    installation.expect(&money, 200)?;

    let me = Request::get("/users/me").bearer(&user.token);
    let whole = installation.expect(&me, 200)?.text();
    let send_back = |installation: &mut Installation, body: &str| -> Result<String> {
        let request = json_request("PATCH", "/user/info", body).bearer(&user.token);
        Ok(installation.expect(&request, 200)?.text())
    };
    ensure!(send_back(&mut installation, &whole)? == whole, "what was sent back has changed");
    let (_, entries) = newest(&mut installation, &admin, &user)?;
    ensure!(entries == 0, "an update of nothing is in the audit log");

    let changed = whole.replacen(r#""name":"Al""#, r#""name":"Alexandra""#, 1);
    ensure!(send_back(&mut installation, &changed)? == changed, "more than the name has changed");
    ensure!(installation.expect(&me, 200)?.text() == changed, "it is kept otherwise");
    let (entry, entries) = newest(&mut installation, &admin, &user)?;
    ensure!(entries == 1, "{entries} entries");
    ensure!(entry["old_value"] == json!({"name": "Al"}), "{entry}");
    ensure!(entry["new_value"] == json!({"name": "Alexandra"}), "{entry}");
    ensure!(entry["affected_resource"] == format!("user:{}", user.id), "{entry}");
    ensure!(entry["user_email"] == *user.email, "{entry}");

    // Of the preferences, only what differs, too: the rest is merged.
    let other = r#"{"preferences":{"etc":{"language":"fr"},"more":{"deep":{"er":7}}}}"#;
    let shown: Value = serde_json::from_str(&send_back(&mut installation, other)?)?;
    let preferences = &shown["preferences"];
    ensure!(preferences["etc"] == json!({"language": "fr", "own": [1.5]}), "{preferences}");
    ensure!(preferences["more"] == json!({"deep": {"er": 7}}), "{preferences}");
    ensure!(preferences["notifications"]["publish_request"] == true, "{preferences}");
    let (entry, _) = newest(&mut installation, &admin, &user)?;
    let names = |value: &Value| value.as_object().map(|of| of.keys().cloned().collect::<Vec<_>>());
    ensure!(names(&entry["old_value"]) == Some(vec!["preferences".to_owned()]), "{entry}");
    ensure!(names(&entry["new_value"]) == Some(vec!["preferences".to_owned()]), "{entry}");
    Ok(())
}
