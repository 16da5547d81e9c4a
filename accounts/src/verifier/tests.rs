use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use millrace_store::ApiKey;
use serde_json::json;

use super::*;
use crate::testing::{MemoryStore, signer};
use crate::{Signer, watch};

const NOW_US: i64 = 1_737_092_362_000_000;

fn api_key(expires_us: Option<i64>) -> ApiKey {
    ApiKey {
        id: Uuid::from_u128(7),
        project: "shop".to_owned(),
        scopes: vec![Scope::Write, Scope::Read],
        created_us: NOW_US,
        expires_us,
        revoked_us: None,
    }
}

fn verifier_of(signer: &Signer) -> Verifier {
    Verifier::new([signer.public_key().clone()]).without_revocations()
}

#[tokio::test]
async fn no_key_is_honoured_before_the_revocations_were_read() {
    let (signer, store) = (signer(), MemoryStore::default());
    let verifier = Verifier::new([signer.public_key().clone()]);
    let token = signer.mint(&api_key(None)).unwrap();
    assert_eq!(verifier.verify(&token, NOW_US), Err(KeyError::RevocationsUnread));
    store.set_away(true);
    verifier.refresh(&store).await.unwrap_err();
    assert_eq!(verifier.verify(&token, NOW_US), Err(KeyError::RevocationsUnread));
    assert_eq!(verifier.verify("no key", NOW_US), Err(KeyError::Malformed));
    store.set_away(false);
    verifier.refresh(&store).await.unwrap();
    verifier.verify(&token, NOW_US).unwrap();
}

fn with_part(token: &str, part: usize, json: &serde_json::Value) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[part] = URL_SAFE_NO_PAD.encode(json.to_string());
    parts.join(".")
}

#[test]
fn a_genuine_key_stands_for_its_project_and_scopes() {
    let signer = signer();
    let verifier = verifier_of(&signer);
    let token = signer.mint(&api_key(None)).unwrap();
    for _ in 0..2 {
        let principal = verifier.verify(&token, NOW_US).unwrap();
        assert_eq!(principal.project, "shop");
        assert_eq!(principal.key_id, Uuid::from_u128(7));
        assert!(principal.allows(Scope::Read) && !principal.allows(Scope::Delete));
    }
    assert_eq!(verifier.checked.read().unwrap().len(), 1);
}

#[test]
fn alg_none_is_refused() {
    let signer = signer();
    let token = signer.mint(&api_key(None)).unwrap();
    let kid = signer.public_key().kid();
    for alg in ["none", "None", "NONE", ""] {
        let forged = with_part(&token, 0, &json!({"alg": alg, "typ": "JWT", "kid": kid}));
        let unsigned = format!("{}.", forged.rsplit_once('.').unwrap().0);
        for token in [forged, unsigned] {
            assert_eq!(verifier_of(&signer).verify(&token, NOW_US), Err(KeyError::Malformed));
        }
    }
}

#[test]
fn hs256_with_the_public_key_as_secret_is_refused() {
    let signer = signer();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(signer.public_key().kid().to_owned());
    let secret = EncodingKey::from_secret(signer.public_key().bytes());
    let token = encode(&header, &Claims::of(&api_key(None)), &secret).unwrap();
    assert_eq!(verifier_of(&signer).verify(&token, NOW_US), Err(KeyError::Malformed));
}

#[test]
fn a_header_that_claims_another_algorithm_is_refused() {
    let signer = signer();
    let token = signer.mint(&api_key(None)).unwrap();
    for alg in ["HS256", "RS256", "PS256", "ES256"] {
        let kid = signer.public_key().kid();
        let forged = with_part(&token, 0, &json!({"alg": alg, "typ": "JWT", "kid": kid}));
        assert_eq!(verifier_of(&signer).verify(&forged, NOW_US), Err(KeyError::Malformed), "{alg}");
    }
}

#[test]
fn a_stranger_under_a_known_kid_has_a_wrong_signature() {
    let (ours, stranger) = (signer(), signer());
    let token = stranger.mint(&api_key(None)).unwrap();
    let kid = ours.public_key().kid();
    let forged = with_part(&token, 0, &json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}));
    assert_eq!(verifier_of(&ours).verify(&forged, NOW_US), Err(KeyError::BadSignature));
}

#[test]
fn a_kid_that_is_unknown_or_absent_is_refused() {
    let (ours, stranger) = (signer(), signer());
    let token = stranger.mint(&api_key(None)).unwrap();
    assert_eq!(verifier_of(&ours).verify(&token, NOW_US), Err(KeyError::UnknownKey));
    let nameless = with_part(&token, 0, &json!({"alg": "EdDSA", "typ": "JWT"}));
    assert_eq!(verifier_of(&ours).verify(&nameless, NOW_US), Err(KeyError::Malformed));
}

#[test]
fn a_tampered_payload_is_refused_also_after_the_genuine_one_was_seen() {
    let signer = signer();
    let verifier = verifier_of(&signer);
    let token = signer.mint(&api_key(None)).unwrap();
    verifier.verify(&token, NOW_US).unwrap();
    let mut claims = serde_json::to_value(Claims::of(&api_key(None))).unwrap();
    claims["project_id"] = json!("another");
    let forged = with_part(&token, 1, &claims);
    assert_eq!(verifier.verify(&forged, NOW_US), Err(KeyError::BadSignature));
}

#[test]
fn a_jwt_of_ours_for_another_purpose_is_refused() {
    let signer = signer();
    let key = EncodingKey::from_ed_der(&signer.der());
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(signer.public_key().kid().to_owned());
    let genuine = serde_json::to_value(Claims::of(&api_key(None))).unwrap();
    for (claim, value) in [
        ("aud", json!("millrace-receipt")),
        ("aud", json!(null)),
        ("iss", json!("somebody")),
        ("jti", json!("no uuid")),
        ("scopes", json!(["everything"])),
        ("project_id", json!(null)),
        ("exp", json!("soon")),
    ] {
        let mut claims = genuine.clone();
        claims[claim] = value.clone();
        let token = encode(&header, &claims, &key).unwrap();
        let answer = verifier_of(&signer).verify(&token, NOW_US);
        assert_eq!(answer, Err(KeyError::Malformed), "{claim} = {value}");
    }
}

#[test]
fn a_key_ends_at_its_time_even_when_it_is_remembered() {
    let signer = signer();
    let verifier = verifier_of(&signer);
    let token = signer.mint(&api_key(Some(NOW_US + 5_000_000))).unwrap();
    assert!(verifier.verify(&token, NOW_US + 4_999_999).is_ok());
    assert_eq!(verifier.verify(&token, NOW_US + 5_000_000), Err(KeyError::Expired));
}

#[test]
fn what_is_no_token_is_malformed() {
    let signer = signer();
    let verifier = verifier_of(&signer);
    let token = signer.mint(&api_key(None)).unwrap();
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    let more = format!("{token}.x");
    for text in ["", ".", "..", "a.b.c", "ü.é.ß", &long, &more, &token[..token.len() / 2]] {
        assert_eq!(verifier.verify(text, NOW_US), Err(KeyError::Malformed), "{text:.20}");
    }
    for end in 0..token.len() {
        assert!(verifier.verify(&token[..end], NOW_US).is_err(), "cut at {end}");
    }
}

#[test]
fn old_and_new_signers_are_both_honoured_while_they_change() {
    let (old, new) = (signer(), signer());
    let verifier = Verifier::new([old.public_key().clone(), new.public_key().clone()]);
    let verifier = verifier.without_revocations();
    for signer in [&old, &new] {
        assert!(verifier.verify(&signer.mint(&api_key(None)).unwrap(), NOW_US).is_ok());
    }
    let token = old.mint(&api_key(None)).unwrap();
    assert_eq!(verifier_of(&new).verify(&token, NOW_US), Err(KeyError::UnknownKey));
}

#[test]
fn the_memory_of_checked_tokens_is_bounded() {
    let signer = signer();
    let mut verifier = verifier_of(&signer);
    verifier.checked_max = 3;
    for n in 0..10 {
        let key = ApiKey { id: Uuid::from_u128(n), ..api_key(None) };
        let token = signer.mint(&key).unwrap();
        assert_eq!(verifier.verify(&token, NOW_US).unwrap().key_id, key.id);
        assert!(verifier.checked.read().unwrap().len() <= 3);
    }
}

#[test]
fn what_is_refused_is_not_remembered() {
    let (ours, stranger) = (signer(), signer());
    let verifier = verifier_of(&ours);
    let token = stranger.mint(&api_key(None)).unwrap();
    assert!(verifier.verify(&token, NOW_US).is_err());
    assert!(verifier.checked.read().unwrap().is_empty());
}

#[tokio::test]
async fn a_revocation_reaches_a_remembered_key_and_outlasts_the_store() {
    let signer = signer();
    let verifier = verifier_of(&signer);
    let store = MemoryStore::default();
    let token = signer.mint(&api_key(None)).unwrap();
    store.create_key(api_key(None)).await.unwrap();
    verifier.refresh(&store).await.unwrap();
    assert!(verifier.verify(&token, NOW_US).is_ok());

    store.revoke_key(Uuid::from_u128(7), NOW_US).await.unwrap();
    verifier.refresh(&store).await.unwrap();
    assert_eq!(verifier.verify(&token, NOW_US), Err(KeyError::Revoked));

    store.set_away(true);
    assert!(verifier.refresh(&store).await.is_err());
    assert_eq!(verifier.verify(&token, NOW_US), Err(KeyError::Revoked));
}

#[tokio::test(start_paused = true)]
async fn the_watch_goes_on_when_the_store_is_back() {
    let signer = signer();
    let verifier = Arc::new(verifier_of(&signer));
    let store = Arc::new(MemoryStore::default());
    let token = signer.mint(&api_key(None)).unwrap();
    store.create_key(ApiKey { revoked_us: Some(NOW_US), ..api_key(None) }).await.unwrap();
    store.set_away(true);
    let period = std::time::Duration::from_secs(2);
    let task = tokio::spawn(watch(Arc::clone(&verifier), store.clone(), period));
    store.asked().await;
    assert!(verifier.verify(&token, NOW_US).is_ok());
    store.set_away(false);
    while verifier.verify(&token, NOW_US) != Err(KeyError::Revoked) {
        tokio::time::sleep(period).await;
    }
    task.abort();
}
