//! Signing in with Google, with keys from a server of our own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::common::Server;
use crate::people::{me, post_json};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Serves the public half of a key at the path that it returns.
fn serve(key: &KeyPair) -> String {
    let public = key.public_key();
    let modulus = encode(public.modulus().big_endian_without_leading_zero());
    let exponent = encode(public.exponent().big_endian_without_leading_zero());
    let keys =
        json!({"keys": [{"kty": "RSA", "alg": "RS256", "kid": "1", "n": modulus, "e": exponent}]});
    let body = keys.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/certs", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            assert!(head[..read].starts_with(b"GET /certs HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

fn id_token(key: &KeyPair, audience: &str) -> Value {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": "https://accounts.google.com", "aud": audience, "sub": "1", "name": "Kim",
        "email": "kim@example.com", "email_verified": true, "exp": now_s + 3_600,
    });
    let header = json!({"alg": "RS256", "kid": "1"});
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    json!({"id_token": format!("{signed}.{}", encode(signature))})
}

#[test]
fn who_google_knows_signs_in_for_each_client_that_is_configured() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = serve(&key);
    let ids = ["--google-client-id", "one", "--google-client-id", "two"];
    let args = [&ids[..], &["--google-jwks-url", &url]].concat();
    let server = Server::start_with(&folder.path().join("data"), &args);
    for client in ["one", "two"] {
        let answer = post_json(&server, "/auth/google", &id_token(&key, client));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(me(&server, &token), 200);
    }
    let other = post_json(&server, "/auth/google", &id_token(&key, "three"));
    assert_eq!(other.json(), json!({"detail": "LOGIN_BAD_CREDENTIALS"}));
}

#[test]
fn keys_that_are_away_are_503_and_no_client_is_501() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/certs");
    let args = ["--google-client-id", "one", "--google-jwks-url", &url];
    let server = Server::start_with(&data, &args);
    assert_eq!(post_json(&server, "/auth/google", &id_token(&key, "one")).status, 503);
    server.terminate();
    let server = Server::start(&data);
    assert_eq!(post_json(&server, "/auth/google", &id_token(&key, "one")).status, 501);
}
