//! How many mails are sent.

use anyhow::{Result, ensure};
use millrace_tests::accounts::json_request;
use millrace_tests::client::Answer;
use millrace_tests::site::{Site, refusal};
use serde_json::json;

use crate::support::{accepted, english};

/// 429, with a wait of at most so long.
fn too_many(answer: &Answer, seconds_max: u64) -> Result<()> {
    let found = refusal(answer)?;
    ensure!(found == (429, json!("Too Many Requests")), "{found:?}");
    let wait: u64 = answer.header("retry-after").unwrap_or_default().parse()?;
    ensure!((1..=seconds_max).contains(&wait), "Retry-After: {wait}");
    Ok(())
}

/// Both calls by which mails are asked for.
const PATHS: [&str; 2] = ["/auth/forgot-password", "/auth/request-verify-token"];

#[test]
fn an_account_gets_so_many_mails_whether_it_exists_or_not() -> Result<()> {
    let site = Site::start(|launch| launch.args(&["--mails-per-account", "2/600"]))?;
    site.register("known@example.com", &english())?;
    for email in ["known@example.com", "nobody@example.com"] {
        let ask = |path, email: &str| site.post(path, &json!({"email": email}));
        accepted(&ask(PATHS[0], email)?)?;
        accepted(&ask(PATHS[1], &email.to_uppercase())?)?;
        for path in PATHS {
            too_many(&ask(path, email)?, 600)?;
            too_many(&ask(path, &email.to_uppercase())?, 600)?;
        }
    }
    accepted(&site.post(PATHS[0], &json!({"email": "other@example.com"}))?)
}

#[test]
fn an_address_asks_for_so_many_mails_whoever_they_are_for() -> Result<()> {
    let flags = ["--mails-per-address", "3/600", "--trusted-proxy", "127.0.0.0/8"];
    let site = Site::start(|launch| launch.args(&flags))?;
    site.register("u0@example.com", &english())?;
    let ask = |number: usize, from: &str| {
        let body = json!({"email": format!("u{number}@example.com")});
        let request = json_request("POST", PATHS[number % 2], body.to_string());
        site.send(&request.header("X-Forwarded-For", from))
    };
    for number in 0..3 {
        accepted(&ask(number, "192.0.2.1")?)?;
    }
    for number in 0..5 {
        too_many(&ask(number, "192.0.2.1")?, 600)?;
    }
    accepted(&ask(0, "192.0.2.2")?)?;
    // What was refused by the address did not count for the accounts.
    accepted(&ask(4, "192.0.2.2")?)
}

#[test]
fn what_is_no_address_counts_for_nothing() -> Result<()> {
    let site = Site::start(|launch| launch.args(&["--mails-per-address", "1/600"]))?;
    for _ in 0..5 {
        assert_eq!(site.post(PATHS[0], &json!({"email": "none"}))?.status, 422);
    }
    accepted(&site.post(PATHS[0], &json!({"email": "u@example.com"}))?)?;
    too_many(&site.post(PATHS[0], &json!({"email": "u@example.com"}))?, 600)
}
