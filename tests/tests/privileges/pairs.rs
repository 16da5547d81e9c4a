//! The two tokens of the back office: both, and of the same person.

use anyhow::{Result, ensure};
use millrace_tests::accounts::{
    BOOTSTRAP_SECRET, CHEAP, Installation, PASSWORD, Signed, TOKEN_SECRET, audit_user,
    json_request, login_request, office_login_request, user_create,
};
use millrace_tests::client::Request;
use millrace_tests::forge;
use serde_json::{Value, json};

use crate::ways::Way;

/// What a list answers who comes so.
fn asked(installation: &mut Installation, access: &str, session: &str) -> Result<u16> {
    let request = Way::pair(access, session).put(Request::get("/users/v1/bo"));
    Ok(installation.send(&request)?.status)
}

#[test]
fn both_tokens_must_be_of_the_same_user() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let office = installation.bootstrap()?;
    let (email, _) = installation.new_audit_user(&office)?;
    let audit = installation.office_signed_in(&email)?;
    let (access, session) = (&office.access, &office.session);
    ensure!(asked(&mut installation, access, session)? == 200, "both of the office");
    ensure!(asked(&mut installation, &audit.access, &audit.session)? == 403, "both of the other");
    ensure!(asked(&mut installation, access, &audit.session)? == 401, "a stranger's session");
    ensure!(asked(&mut installation, &audit.access, session)? == 401, "a stranger's access");
    ensure!(asked(&mut installation, session, access)? == 401, "the wrong way round");
    Ok(())
}

#[test]
fn the_first_user_is_made_once_and_only_by_the_secret() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let ask = |installation: &mut Installation, secret: &str, status: u16| -> Result<Value> {
        let body = json!({"secret": secret}).to_string();
        let path = "/users/v1/bo/back-office/bootstrap";
        installation.expect(&json_request("POST", path, body), status)?.json()
    };
    ask(&mut installation, "", 401)?;
    ask(&mut installation, "wrong", 401)?;
    ask(&mut installation, &BOOTSTRAP_SECRET.to_uppercase(), 401)?;
    let made = ask(&mut installation, BOOTSTRAP_SECRET, 201)?;
    let names = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flat_map(|of| of.keys().cloned()).collect()
    };
    ensure!(names(&made) == ["data"], "{made}");
    let shown = ["email", "firstName", "id", "lang", "lastName", "phone"];
    ensure!(names(&made["data"]) == shown, "{made}");
    ask(&mut installation, BOOTSTRAP_SECRET, 409)?;
    // Who does not know the secret does not learn that it was used either.
    ask(&mut installation, "wrong", 401)?;
    Ok(())
}

#[test]
fn a_session_token_says_what_is_documented_and_no_more() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let Signed { access, session, refresh } = installation.bootstrap()?;
    let (header, claims) = forge::parts(&session)?;
    ensure!(header["alg"] == "HS256", "{header}");
    let names: Vec<&String> = claims.as_object().into_iter().flat_map(|c| c.keys()).collect();
    ensure!(names == ["exp", "iat", "sessionId", "userId"], "{claims}");
    ensure!(claims["userId"].is_string() && claims["sessionId"].is_string(), "{claims}");
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    ensure!(number(&claims["exp"]) - number(&claims["iat"]) == 24 * 3_600, "{claims}");
    // The access token ends after an hour and the refresh token after 30 days.
    let now_s = jiff::Timestamp::now().as_second();
    for (token, lifetime_s) in [(&access, 3_600), (&refresh, 30 * 24 * 3_600)] {
        let left_s = number(&forge::parts(token)?.1["exp"]) - now_s;
        ensure!((lifetime_s - 300..=lifetime_s).contains(&left_s), "{left_s} of {lifetime_s}");
    }
    let other = forge::with(&claims, "userId", json!(1));
    let other = forge::hs256(&other, TOKEN_SECRET)?;
    ensure!(asked(&mut installation, &access, &other)? == 401, "a number as an id");
    Ok(())
}

#[test]
fn the_people_of_both_apis_do_not_mix() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let admin = installation.first_admin()?;
    let office = installation.bootstrap()?;
    let (email, _) = installation.new_audit_user(&office)?;
    installation.expect(&login_request(&email, PASSWORD), 400)?;
    installation.expect(&office_login_request(&admin.email, PASSWORD), 401)?;
    let users = installation.json(("GET", "/users"), &admin.token, &Value::Null, 200)?;
    ensure!(!users.to_string().contains(&email), "{users}");
    // An address is one person's, whatever its case.
    let body = user_create(&email.to_uppercase(), &json!({}));
    let register = json_request("POST", "/auth/register", body.to_string());
    let answer = installation.expect(&register, 400)?;
    ensure!(answer.text().contains("REGISTER_USER_ALREADY_EXISTS"), "{}", answer.text());
    let body = audit_user(&admin.email.to_uppercase()).to_string();
    let create = json_request("POST", "/users/v1/bo/audit", body);
    let create = Way::pair(&office.access, &office.session).put(create);
    installation.expect(&create, 409)?;
    Ok(())
}
