//! Tokens that are not genuine, in the places of those that are.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, ensure};
use aws_lc_rs::hmac::HMAC_SHA256;
use aws_lc_rs::signature::Ed25519KeyPair;
use millrace_tests::accounts::{Signed, TOKEN_SECRET, text};
use millrace_tests::client::Request;
use millrace_tests::forge::{self, Keys, Signer, with};
use serde_json::{Value, json};

use crate::call::Credential;
use crate::caller::Caller;
use crate::ways::{Finding, Way};

/// Tokens in whose place others are tried.
struct Genuine {
    /// Of a superuser.
    access: String,
    office: Signed,
    /// An API key.
    key: String,
    /// What signs API keys.
    key_signer: Ed25519KeyPair,
}

impl Finding<'_> {
    pub(crate) fn forged_ways(&mut self) -> Result<()> {
        let keys = self.installation.data().join("keys");
        let public_pem = fs::read_to_string(keys.join("signing.pub.pem"))?;
        let private = forge::der_of(&fs::read_to_string(keys.join("signing.pem"))?)?;
        let genuine = Genuine {
            access: self.superuser()?.token,
            office: self.office.clone(),
            key: self.installation.server.key.clone(),
            key_signer: Ed25519KeyPair::from_pkcs8(&private)?,
        };
        self.forge_in_earnest(&genuine)?;
        self.come_forged(Caller::Tampered, &genuine, forge::tampered)?;
        self.come_forged(Caller::AlgNone, &genuine, forge::unsigned)?;
        let strange = Keys::generate(public_pem)?;
        let confused = |token: &str| strange.confused(token, TOKEN_SECRET.as_bytes());
        self.come_forged(Caller::AlgConfusion, &genuine, confused)?;
        self.come_forged(Caller::Expired, &genuine, |token| genuine.expired(token))?;
        let audiences = self.audiences()?;
        self.come_forged(Caller::WrongAudience, &genuine, |token| {
            genuine.for_others(token, &audiences)
        })
    }

    /// What is signed anew without a change is taken: all else that is forged fails for its own
    /// reason.
    fn forge_in_earnest(&mut self, genuine: &Genuine) -> Result<()> {
        let again = |token: &str| -> Result<String> {
            let (header, claims) = forge::parts(token)?;
            genuine.signed(&header, &claims)
        };
        let access = Way::bearer(&again(&genuine.access)?);
        self.installation.expect(&access.put(Request::get("/logs")), 200)?;
        let pair = Way::pair(&again(&genuine.office.access)?, &again(&genuine.office.session)?);
        self.installation.expect(&pair.put(Request::get("/users/v1/bo")), 200)?;
        let key = Way::bearer(&again(&genuine.key)?);
        let project = &self.installation.server.project;
        let read = Request::get(format!("/v1/api/users/u/events?project_id={project}"));
        self.installation.expect(&key.put(read), 200)?;
        Ok(())
    }

    /// In every place what is forged of the token that is good there.
    fn come_forged(
        &mut self,
        caller: Caller,
        genuine: &Genuine,
        forge: impl Fn(&str) -> Result<Vec<String>>,
    ) -> Result<()> {
        let bearers = |token: &str| -> Result<Vec<Way>> {
            Ok(forge(token)?.iter().map(|token| Way::bearer(token)).collect())
        };
        self.come(caller, Credential::Access, bearers(&genuine.access)?);
        self.come(caller, Credential::Key, bearers(&genuine.key)?);
        let Signed { access, session, .. } = &genuine.office;
        for access in forge(access)? {
            self.come(caller, Credential::Pair, vec![Way::pair(&access, session)]);
        }
        for session in forge(session)? {
            self.come(caller, Credential::Pair, vec![Way::pair(access, &session)]);
        }
        Ok(())
    }

    /// The audiences of all kinds of tokens.
    fn audiences(&self) -> Result<BTreeSet<String>> {
        let mut audiences = BTreeSet::new();
        for way in self.ways.values().flatten() {
            let claims = way.token().and_then(|token| forge::parts(token).ok());
            audiences.extend(claims.and_then(|(_, claims)| text(&claims, "aud").ok()));
        }
        // Access, reset, verify, access and refresh of the back office, key.
        ensure!(audiences.len() >= 6, "two kinds of tokens have one audience: {audiences:?}");
        Ok(audiences)
    }
}

impl Genuine {
    /// Signed as genuine tokens of that header are.
    fn signed(&self, header: &Value, claims: &Value) -> Result<String> {
        let signer = match header.get("alg").and_then(Value::as_str) {
            Some("EdDSA") => Signer::Ed25519(&self.key_signer),
            _ => Signer::Hmac(HMAC_SHA256, TOKEN_SECRET.as_bytes()),
        };
        forge::token(header, claims, signer)
    }

    /// The token, if it had ended, or did not say when it ends.
    fn expired(&self, token: &str) -> Result<Vec<String>> {
        let (header, claims) = forge::parts(token)?;
        let now_s = jiff::Timestamp::now().as_second();
        let ends = [json!(now_s - 1), json!(now_s - 7_200), json!(0), json!(-1), json!("never")];
        let mut tokens = Vec::new();
        // An API key may be without an end.
        let none = (header.get("alg") == Some(&json!("HS256"))).then_some(Value::Null);
        for end in ends.into_iter().chain(none) {
            tokens.push(self.signed(&header, &with(&claims, "exp", end))?);
        }
        Ok(tokens)
    }

    /// The token, if it were meant for another end, or from somebody else.
    fn for_others(&self, token: &str, audiences: &BTreeSet<String>) -> Result<Vec<String>> {
        let (header, claims) = forge::parts(token)?;
        let own = text(&claims, "aud").unwrap_or_default();
        let others = audiences.iter().filter(|audience| **audience != own).map(|name| json!(name));
        let mut tokens = Vec::new();
        for audience in others.chain([json!("somebody")]) {
            tokens.push(self.signed(&header, &with(&claims, "aud", audience))?);
        }
        // A session token is documented without an audience and an issuer.
        if !own.is_empty() {
            for (name, value) in
                [("aud", Value::Null), ("iss", Value::Null), ("iss", json!("somebody"))]
            {
                tokens.push(self.signed(&header, &with(&claims, name, value))?);
            }
        }
        Ok(tokens)
    }
}
