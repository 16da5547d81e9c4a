//! How often signing in may be tried, by account and by address, whoever stands between.

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{PASSWORD, json_request, login_request, user_create};
use millrace_tests::client::Answer;
use millrace_tests::site::{Site, refusal};
use serde_json::json;

/// No limits but these.
fn site(flags: &[&str]) -> Result<Site> {
    Site::start(|launch| launch.args(flags))
}

/// Tries to sign in, with what a proxy would say.
fn from(site: &Site, address: &str, email: &str, password: &str) -> Result<Answer> {
    site.send(&login_request(email, password).header("X-Forwarded-For", address))
}

fn wrong(answer: &Answer) -> Result<()> {
    let found = refusal(answer)?;
    ensure!(found == (400, json!("LOGIN_BAD_CREDENTIALS")), "{found:?}");
    Ok(())
}

/// 429, with a wait of at most so long.
fn too_many(answer: &Answer, seconds_max: u64) -> Result<()> {
    let found = refusal(answer)?;
    ensure!(found == (429, json!("Too Many Requests")), "{found:?}");
    let wait: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
    ensure!((1..=seconds_max).contains(&wait), "Retry-After: {wait}");
    Ok(())
}

#[test]
fn an_account_may_be_tried_so_often_whether_it_exists_or_not() -> Result<()> {
    let site = site(&["--logins-per-account", "3/600"])?;
    site.register("known@example.com", &json!({}))?;
    for email in ["known@example.com", "nobody@example.com"] {
        for attempt in 0..3 {
            let spelling = if attempt == 1 { email.to_uppercase() } else { email.to_owned() };
            wrong(&site.login(&spelling, "wrong password")?)?;
        }
        for password in ["wrong password", PASSWORD] {
            too_many(&site.login(email, password)?, 600)?;
            too_many(&site.login(&email.to_uppercase(), password)?, 600)?;
        }
    }
    site.register("other@example.com", &json!({}))?;
    site.token("other@example.com", PASSWORD)?;
    Ok(())
}

#[test]
fn who_signs_in_rightly_uses_up_no_attempts() -> Result<()> {
    let site = site(&["--logins-per-account", "2/600", "--logins-per-address", "2/600"])?;
    site.register("u@example.com", &json!({}))?;
    for _ in 0..10 {
        site.token("u@example.com", PASSWORD)?;
    }
    for _ in 0..2 {
        wrong(&site.login("u@example.com", "wrong password")?)?;
    }
    too_many(&site.login("u@example.com", PASSWORD)?, 600)
}

#[test]
fn who_signs_in_rightly_without_end_is_told_to_wait() -> Result<()> {
    let site = site(&["--hashes-per-account", "3/600"])?;
    site.register("u@example.com", &json!({}))?;
    let mut token = String::new();
    for _ in 0..3 {
        token = site.token("u@example.com", PASSWORD)?;
    }
    too_many(&site.login("U@example.com", PASSWORD)?, 600)?;
    let body = json!({"password": "another horse"}).to_string();
    let change = json_request("PATCH", "/user/info", body).bearer(&token);
    too_many(&site.send(&change)?, 600)?;
    site.register("other@example.com", &json!({}))?;
    site.token("other@example.com", PASSWORD)?;
    Ok(())
}

#[test]
fn an_address_registers_so_many() -> Result<()> {
    let flags = ["--hashes-per-address", "2/600", "--trusted-proxy", "127.0.0.0/8"];
    let site = site(&flags)?;
    let register = |address: &str, email: &str| {
        let body = user_create(email, &json!({})).to_string();
        let request = json_request("POST", "/auth/register", body);
        site.send(&request.header("X-Forwarded-For", address))
    };
    assert_eq!(register("198.51.100.1", "a@example.com")?.status, 201);
    let taken = refusal(&register("198.51.100.1", "A@example.com")?)?;
    ensure!(taken == (400, json!("REGISTER_USER_ALREADY_EXISTS")), "{taken:?}");
    too_many(&register("198.51.100.1", "A@example.com")?, 600)?;
    too_many(&register("198.51.100.1", "b@example.com")?, 600)?;
    assert_eq!(register("198.51.100.2", "b@example.com")?.status, 201);
    Ok(())
}

#[test]
fn a_form_that_is_none_uses_up_no_attempts() -> Result<()> {
    let site = site(&["--logins-per-address", "1/600"])?;
    for _ in 0..5 {
        let mut request = login_request("u@example.com", PASSWORD);
        request.body = b"username=u%40example.com".to_vec();
        assert_eq!(site.send(&request)?.status, 422);
    }
    wrong(&site.login("u@example.com", PASSWORD)?)?;
    too_many(&site.login("u@example.com", PASSWORD)?, 600)
}

#[test]
fn an_attempt_is_free_again_after_a_while() -> Result<()> {
    let site = site(&["--logins-per-account", "1/1"])?;
    let attempt = || site.login("u@example.com", "wrong password");
    let mut refused = false;
    millrace_tests::world::until("a refusal, and then none", || {
        let answer = attempt().ok()?;
        refused |= answer.status == 429;
        (refused && answer.status == 400).then_some(())
    })
}

#[test]
fn an_address_may_try_so_often_whomever_it_tries() -> Result<()> {
    let site = site(&["--logins-per-address", "3/600"])?;
    for number in 0..3 {
        wrong(&site.login(&format!("u{number}@example.com"), "wrong password")?)?;
    }
    too_many(&site.login("another@example.com", "wrong password")?, 600)
}

#[test]
fn what_a_peer_says_that_is_no_trusted_proxy_is_not_believed() -> Result<()> {
    for proxies in [&[][..], &["--trusted-proxy", "192.0.2.0/24"]] {
        let limit = ["--logins-per-address", "3/600"];
        let site = site(&[&limit[..], proxies].concat())?;
        for number in 0..3 {
            let email = format!("u{number}@example.com");
            wrong(&from(&site, &format!("198.51.100.{number}"), &email, "wrong password")?)?;
        }
        too_many(&from(&site, "198.51.100.9", "u9@example.com", "wrong password")?, 600)?;
    }
    Ok(())
}

#[test]
fn behind_a_trusted_proxy_every_client_counts_for_itself() -> Result<()> {
    let flags = ["--logins-per-address", "2/600", "--trusted-proxy", "127.0.0.0/8"];
    let more = ["--trusted-proxy", "10.0.0.0/8", "--logins-per-account", "1000000/1"];
    let site = site(&[&flags[..], &more].concat())?;
    let attempt = |from_: &str| from(&site, from_, "u@example.com", "wrong password");
    for client in ["198.51.100.1", "198.51.100.2", "2001:db8:0:1::1"] {
        wrong(&attempt(client)?)?;
        wrong(&attempt(client)?)?;
        too_many(&attempt(client)?, 600)?;
    }
    // What a client writes itself stands to the left of what the proxies add.
    too_many(&attempt("203.0.113.5, 198.51.100.1")?, 600)?;
    too_many(&attempt("203.0.113.6, 198.51.100.1, 10.0.0.7")?, 600)?;
    // One subscriber has a whole /64.
    too_many(&attempt("2001:db8:0:1:ffff::9")?, 600)?;
    wrong(&attempt("2001:db8:0:2::1")?)?;
    // The other way to write an IPv4 address.
    too_many(&attempt("::ffff:198.51.100.2")?, 600)
}

#[test]
fn the_back_office_counts_its_logins_too() -> Result<()> {
    let site = site(&["--logins-per-account", "2/600"])?;
    let body = json!({"email": "bo@example.com", "password": "Wrong-password-9!"});
    for _ in 0..2 {
        assert_eq!(site.post("/auth-rs/v2/bo/login", &body)?.status, 401);
    }
    let answer = site.post("/auth-rs/v2/bo/login", &body)?;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    let body: serde_json::Value = answer.json()?;
    assert!(body["error"]["code"].is_string() && body["error"]["message"].is_string(), "{body}");
    Ok(())
}

#[test]
fn attempts_at_once_are_counted_as_if_they_came_in_turn() -> Result<()> {
    let site = site(&["--logins-per-account", "5/600", "--password-queue", "1000"])?;
    site.register("u@example.com", &json!({}))?;
    let statuses: Vec<Result<u16>> = std::thread::scope(|scope| {
        let attempt = || Ok(site.login("u@example.com", "wrong password")?.status);
        let threads: Vec<_> = (0..40).map(|_| scope.spawn(attempt)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let statuses: Vec<u16> = statuses.into_iter().collect::<Result<_>>()?;
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((of(400), of(429)), (5, 35));
    too_many(&site.login("u@example.com", PASSWORD)?, 600)
}
