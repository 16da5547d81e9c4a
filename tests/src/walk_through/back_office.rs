//! The back-office API: from its first user to the list of all.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Credentials;
use super::walker::Walker;
use crate::accounts::{audit_user, json_request, office_login_request, text};
use crate::client::Request;

/// Walks as the first user, whom the secret makes, if it is given. The audit user that is made has
/// this address.
pub(super) fn walk(
    walker: &mut Walker<'_>,
    secret: Option<&str>,
    first: &Credentials,
    email: &str,
) -> Result<()> {
    walker.secrets.hide(&first.password);
    match secret {
        Some(secret) => {
            walker.secrets.hide(secret);
            let body = json!({"secret": secret}).to_string();
            let bootstrap = json_request("POST", "/users/v1/bo/back-office/bootstrap", body);
            walker.call("Make the first back-office user", &bootstrap, 201)?;
        }
        None => walker.leave_out("the bootstrap of the back office, which needs its secret")?,
    }
    let login = office_login_request(&first.email, &first.password);
    let signed_in = walker.json("Sign in to the back office", &login, 200)?;
    let data = signed_in.get("data").context("the login's answer has no `data`")?;
    let body = json!({"refreshToken": text(data, "refreshToken")?}).to_string();
    let refresh = json_request("POST", "/auth/v1/bo/token/refresh", body);
    let tokens = walker.json("Get new tokens", &refresh, 201)?;
    let (access, session) = (text(&tokens, "accessToken")?, text(&tokens, "sessionToken")?);
    let signed = |request: Request| request.bearer(&access).header("x-session-token", &session);

    let new = audit_user(email);
    walker.secrets.hide(&text(&new, "password")?);
    let create = signed(json_request("POST", "/users/v1/bo/audit", new.to_string()));
    let made = walker.json("Make an audit user", &create, 201)?;
    let id = made.pointer("/data/id").and_then(Value::as_i64).context("no `data.id`")?;
    let change = json!({"lastName": "Auditor", "lang": "de"}).to_string();
    let patch = signed(json_request("PATCH", &format!("/users/v1/bo/audit/{id}"), change));
    walker.call("Change the audit user", &patch, 200)?;
    let list = signed(Request::get("/users/v1/bo?page=1&pageSize=50"));
    walker.call("List the people of the back office", &list, 200)?;
    Ok(())
}
