//! What is sent: a receipt, with the headers of the Standard Webhooks specification 1.0.0 and its
//! asymmetric signature (`v1a`).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use serde::Deserialize;
use uuid::Uuid;

const AGENT: &str = concat!("Millrace/", env!("CARGO_PKG_VERSION"));

/// The request that carries a receipt. `None`: the token is no receipt, or the URL none.
pub(crate) fn request(
    url: &str,
    token: &str,
    now_seconds: i64,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Option<Request<Bytes>> {
    let id = id(token)?;
    let signature = STANDARD.encode(sign(format!("{id}.{now_seconds}.{token}").as_bytes()));
    Request::post(url)
        .header(CONTENT_TYPE, "application/jwt")
        .header(USER_AGENT, AGENT)
        .header("webhook-id", id.to_string())
        .header("webhook-timestamp", now_seconds)
        .header("webhook-signature", format!("v1a,{signature}"))
        .body(Bytes::copy_from_slice(token.as_bytes()))
        .ok()
}

/// A receipt's own id, from the claims of its token.
fn id(token: &str) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Claims {
        jti: Uuid,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.jti)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_over_its_id_its_time_and_its_body() {
        let jti = Uuid::from_u128(7);
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(format!(r#"{{"jti":"{jti}"}}"#)));
        let request =
            request("https://example.org/hook?key=1", &token, 99, <[u8]>::to_vec).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(header("webhook-id"), jti.to_string());
        assert_eq!(header("webhook-timestamp"), "99");
        let signed = format!("v1a,{}", STANDARD.encode(format!("{jti}.99.{token}")));
        assert_eq!(header("webhook-signature"), signed);
        assert_eq!(header("content-type"), "application/jwt");
        assert!(header("user-agent").starts_with("Millrace/"));
        assert_eq!(
            (request.method().as_str(), request.body().as_ref()),
            ("POST", token.as_bytes())
        );
    }

    #[test]
    fn what_is_no_receipt_or_no_url_makes_no_message() {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"jti":"x"}"#));
        for token in ["", "a", "a.b.c", "e30.e30.e30", &token] {
            assert!(request("https://example.org", token, 0, <[u8]>::to_vec).is_none(), "{token}");
        }
        let good =
            format!("e30.{}.", URL_SAFE_NO_PAD.encode(format!(r#"{{"jti":"{}"}}"#, Uuid::nil())));
        assert!(request("https://example.org", &good, 0, <[u8]>::to_vec).is_some());
        assert!(request("https://example.org /", &good, 0, <[u8]>::to_vec).is_none());
    }
}
