//! The accounts API: from registering to signing out, and, with an admin, budgets, users and the
//! audit log.

use anyhow::Result;
use serde_json::{Value, json};

use super::Credentials;
use super::walker::Walker;
use crate::accounts::{PASSWORD, json_request, login_request, text};
use crate::client::{Request, percent_encode};

/// Walks as a new user of this address.
pub(super) fn walk(
    walker: &mut Walker<'_>,
    admin: Option<&Credentials>,
    email: &str,
) -> Result<()> {
    walker.secrets.hide(PASSWORD);
    let register = json_request("POST", "/auth/register", user_create(email).to_string());
    let user = text(&walker.json("Register", &register, 201)?, "id")?;
    let login = login_request(email, PASSWORD);
    let token = text(&walker.json("Sign in by form", &login, 200)?, "access_token")?;
    let me = Request::get("/users/me").bearer(&token);
    walker.call("Who am I", &me, 200)?;
    let change = json!({
        "name": "Kim Minji",
        "preferences": {"etc": {"language": "en"}, "notification_methods": {"sms": true}},
    });
    let info = json_request("PATCH", "/user/info", change.to_string()).bearer(&token);
    walker.call("Change my name and preferences", &info, 200)?;
    let admin_token = match admin {
        Some(admin) => Some(sign_in(walker, admin)?),
        None => {
            walker.leave_out("budgets, users and the audit log, which need an admin")?;
            None
        }
    };
    if let Some(admin) = &admin_token {
        let change = json!({"id": user, "budget": 123, "credit": 0.5}).to_string();
        let budget = json_request("PATCH", "/user/budget", change).bearer(admin);
        walker.call("Change the user's budget, as an admin", &budget, 200)?;
    }
    consents(walker, &user, email, &token)?;
    if let Some(admin) = &admin_token {
        read_as_admin(walker, &user, email, admin)?;
    }
    let logout = Request::post("/auth/jwt/logout", "").bearer(&token);
    walker.call("Sign out", &logout, 204)?;
    walker.call("The token is revoked", &me, 401)?;
    if let Some(admin) = &admin_token {
        let body = json!({"id": user}).to_string();
        let delete = json_request("DELETE", "/users", body).bearer(admin);
        walker.call("Delete the user, as an admin", &delete, 200)?;
        let logout = Request::post("/auth/jwt/logout", "").bearer(admin);
        walker.call("Sign the admin out", &logout, 204)?;
    }
    Ok(())
}

/// The body of a registration, with everything that it may say.
fn user_create(email: &str) -> Value {
    json!({
        "email": email,
        "name": "Kim Min-ji",
        "password": PASSWORD,
        "permissions": {
            "advertiser": ["permission"],
            "analytic": ["campaign", "placement"],
            "campaign": ["r", "w"],
            "creative": ["r", "w"],
        },
        "role": "advertiser",
        "budget": 0,
        "credit": 0,
        "is_active": true,
        "is_superuser": false,
        "is_verified": false,
        "preferences": {
            "etc": {"language": "ko"},
            "notification_methods": {"email": true, "slack": false, "sms": false},
            "notification_methods_data": {"slack": "", "sms": ""},
            "notifications": {
                "attribute_deleted": true,
                "campaign_finished": true,
                "publish_approval": true,
                "publish_request": true,
            },
        },
    })
}

fn sign_in(walker: &mut Walker<'_>, admin: &Credentials) -> Result<String> {
    walker.secrets.hide(&admin.password);
    let login = login_request(&admin.email, &admin.password);
    text(&walker.json("Sign in as an admin", &login, 200)?, "access_token")
}

fn consents(walker: &mut Walker<'_>, user: &str, email: &str, token: &str) -> Result<()> {
    let mut consent = json!({
        "consent_channel": "web_login",
        "email": email,
        "is_agreed": true,
        "policy_version": "1.0.0",
        "user_id": user,
    });
    let set = |consent: &Value| {
        json_request("POST", "/privacy/consents", consent.to_string()).bearer(token)
    };
    walker.call("Consent to a policy", &set(&consent), 200)?;
    consent["is_agreed"] = false.into();
    walker.call("Take the consent back", &set(&consent), 200)?;
    let list = Request::get(format!("/privacy/consents/{user}")).bearer(token);
    walker.call("My consents", &list, 200)?;
    Ok(())
}

fn read_as_admin(walker: &mut Walker<'_>, user: &str, email: &str, admin: &str) -> Result<()> {
    let users = Request::get(format!("/users?id={user}&role=advertiser")).bearer(admin);
    walker.call("Find the user, as an admin", &users, 200)?;
    let email = percent_encode(email);
    let query = format!("event_types=create&event_types=update&user_id={user}&user_email={email}");
    let logs = Request::get(format!("/logs?{query}")).bearer(admin);
    walker.call("What the user did, from the audit log", &logs, 200)?;
    Ok(())
}
