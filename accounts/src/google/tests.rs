use std::sync::Mutex as StdMutex;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::testing::{HERE, PASSWORD, Place, TestClock, form, settings};
use crate::{PeopleError, Role};

const CLIENT: &str = "client.apps.example.com";

/// An RSA key of our own, and its key set.
struct Signing {
    id: &'static str,
    key: EncodingKey,
    modulus: Vec<u8>,
    jwk: Value,
}

impl Signing {
    fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let big = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
        let jwk = json!({
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": big(&modulus),
            "e": big(&exponent),
        });
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        Self { id, key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), modulus, jwk }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &self.key).unwrap()
    }
}

/// A server of key sets that may be away.
#[derive(Clone, Default)]
struct Server(Arc<StdMutex<(Option<Vec<u8>>, usize)>>);

impl Server {
    fn serves(&self, keys: &[&Signing]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
        self.0.lock().unwrap().0 = Some(json!({"keys": keys}).to_string().into_bytes());
    }

    fn is_away(&self) {
        self.0.lock().unwrap().0 = None;
    }

    fn fetched(&self) -> usize {
        self.0.lock().unwrap().1
    }

    fn fetch(&self) -> FetchKeys {
        let state = Arc::clone(&self.0);
        Arc::new(move || {
            let state = Arc::clone(&state);
            Box::pin(async move {
                let mut state = state.lock().unwrap();
                state.1 += 1;
                state.0.clone().ok_or_else(|| "away".to_owned())
            })
        })
    }
}

fn google(server: &Server, clock: Clock) -> Google {
    Google::new(GoogleSettings::new(CLIENT.to_owned()), server.fetch(), clock)
}

fn claims(clock: &TestClock) -> Value {
    json!({
        "iss": "https://accounts.google.com", "aud": CLIENT, "sub": "1", "name": "Kim",
        "email": "kim@example.com", "email_verified": true, "exp": clock.clock().now_s() + 3_600,
    })
}

#[tokio::test]
async fn only_a_genuine_token_for_us_with_a_verified_address_is_good() {
    let (server, clock, key) = (Server::default(), TestClock::default(), Signing::new("one"));
    server.serves(&[&key]);
    let google = google(&server, clock.clock());
    let user = google.check(&key.sign(&claims(&clock))).await.unwrap();
    let name = Some("Kim".to_owned());
    assert_eq!(user, GoogleUser { email: "kim@example.com".to_owned(), name });
    for (claim, value, is_good) in [
        ("email_verified", json!("true"), true),
        ("iss", json!("accounts.google.com"), true),
        ("email_verified", json!(false), false),
        ("email_verified", json!("false"), false),
        ("email_verified", json!(null), false),
        ("email", json!(null), false),
        ("aud", json!("another"), false),
        ("aud", json!(null), false),
        ("iss", json!("https://evil.example"), false),
        ("iss", json!(null), false),
        ("exp", json!(clock.clock().now_s() - 61), false),
        ("exp", json!(null), false),
    ] {
        let mut claims = claims(&clock);
        claims[claim] = value.clone();
        let result = google.check(&key.sign(&claims)).await;
        assert_eq!(result.is_ok(), is_good, "{claim} = {value}");
    }
    assert_eq!(server.fetched(), 1);
}

#[tokio::test]
async fn a_public_key_is_no_secret_and_no_algorithm_is_none() {
    let (server, clock, key) = (Server::default(), TestClock::default(), Signing::new("one"));
    server.serves(&[&key]);
    let google = google(&server, clock.clock());
    let header = |alg: Algorithm| Header { kid: Some("one".to_owned()), ..Header::new(alg) };
    let jwk = key.jwk.to_string();
    for secret in [key.modulus.as_slice(), jwk.as_bytes()] {
        let secret = EncodingKey::from_secret(secret);
        let token = encode(&header(Algorithm::HS256), &claims(&clock), &secret).unwrap();
        assert_eq!(google.check(&token).await, Err(GoogleError::BadToken));
    }
    let token = encode(&header(Algorithm::RS512), &claims(&clock), &key.key).unwrap();
    assert_eq!(google.check(&token).await, Err(GoogleError::BadToken));
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"one"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims(&clock).to_string());
    let result = google.check(&format!("{head}.{payload}.")).await;
    assert_eq!(result, Err(GoogleError::BadToken));
    let stranger = Signing::new("one");
    let result = google.check(&stranger.sign(&claims(&clock))).await;
    assert_eq!(result, Err(GoogleError::BadToken));
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_but_not_too_often() {
    let (server, clock) = (Server::default(), TestClock::default());
    let (old, new) = (Signing::new("old"), Signing::new("new"));
    server.serves(&[&old]);
    let google = google(&server, clock.clock());
    assert!(google.check(&old.sign(&claims(&clock))).await.is_ok());
    server.serves(&[&new]);
    assert_eq!(google.check(&new.sign(&claims(&clock))).await, Err(GoogleError::BadToken));
    assert_eq!(server.fetched(), 1, "not within ten seconds");
    clock.advance_s(10);
    assert!(google.check(&new.sign(&claims(&clock))).await.is_ok());
    assert_eq!(google.check(&old.sign(&claims(&clock))).await, Err(GoogleError::BadToken));
    assert_eq!(server.fetched(), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_not_the_callers_fault() {
    let (server, clock, key) = (Server::default(), TestClock::default(), Signing::new("one"));
    let google = google(&server, clock.clock());
    let token = key.sign(&claims(&clock));
    assert_eq!(google.check(&token).await, Err(GoogleError::Unavailable));
    server.serves(&[&key]);
    assert_eq!(google.check(&token).await, Err(GoogleError::Unavailable), "not asked again yet");
    clock.advance_s(10);
    assert!(google.check(&token).await.is_ok());
    server.is_away();
    clock.advance_s(3_599);
    let token = key.sign(&claims(&clock));
    assert!(google.check(&token).await.is_ok(), "the keys are kept for an hour");
    clock.advance_s(1);
    assert_eq!(google.check(&token).await, Err(GoogleError::Unavailable));
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_no_fetch_and_known_keys_wait_for_none() {
    let (server, clock, key) = (Server::default(), TestClock::default(), Signing::new("one"));
    server.serves(&[&key]);
    let slow = Arc::new(tokio::sync::Semaphore::new(1));
    let (fetch, gate) = (server.fetch(), Arc::clone(&slow));
    let fetch: FetchKeys = Arc::new(move || {
        let (fetch, gate) = (fetch(), Arc::clone(&gate));
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            fetch.await
        })
    });
    let google = Google::new(GoogleSettings::new(CLIENT.to_owned()), fetch, clock.clock());
    let genuine = key.sign(&claims(&clock));
    assert!(google.check(&genuine).await.is_ok());
    clock.advance_s(10);
    let unknown = Signing::new("two").sign(&claims(&clock));
    let hung_up = tokio::time::timeout(Duration::from_millis(10), google.check(&unknown)).await;
    assert!(hung_up.is_err());
    assert!(google.check(&genuine).await.is_ok(), "while the keys are fetched");
    slow.add_permits(1);
    assert_eq!(google.check(&unknown).await, Err(GoogleError::BadToken), "by that fetch");
    assert_eq!(server.fetched(), 2);
}

#[tokio::test]
async fn google_makes_an_account_once_and_proves_an_address() {
    let (server, key) = (Server::default(), Signing::new("one"));
    server.serves(&[&key]);
    let place = Place::with(settings(), |clock| Some(google(&server, clock)));
    let sign_in = async |email: &str| {
        let mut claims = claims(&place.clock);
        claims["email"] = json!(email);
        let body = json!({"id_token": key.sign(&claims)}).to_string();
        let token = place.people.google(body.as_bytes(), HERE).await?;
        Ok::<_, PeopleError>(
            place.people.caller(Some(&token.access_token), HERE).await?.user().clone(),
        )
    };
    let user = sign_in("kim@example.com").await.unwrap();
    assert_eq!((user.role, user.is_verified), (Role::Advertiser, true));
    assert_eq!(sign_in("KIM@example.com").await.unwrap().id, user.id);
    let login = place.people.login(&form("kim@example.com", ""), HERE).await;
    assert!(login.is_err(), "there is no password");

    let squatted = place.user("lee@example.com").await;
    let squatter = place.token("lee@example.com").await;
    let owner = sign_in("lee@example.com").await.unwrap();
    assert_eq!((owner.id, owner.is_verified), (squatted.id, true));
    assert!(place.people.caller(Some(&squatter), HERE).await.is_err());
    let login = place.people.login(&form("lee@example.com", PASSWORD), HERE).await;
    assert_eq!(login.unwrap_err(), PeopleError::BadCredentials);

    place.people.deactivate_as_operator("kim@example.com").await.unwrap();
    assert_eq!(sign_in("kim@example.com").await.unwrap_err(), PeopleError::BadCredentials);
    assert_eq!(sign_in("no address").await.unwrap_err(), PeopleError::BadCredentials);
}
