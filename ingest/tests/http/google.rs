//! Signing in with Google, against a key set of our own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_accounts::{Clock, FetchKeys, Google, GoogleSettings};
use serde_json::{Value, json};

use crate::fixture::{Fixture, config};
use crate::people::{SignIn, assert_refused};

const CALL: &str = "POST /auth/google";

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn key_set(key: &KeyPair) -> Value {
    let public = key.public_key();
    let modulus = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
    let exponent = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
    json!({"keys": [{"kty": "RSA", "alg": "RS256", "kid": "1", "n": modulus, "e": exponent}]})
}

fn id_token(key: &KeyPair, audience: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": "https://accounts.google.com", "aud": audience, "sub": "1", "name": "Kim",
        "email": "kim@example.com", "email_verified": true, "exp": now + 3_600,
    });
    let signed = format!("{}.{}", encode(&json!({"alg": "RS256", "kid": "1"})), encode(&claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn fixture(keys: Option<Value>) -> Fixture {
    let fetch: FetchKeys = Arc::new(move || {
        let keys = keys.as_ref().map(|keys| keys.to_string().into_bytes());
        Box::pin(async move { keys.ok_or_else(|| "away".to_owned()) })
    });
    let google = Google::new(GoogleSettings::new("client".to_owned()), fetch, Clock::default());
    Fixture::of_people(config(), SignIn { google: Some(google), ..SignIn::default() }).await
}

#[tokio::test]
async fn an_id_token_signs_in_and_makes_the_account_at_the_first_time() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let known = fixture(Some(key_set(&key))).await;
    let body = json!({"id_token": id_token(&key, "client")});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = known.ask(CALL, "", &body).await;
        assert_eq!((answer.status, &answer.json()["token_type"]), (200, &json!("bearer")));
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let me = known.ask("GET /users/me", &token, &Value::Null).await.json();
        assert_eq!((&me["role"], &me["name"]), (&json!("advertiser"), &json!("Kim")));
        ids.push(me["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    for token in [id_token(&key, "another client"), "nonsense".to_owned()] {
        let answer = known.ask(CALL, "", &json!({"id_token": token})).await;
        assert_refused(&answer, 400, &json!("LOGIN_BAD_CREDENTIALS"));
    }
    let answer = known.ask(CALL, "", &json!({})).await;
    assert_eq!((answer.status, &answer.json()["detail"][0]["type"]), (422, &json!("missing")));

    let away = fixture(None).await.ask(CALL, "", &body).await;
    assert_refused(&away, 503, &json!("Service Unavailable"));
    assert!(away.headers.contains_key("retry-after"));
    let unknown = Fixture::with_people().await.ask(CALL, "", &body).await;
    assert_refused(&unknown, 501, &json!("Not Implemented"));
}
