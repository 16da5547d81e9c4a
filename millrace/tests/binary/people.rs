//! What the tests about people share: they are made at the command line and sign in over HTTP.

use std::path::Path;

use serde_json::Value;

use crate::common::{Answer, Server, request, run_with, send, text};

pub(crate) const EMAIL: &str = "Ann@Example.com";
pub(crate) const PASSWORD: &str = "correct horse";

/// Makes a user who may do everything; what was printed.
pub(crate) fn make_admin(data: &Path) -> Value {
    let args = ["user", "create", "--email", EMAIL, "--name", "Ann Lee", "--role", "admin"];
    let args = [&args[..], &["--admin", "--password-stdin", "--json"]].concat();
    let made = run_with(data, &args, &format!("{PASSWORD}\n"));
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(!text(&made.stdout).contains(PASSWORD));
    serde_json::from_slice(&made.stdout).unwrap()
}

pub(crate) fn login(server: &Server, email: &str, password: &str) -> Answer {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("username={email}&password={}", password.replace(' ', "+"));
    send(server.address(), "POST", "/auth/jwt/login", &form, &body)
}

/// A token of the user that [`make_admin`] makes.
pub(crate) fn token(server: &Server, password: &str) -> String {
    let answer = login(server, EMAIL, password);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// The status of a call with a token.
pub(crate) fn me(server: &Server, token: &str) -> u16 {
    server.get("/users/me", token).status
}

/// A call with a JSON body and no key.
pub(crate) fn post_json(server: &Server, path: &str, body: &Value) -> Answer {
    let json = [("Content-Type", "application/json")];
    send(server.address(), "POST", path, &json, &body.to_string())
}

/// The audit log, oldest first.
pub(crate) fn logs(server: &Server, token: &str) -> Vec<Value> {
    let answer = request(server.address(), "GET", "/logs", token, "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut logs = answer.json().as_array().unwrap().clone();
    logs.reverse();
    logs
}
