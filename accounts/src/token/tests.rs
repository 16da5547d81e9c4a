use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::testing::{TestClock, signer};

const FIRST: &str = "0123456789abcdef0123456789abcdef";
const SECOND: &str = "fedcba9876543210fedcba9876543210";

fn tokens(secrets: &[&str], clock: &TestClock) -> Tokens {
    let secrets: Vec<String> = secrets.iter().map(|text| text.to_string()).collect();
    Tokens::new(TokenSecrets::new(&secrets).unwrap(), clock.clock())
}

fn access(clock: &TestClock) -> Access {
    Access::new(&clock.clock(), Uuid::from_u128(7), 3)
}

#[test]
fn a_token_says_what_was_signed_until_it_ends() {
    let clock = TestClock::default();
    let tokens = tokens(&[FIRST], &clock);
    let claims = access(&clock);
    let token = tokens.sign(&claims).unwrap();
    assert_eq!(tokens.read::<Access>(&token), Some(claims));
    clock.advance_s(ACCESS_S - 1);
    assert!(tokens.read::<Access>(&token).is_some());
    clock.advance_s(1);
    assert!(tokens.read::<Access>(&token).is_none());
}

#[test]
fn a_token_of_one_kind_is_none_of_another() {
    let clock = TestClock::default();
    let tokens = tokens(&[FIRST], &clock);
    let id = Uuid::from_u128(7);
    let of = clock.clock();
    let all = [
        tokens.sign(&access(&clock)).unwrap(),
        tokens.sign(&Reset::new(&of, id, String::new(), 0)).unwrap(),
        tokens.sign(&Verify::new(&of, id, String::new(), 0)).unwrap(),
        tokens.sign(&BackOfficeAccess::new(&of, id.to_string(), id)).unwrap(),
        tokens.sign(&Refresh::new(&of, id.to_string(), id)).unwrap(),
        tokens.sign(&Session::new(&of, id.to_string(), id.to_string())).unwrap(),
    ];
    for (place, token) in all.iter().enumerate() {
        let reads = [
            tokens.read::<Access>(token).is_some(),
            tokens.read::<Reset>(token).is_some(),
            tokens.read::<Verify>(token).is_some(),
            tokens.read::<BackOfficeAccess>(token).is_some(),
            tokens.read::<Refresh>(token).is_some(),
            tokens.read::<Session>(token).is_some(),
        ];
        let expected: Vec<bool> = (0..reads.len()).map(|other| other == place).collect();
        assert_eq!(reads.to_vec(), expected);
    }
}

#[test]
fn the_session_token_says_exactly_what_is_documented() {
    let clock = TestClock::default();
    let token = tokens(&[FIRST], &clock)
        .sign(&Session::new(&clock.clock(), "7".to_owned(), "s".to_owned()))
        .unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    let iat = clock.clock().now_s();
    let expected = json!({"userId": "7", "sessionId": "s", "iat": iat, "exp": iat + 86_400});
    assert_eq!(payload, expected);
}

#[test]
fn both_secrets_are_accepted_while_they_change() {
    let clock = TestClock::default();
    let old = tokens(&[FIRST], &clock).sign(&access(&clock)).unwrap();
    let rotating = tokens(&[SECOND, FIRST], &clock);
    assert!(rotating.read::<Access>(&old).is_some());
    let new = rotating.sign(&access(&clock)).unwrap();
    assert!(tokens(&[SECOND], &clock).read::<Access>(&new).is_some());
    assert!(tokens(&[SECOND], &clock).read::<Access>(&old).is_none());
}

#[test]
fn no_other_algorithm_is_accepted() {
    let clock = TestClock::default();
    let tokens = tokens(&[FIRST], &clock);
    let claims = serde_json::to_value(access(&clock)).unwrap();
    let secret = EncodingKey::from_secret(FIRST.as_bytes());
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = encode(&Header::new(algorithm), &claims, &secret).unwrap();
        assert!(tokens.read::<Access>(&token).is_none(), "{algorithm:?}");
    }
    let key = EncodingKey::from_ed_der(&signer().der());
    let token = encode(&Header::new(Algorithm::EdDSA), &claims, &key).unwrap();
    assert!(tokens.read::<Access>(&token).is_none());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in ["none", "None", "NONE", "RS256", "ES256", ""] {
        let head = part(&json!({"typ": "JWT", "alg": alg}));
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{}.{signature}", part(&claims));
            assert!(tokens.read::<Access>(&token).is_none(), "{alg}");
        }
    }
}

#[test]
fn a_token_that_was_tampered_with_or_is_none_is_refused() {
    let clock = TestClock::default();
    let tokens = tokens(&[FIRST], &clock);
    let token = tokens.sign(&access(&clock)).unwrap();
    for end in 0..token.len() {
        assert!(tokens.read::<Access>(&token[..end]).is_none(), "cut at {end}");
    }
    let genuine = serde_json::to_value(access(&clock)).unwrap();
    let secret = EncodingKey::from_secret(FIRST.as_bytes());
    let signed = |claims: &Value| encode(&Header::new(Algorithm::HS256), claims, &secret).unwrap();
    assert!(tokens.read::<Access>(&signed(&genuine)).is_some());
    for (claim, value) in [
        ("iss", json!("other")),
        ("aud", json!("millrace-reset")),
        ("aud", json!(null)),
        ("exp", json!(null)),
        ("exp", json!("never")),
        ("sub", json!("nobody")),
        ("jti", json!(1)),
    ] {
        let mut claims = genuine.clone();
        claims[claim] = value;
        assert!(tokens.read::<Access>(&signed(&claims)).is_none(), "{claim}");
    }
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    for text in ["", ".", "..", "a.b.c", "ü.é.ß", &long] {
        assert!(tokens.read::<Access>(text).is_none(), "{text:.20}");
    }
    let stranger = EncodingKey::from_secret(SECOND.as_bytes());
    let forged = encode(&Header::new(Algorithm::HS256), &genuine, &stranger).unwrap();
    assert!(tokens.read::<Access>(&forged).is_none());
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", tokens(&[FIRST], &TestClock::default()));
    assert!(!shown.contains("0123456789"), "{shown}");
}
