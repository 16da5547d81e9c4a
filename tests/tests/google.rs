//! Signing in with Google, whose keys are served by the test.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::KeyPair as _;
use millrace_tests::accounts::PASSWORD;
use millrace_tests::client::{Answer, Request};
use millrace_tests::forge::{self, Signer, token};
use millrace_tests::jwks::{Key, KeyServer, Serving};
use millrace_tests::mail::{Mail, outbox};
use millrace_tests::process::Launch;
use millrace_tests::site::{Site, access_token, refusal};
use millrace_tests::tls::Certificate;
use millrace_tests::world::until;
use serde_json::{Value, json};

const CLIENT: &str = "client.apps.example.com";
const OTHER_CLIENT: &str = "other.apps.example.com";
/// How often the keys may be fetched anew because of a token.
const REFETCH: Duration = Duration::from_secs(10);
const NO_LIMITS: [&str; 2] = ["--logins-per-address", "1000000/1"];

/// A site, Google's server, and a key that Google knows.
struct Place {
    site: Site,
    google: KeyServer,
    key: Key,
}

impl Place {
    fn new() -> Result<Self> {
        let key = Key::new("one")?;
        let google = KeyServer::start(&[&key], None)?;
        let site = Site::start(|launch| with_google(launch, &google))?;
        Ok(Self { site, google, key })
    }

    fn sign_in(&self, claims: &Value) -> Result<Answer> {
        sign_in(&self.site, &self.key.sign(claims)?)
    }

    /// Google's server was asked at once, and then no more often than may be.
    fn not_asked_too_often(&self, since: Instant) -> Result<()> {
        let (fetches, elapsed) = (self.google.fetches(), since.elapsed());
        let allowed = 1 + elapsed.as_secs() / REFETCH.as_secs();
        ensure!(fetches as u64 <= allowed, "{fetches} fetches in {elapsed:?}");
        Ok(())
    }

    /// Whom a token signs in.
    fn user(&self, claims: &Value) -> Result<Value> {
        let token = access_token(&self.sign_in(claims)?)?;
        self.site.me(&token)?.json()
    }
}

fn with_google(launch: Launch, google: &KeyServer) -> Launch {
    let ids = ["--google-client-id", OTHER_CLIENT, "--google-client-id", CLIENT];
    launch.args(&ids).args(&["--google-jwks-url", &google.url]).args(&NO_LIMITS)
}

fn sign_in(site: &Site, token: &str) -> Result<Answer> {
    site.post("/auth/google", &json!({"id_token": token}))
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What a good token says.
fn claims(email: &str) -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": CLIENT, "azp": CLIENT, "sub": "1",
        "name": "Kim", "email": email, "email_verified": true, "iat": now_s(),
        "exp": now_s() + 3_600,
    })
}

fn bad(answer: &Answer) -> Result<()> {
    let found = refusal(answer)?;
    ensure!(found == (400, json!("LOGIN_BAD_CREDENTIALS")), "{found:?}");
    Ok(())
}

/// 503, with a `Retry-After`.
fn unavailable(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 503, "{} {}", answer.status, answer.text());
    refusal(answer)?;
    let wait: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
    ensure!((1..=60).contains(&wait), "Retry-After: {wait}");
    Ok(())
}

#[test]
fn a_new_address_becomes_an_advertiser_without_a_password_who_may_set_one() -> Result<()> {
    let place = Place::new()?;
    let user = place.user(&claims("Kim@Example.com"))?;
    let expected = json!({
        "id": user["id"], "email": "Kim@Example.com", "name": "Kim", "role": "advertiser",
        "budget": 0, "credit": 0, "campaign_count": 0, "creative_count": 0, "placement_count": 0,
        "is_active": true, "is_superuser": false, "is_verified": true, "permissions": {},
        "preferences": user["preferences"],
    });
    assert_eq!(user, expected);
    assert_eq!(user["preferences"]["etc"]["language"], json!("ko"), "the defaults");
    assert_eq!(place.user(&claims("kim@example.com"))?["id"], user["id"], "the second time");
    let register = millrace_tests::accounts::user_create("kim@example.com", &json!({}));
    let taken = refusal(&place.site.post("/auth/register", &register)?)?;
    assert_eq!(taken, (400, json!("REGISTER_USER_ALREADY_EXISTS")));

    for password in [PASSWORD, "null", "None", "{}", " "] {
        bad(&place.site.login("kim@example.com", password)?)?;
    }
    let folder = place.site.data().join("outbox");
    place.site.post("/auth/forgot-password", &json!({"email": "kim@example.com"}))?;
    let paths = until("a mail", || outbox(&folder).ok().filter(|paths| !paths.is_empty()))?;
    let mail = Mail::parse(&std::fs::read_to_string(&paths[0])?)?;
    let reset = json!({"token": mail.token()?, "password": PASSWORD});
    let answer = place.site.post("/auth/reset-password", &reset)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = place.site.token("kim@example.com", PASSWORD)?;
    assert_eq!(place.site.me(&token)?.json::<Value>()?["id"], user["id"]);
    assert_eq!(place.user(&claims("kim@example.com"))?["id"], user["id"], "both ways are open");
    Ok(())
}

#[test]
fn an_account_of_the_address_is_signed_in_unless_it_is_not_active() -> Result<()> {
    let place = Place::new()?;
    let create = |email: &str, role: &str| {
        let args = ["user", "create", "--email", email, "--name", "Lee Lee", "--role", role];
        place.site.command(&[&args[..], &["--password-stdin"]].concat(), PASSWORD)
    };
    create("retailer@example.com", "retailer")?;
    let token = place.site.token("retailer@example.com", PASSWORD)?;
    let before: Value = place.site.me(&token)?.json()?;
    let user = place.user(&claims("RETAILER@example.com"))?;
    assert_eq!((&user["id"], &user["role"]), (&before["id"], &json!("retailer")));
    assert_eq!(user["name"], json!("Lee Lee"), "nothing of the account changes");

    create("gone@example.com", "advertiser")?;
    place.site.command(&["user", "deactivate", "gone@example.com"], "")?;
    bad(&place.sign_in(&claims("gone@example.com"))?)
}

#[test]
fn who_registered_anothers_address_has_no_part_in_their_account() -> Result<()> {
    let place = Place::new()?;
    place.site.register("victim@example.com", &json!({}))?;
    let squatter = place.site.token("victim@example.com", PASSWORD)?;
    let user = place.user(&claims("victim@example.com"))?;
    assert_eq!(user["is_verified"], json!(true));
    assert_eq!(place.site.me(&squatter)?.status, 401);
    bad(&place.site.login("victim@example.com", PASSWORD)?)
}

#[test]
fn only_a_genuine_token_for_us_with_a_verified_address_is_good() -> Result<()> {
    let place = Place::new()?;
    let good = claims("kim@example.com");
    for (claim, value, is_good) in [
        ("aud", json!(OTHER_CLIENT), true),
        ("iss", json!("accounts.google.com"), true),
        ("email_verified", json!("true"), true),
        ("name", Value::Null, true),
        ("name", json!("x".repeat(1_000)), true),
        ("aud", json!("a stranger's"), false),
        ("aud", json!(""), false),
        ("aud", json!([]), false),
        ("aud", Value::Null, false),
        ("iss", json!("https://accounts.google.com.evil.example"), false),
        ("iss", json!("http://accounts.google.com"), false),
        ("iss", json!("millrace"), false),
        ("iss", Value::Null, false),
        ("exp", json!(now_s() - 120), false),
        ("exp", json!("9999999999"), false),
        ("exp", Value::Null, false),
        ("email_verified", json!(false), false),
        ("email_verified", json!("false"), false),
        ("email_verified", json!("True"), false),
        ("email_verified", json!(1), false),
        ("email_verified", Value::Null, false),
        ("email", json!("kim"), false),
        ("email", json!("a@b.co\r\nBcc: c@d.co"), false),
        ("email", json!(7), false),
        ("email", Value::Null, false),
    ] {
        let answer = place.sign_in(&forge::with(&good, claim, value.clone()))?;
        let found = answer.status == 200;
        assert_eq!(found, is_good, "{claim} = {value}: {} {}", answer.status, answer.text());
        if !is_good {
            bad(&answer).with_context(|| format!("{claim} = {value}"))?;
        }
    }
    assert_eq!(place.google.fetches(), 1);
    Ok(())
}

#[test]
fn a_token_signed_by_nobody_or_in_another_way_is_refused() -> Result<()> {
    let place = Place::new()?;
    let since = Instant::now();
    let good = claims("kim@example.com");
    let genuine = place.key.sign(&good)?;
    access_token(&sign_in(&place.site, &genuine)?)?;

    let public = place.key.public();
    let pem_like = public["n"].as_str().context("no modulus")?;
    let der = place.key.pair().public_key().as_der()?;
    let mut forged = forge::unsigned(&genuine)?;
    forged.extend(forge::tampered(&genuine)?);
    for secret in [
        place.key.public_bytes(),
        der.as_ref(),
        public.to_string().as_bytes(),
        pem_like.as_bytes(),
        b"one",
    ] {
        for alg in ["HS256", "RS256"] {
            let header = json!({"alg": alg, "kid": "one", "typ": "JWT"});
            forged.push(token(&header, &good, Signer::Hmac(hmac::HMAC_SHA256, secret))?);
        }
    }
    for alg in ["RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256"] {
        let header = json!({"alg": alg, "kid": "one"});
        forged.push(token(&header, &good, Signer::Rsa(place.key.pair()))?);
    }
    // A key of the sender's own, named as Google's is, or brought along.
    let own = Key::new("one")?;
    forged.push(own.sign(&good)?);
    for header in [
        json!({"alg": "RS256", "kid": "one", "jwk": own.public()}),
        json!({"alg": "RS256", "jwk": own.public()}),
        json!({"alg": "RS256", "kid": "one", "jku": place.google.url}),
        json!({"alg": "RS256", "kid": ""}),
        json!({"alg": "RS256"}),
    ] {
        forged.push(token(&header, &good, Signer::Rsa(own.pair()))?);
    }
    forged.push(access_token(&sign_in(&place.site, &genuine)?)?);
    forged.extend(["", ".", "..", "a.b.c", "\u{0}", "가나다"].map(str::to_owned));
    forged.push("a".repeat(100_000));
    for token in forged {
        bad(&sign_in(&place.site, &token)?).with_context(|| format!("{token:.200}"))?;
    }
    place.not_asked_too_often(since)
}

#[test]
fn a_body_that_is_none_is_refused_before_anything_else() -> Result<()> {
    let place = Place::new()?;
    for (body, kind) in [
        ("", "missing"),
        ("{", "json_invalid"),
        ("{}", "missing"),
        (r#"{"id_token": null}"#, "missing"),
        (r#"{"id_token": 7}"#, "string_type"),
    ] {
        let answer = place.site.send(&Request::post("/auth/google", body))?;
        let (status, detail) = refusal(&answer)?;
        assert_eq!((status, &detail[0]["type"]), (422, &json!(kind)), "{body}: {detail}");
    }
    assert_eq!(place.google.fetches(), 0);
    Ok(())
}

#[test]
fn keys_are_fetched_by_tls_from_a_server_of_a_trusted_authority() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::new(folder.path())?;
    let key = Key::new("one")?;
    let google = KeyServer::start(&[&key], Some(&certificate))?;
    let ca = certificate.authority.display().to_string();
    let trusting = |launch| with_google(launch, &google).args(&["--google-ca", &ca]);
    let site = Site::start(trusting)?;
    access_token(&sign_in(&site, &key.sign(&claims("kim@example.com"))?)?)?;
    assert_eq!(google.fetches(), 1);

    let site = Site::start(|launch| with_google(launch, &google))?;
    unavailable(&sign_in(&site, &key.sign(&claims("kim@example.com"))?)?)?;
    assert_eq!(google.fetches(), 1, "an unknown authority's server is asked for nothing");
    Ok(())
}

#[test]
fn a_new_key_is_accepted_once_the_server_has_it_and_an_old_one_no_longer() -> Result<()> {
    let place = Place::new()?;
    place.user(&claims("kim@example.com"))?;
    let new = Key::new("two")?;
    let token = new.sign(&claims("kim@example.com"))?;
    bad(&sign_in(&place.site, &token)?)?;
    place.google.serve_keys(&[&place.key, &new]);
    until("the new key", || {
        sign_in(&place.site, &token).is_ok_and(|a| a.status == 200).then_some(())
    })?;
    place.user(&claims("kim@example.com"))?;
    place.google.serve_keys(&[&new]);
    let newest = Key::new("three")?.sign(&claims("kim@example.com"))?;
    let fetches = place.google.fetches();
    until("another fetch", || {
        let _ = sign_in(&place.site, &newest);
        (place.google.fetches() > fetches).then_some(())
    })?;
    bad(&place.sign_in(&claims("kim@example.com"))?)?;
    access_token(&sign_in(&place.site, &token)?)?;
    Ok(())
}

#[test]
fn the_keys_are_kept_however_many_sign_in_or_try_unknown_keys() -> Result<()> {
    let place = Place::new()?;
    let since = Instant::now();
    let genuine = place.key.sign(&claims("kim@example.com"))?;
    for _ in 0..200 {
        access_token(&sign_in(&place.site, &genuine)?)?;
    }
    assert_eq!(place.google.fetches(), 1);
    for number in 0..300 {
        let header = json!({"alg": "RS256", "kid": format!("unknown-{number}")});
        let token = token(&header, &claims("kim@example.com"), Signer::Rsa(place.key.pair()))?;
        bad(&sign_in(&place.site, &token)?)?;
    }
    access_token(&sign_in(&place.site, &genuine)?)?;
    place.not_asked_too_often(since)
}

#[test]
fn keys_that_cannot_be_had_are_not_the_callers_fault() -> Result<()> {
    let huge = json!({"keys": [], "x": "x".repeat(10 << 20)}).to_string();
    let symmetric = json!({"keys": [{"kty": "oct", "kid": "one", "k": "AAAA", "alg": "HS256"}]});
    let table = [
        ("hangs up", Serving::Nothing),
        ("fails", Serving::Status(500)),
        ("redirects", Serving::Status(302)),
        ("is no JSON", Serving::Body("<html>".to_owned())),
        ("is no key set", Serving::Body("{}".to_owned())),
        ("has no RSA key", Serving::Body(symmetric.to_string())),
        ("is huge", Serving::Body(huge)),
        ("is endless", Serving::Endless),
        ("is slow", Serving::Slow),
        ("says nothing", Serving::Silent),
    ];
    let mut all = Vec::new();
    for (what, serving) in table {
        all.push(std::thread::spawn(move || {
            let place = Place::new()?;
            let since = Instant::now();
            place.google.serve(serving);
            let token = place.key.sign(&claims("kim@example.com"))?;
            unavailable(&sign_in(&place.site, &token)?).context(what)?;
            let written_bytes = place.google.written_bytes();
            ensure!(written_bytes < 16 << 20, "{what}: {written_bytes} bytes were read");
            // It is not asked again for everybody who comes.
            unavailable(&sign_in(&place.site, &token)?).context(what)?;
            place.not_asked_too_often(since).context(what)?;
            place.google.serve_keys(&[&place.key]);
            let is_in = |answer: Answer| answer.status == 200;
            until(what, || sign_in(&place.site, &token).is_ok_and(is_in).then_some(()))
        }));
    }
    for thread in all {
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(())
}

#[test]
fn keys_of_other_kinds_beside_the_right_one_do_not_matter() -> Result<()> {
    let place = Place::new()?;
    let others = [
        json!({"kty": "EC", "kid": "e", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "kid": "o", "crv": "X448", "x": "AA"}),
        json!({"kty": "AKP", "kid": "a", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kid": "nothing"}),
    ];
    let mut keys = others.to_vec();
    keys.push(place.key.public());
    place.google.serve(Serving::Body(json!({"keys": keys}).to_string()));
    place.user(&claims("kim@example.com"))?;
    Ok(())
}

#[test]
fn a_caller_who_hangs_up_keeps_nobody_else_from_the_keys() -> Result<()> {
    let place = Place::new()?;
    place.google.serve(Serving::Slow);
    let token = place.key.sign(&claims("kim@example.com"))?;
    let body = json!({"id_token": token}).to_string();
    let mut connection = millrace_tests::client::Connection::open(place.site.server.address)?;
    connection.send(&Request::post("/auth/google", body).bytes())?;
    until("a fetch", || (place.google.fetches() == 1).then_some(()))?;
    place.google.serve_keys(&[&place.key]);
    drop(connection);
    // The fetch goes on, fails, and is not repeated at once; nothing is stuck.
    until("the keys", || sign_in(&place.site, &token).is_ok_and(|a| a.status == 200).then_some(()))
}

#[test]
fn it_is_not_implemented_where_it_is_not_configured() -> Result<()> {
    let site = Site::start(|launch| launch)?;
    let token = Key::new("one")?.sign(&claims("kim@example.com"))?;
    let (status, _) = refusal(&sign_in(&site, &token)?)?;
    assert_eq!(status, 501);
    Ok(())
}

#[test]
fn a_person_of_the_back_office_does_not_sign_in_here() -> Result<()> {
    let key = Key::new("one")?;
    let google = KeyServer::start(&[&key], None)?;
    let variables = [
        ("SECRET", "bootstrap secret of a test"),
        ("EMAIL", "bo@example.com"),
        ("PASSWORD", "Correct horse 9!"),
        ("FIRST_NAME", "Bo"),
        ("LAST_NAME", "Office"),
        ("PHONE", "1"),
    ];
    let site = Site::start(|launch| {
        let start = |launch: Launch, (name, value)| {
            launch.env(&format!("MILLRACE_BO_BOOTSTRAP_{name}"), value)
        };
        variables.into_iter().fold(with_google(launch, &google), start)
    })?;
    let secret = json!({"secret": "bootstrap secret of a test"});
    let answer = site.post("/users/v1/bo/back-office/bootstrap", &secret)?;
    assert_eq!(answer.status, 201, "{}", answer.text());
    bad(&sign_in(&site, &key.sign(&claims("BO@example.com"))?)?)
}

#[test]
fn tokens_that_are_not_good_are_limited_by_address_and_good_ones_are_not() -> Result<()> {
    let key = Key::new("one")?;
    let google = KeyServer::start(&[&key], None)?;
    let ids = ["--google-client-id", CLIENT, "--google-jwks-url", &google.url];
    let limit = ["--logins-per-address", "3/600"];
    let site = Site::start(|launch| launch.args(&ids).args(&limit))?;
    let genuine = key.sign(&claims("kim@example.com"))?;
    for _ in 0..10 {
        access_token(&sign_in(&site, &genuine)?)?;
    }
    for _ in 0..3 {
        bad(&sign_in(&site, "a.b.c")?)?;
    }
    let answer = sign_in(&site, &genuine)?;
    assert_eq!(refusal(&answer)?, (429, json!("Too Many Requests")));
    assert!(answer.header("retry-after").is_some());
    Ok(())
}

#[test]
fn keys_that_cannot_be_had_use_up_no_attempts() -> Result<()> {
    let key = Key::new("one")?;
    let google = KeyServer::start(&[&key], None)?;
    google.serve(Serving::Status(500));
    let ids = ["--google-client-id", CLIENT, "--google-jwks-url", &google.url];
    let site = Site::start(|launch| launch.args(&ids).args(&["--logins-per-address", "2/600"]))?;
    let genuine = key.sign(&claims("kim@example.com"))?;
    for _ in 0..5 {
        unavailable(&sign_in(&site, &genuine)?)?;
    }
    Ok(())
}
