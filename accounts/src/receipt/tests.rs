use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_schema::Topic;
use millrace_schema::receipt::{
    IDS_HASH_ALGORITHM, IdsHash, Previous, ReadBack, Receipt, Residual, TYP,
};
use millrace_schema::record::{Fence, Reach};
use millrace_store::{AccountStore, ApiKey, Scope};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::signing_key::SigningKey;
use crate::testing::{MemoryStore, signer};
use crate::{KeyError, Signer, Verifier};

fn receipt() -> Receipt {
    Receipt {
        iss: "millrace".to_owned(),
        iat: 1_737_092_363,
        jti: Uuid::from_u128(1),
        project_id: "shop".to_owned(),
        job_id: Uuid::from_u128(2),
        accepted_at: "2025-01-17T05:39:22Z".to_owned(),
        settled_at: "2025-01-17T05:39:23Z".to_owned(),
        completed_at: "2025-01-17T05:39:23.5Z".to_owned(),
        users: 1,
        ids: IdsHash {
            alg: IDS_HASH_ALGORITHM.to_owned(),
            salt: "00".to_owned(),
            hash: "11".to_owned(),
        },
        erased: Reach::ALL.to_vec(),
        fence: vec![Fence { topic: Topic::Events, partition: 0, first: 1, last: 1, count: 1 }],
        read_back: ReadBack { sampled: 1, found: 0 },
        residuals: vec![Residual { place: "log".to_owned(), until: None, note: String::new() }],
        number: 2,
        previous: Some(Previous { job_id: Uuid::from_u128(3), hash: "22".to_owned() }),
    }
}

fn receipt_signer() -> ReceiptSigner {
    let folder = tempfile::tempdir().unwrap();
    ReceiptSigner::load_or_create(&folder.path().join("receipts.pem")).unwrap()
}

fn api_key() -> ApiKey {
    ApiKey {
        id: Uuid::from_u128(7),
        project: "shop".to_owned(),
        scopes: Scope::ALL.to_vec(),
        created_us: 1_737_092_362_000_000,
        expires_us: None,
        revoked_us: None,
    }
}

fn part(json: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token with another header over the same claims and signature.
fn with_header(token: &str, header: &serde_json::Value) -> String {
    format!("{}.{}", part(header), token.split_once('.').unwrap().1)
}

#[test]
fn a_receipt_comes_back_as_it_was_signed() {
    let signer = receipt_signer();
    let token = signer.sign(&receipt()).unwrap();
    let keys = Jwks::of(&[receipt_signer().receipt_key(), signer.receipt_key()]);
    assert_eq!(verify_receipt(&token, &keys), Ok(receipt()));
    let keys: Jwks = serde_json::from_str(&serde_json::to_string(&keys).unwrap()).unwrap();
    assert_eq!(verify_receipt(&token, &keys), Ok(receipt()));
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("deletion-receipt+jwt"));
    assert_eq!(header.kid.as_deref(), Some(signer.public_key().kid()));
}

#[test]
fn the_set_of_keys_is_as_rfc_8037_has_it() {
    let key = receipt_signer().receipt_key();
    let x = URL_SAFE_NO_PAD.encode(&key.public);
    let expected = json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "x": x, "kid": key.kid, "alg": "EdDSA", "use": "sig",
    }]});
    assert_eq!(serde_json::to_value(Jwks::of(&[key])).unwrap(), expected);
}

#[test]
fn a_receipt_that_was_changed_anywhere_is_refused() {
    let signer = receipt_signer();
    let keys = Jwks::of(&[signer.receipt_key()]);
    let token = signer.sign(&receipt()).unwrap();
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let fewer = Receipt { users: 0, ..receipt() };
    let claims = part(&serde_json::to_value(fewer).unwrap());
    let forged = format!("{header}.{claims}.{signature}");
    assert_eq!(verify_receipt(&forged, &keys), Err(ReceiptError::BadSignature));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verify_receipt(&changed, &keys).is_err(), "byte {at}");
    }
}

#[test]
fn what_a_token_says_of_its_algorithm_and_type_is_not_believed() {
    let signer = receipt_signer();
    let keys = Jwks::of(&[signer.receipt_key()]);
    let token = signer.sign(&receipt()).unwrap();
    let kid = signer.public_key().kid();
    for header in [
        json!({"alg": "none", "typ": TYP, "kid": kid}),
        json!({"alg": "HS256", "typ": TYP, "kid": kid}),
        json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}),
        json!({"alg": "EdDSA", "kid": kid}),
        json!({"alg": "EdDSA", "typ": TYP}),
    ] {
        let refused = verify_receipt(&with_header(&token, &header), &keys);
        assert!(matches!(refused, Err(ReceiptError::Malformed(_))), "{header}: {refused:?}");
        let unsigned = format!("{}.{}.", part(&header), token.split('.').nth(1).unwrap());
        assert!(verify_receipt(&unsigned, &keys).is_err(), "{header}");
    }
    for token in ["", "a", "a.b.c", &"a".repeat(5 * 1024 * 1024)] {
        assert!(matches!(verify_receipt(token, &keys), Err(ReceiptError::Malformed(_))));
    }
}

#[test]
fn a_receipt_under_a_key_that_is_not_in_the_set_is_refused() {
    let signer = receipt_signer();
    let token = signer.sign(&receipt()).unwrap();
    let kid = signer.public_key().kid().to_owned();
    let foreign = Jwks::of(&[receipt_signer().receipt_key()]);
    assert_eq!(verify_receipt(&token, &foreign), Err(ReceiptError::UnknownKey(kid.clone())));
    let mut other_kind = Jwks::of(&[signer.receipt_key()]);
    other_kind.keys[0].kty = "oct".to_owned();
    assert_eq!(verify_receipt(&token, &other_kind), Err(ReceiptError::UnknownKey(kid.clone())));
    // Another key under its name.
    let mut posing = foreign;
    posing.keys[0].kid = kid;
    assert_eq!(verify_receipt(&token, &posing), Err(ReceiptError::BadSignature));
}

#[test]
fn a_receipt_is_no_api_key_and_an_api_key_no_receipt() {
    let (keys_signer, receipts_signer) = (signer(), receipt_signer());
    let verifier = Verifier::new([keys_signer.public_key().clone()]).without_revocations();
    let receipt_token = receipts_signer.sign(&receipt()).unwrap();
    assert_eq!(verifier.verify(&receipt_token, 0), Err(KeyError::Malformed));
    let api_token = keys_signer.mint(&api_key()).unwrap();
    let jwks = Jwks::of(&[receipts_signer.receipt_key()]);
    assert!(matches!(verify_receipt(&api_token, &jwks), Err(ReceiptError::Malformed(_))));
}

#[test]
fn not_even_one_key_for_both_makes_one_pass_as_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.pem");
    let key = SigningKey::load_or_create(&path).unwrap();
    let keys_signer = Signer::load_or_create(&path).unwrap();
    let receipts_signer = ReceiptSigner::load_or_create(&path).unwrap();
    let verifier = Verifier::new([keys_signer.public_key().clone()]).without_revocations();
    let jwks = Jwks::of(&[receipts_signer.receipt_key()]);
    let api_token = keys_signer.mint(&api_key()).unwrap();
    assert!(verifier.verify(&api_token, 0).is_ok());
    assert!(matches!(verify_receipt(&api_token, &jwks), Err(ReceiptError::Malformed(_))));
    let receipt_token = receipts_signer.sign(&receipt()).unwrap();
    assert_eq!(verifier.verify(&receipt_token, 0), Err(KeyError::Malformed));
    // Nor with all claims of both.
    let mut claims = serde_json::to_value(receipt()).unwrap();
    claims["aud"] = json!("millrace-api");
    claims["scopes"] = json!(["read"]);
    let both = key.token(TYP, &claims).unwrap();
    assert!(verify_receipt(&both, &jwks).is_ok(), "the claims are good");
    assert_eq!(verifier.verify(&both, 0), Err(KeyError::Malformed));
}

#[test]
fn bytes_are_signed_as_ed25519_has_it() {
    let signer = receipt_signer();
    let signature = signer.sign_bytes(b"id.0.body");
    let public = signer.receipt_key().public;
    let public =
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
    assert!(public.verify(b"id.0.body", &signature).is_ok());
    assert!(public.verify(b"id.1.body", &signature).is_err());
}

#[tokio::test(start_paused = true)]
async fn keys_are_read_once_a_second_and_stay_while_the_store_is_away() {
    let store = Arc::new(MemoryStore::default());
    let keys = ReceiptKeys::new(Arc::clone(&store) as Arc<dyn AccountStore>);
    store.set_away(true);
    assert!(keys.jwks().await.is_err(), "never read");
    store.set_away(false);
    assert_eq!(keys.jwks().await.unwrap().keys.len(), 0);
    store.add_receipt_key(receipt_signer().receipt_key()).await.unwrap();
    assert_eq!(keys.jwks().await.unwrap().keys.len(), 0, "still fresh");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(keys.jwks().await.unwrap().keys.len(), 1);
    store.set_away(true);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(keys.jwks().await.unwrap().keys.len(), 1, "as they were last read");
}
