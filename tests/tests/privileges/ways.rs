//! How every caller comes to a call: the headers that they bring.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use millrace_tests::accounts::{Installation, Person, Signed, TOKEN_SECRET, json_request, text};
use millrace_tests::client::Request;
use millrace_tests::forge::{self, with};
use millrace_tests::{generator, observe};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::Credential;
use crate::caller::Caller;

/// The headers that tell who calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    authorization: Option<String>,
    session: Option<String>,
}

impl Way {
    pub(crate) fn bearer(token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), session: None }
    }

    pub(crate) fn pair(access: &str, session: &str) -> Self {
        Self { session: Some(session.to_owned()), ..Self::bearer(access) }
    }

    /// The token after `Bearer`.
    pub(crate) fn token(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }

    pub(crate) fn put(&self, mut request: Request) -> Request {
        let headers = [("Authorization", &self.authorization), ("x-session-token", &self.session)];
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }
}

/// Every way in which a caller comes to the calls that ask for a kind of credential.
pub(crate) type Ways = BTreeMap<(Caller, Credential), Vec<Way>>;

/// The ways of all callers; `people` may sign in.
pub(crate) fn of_everybody(
    installation: &mut Installation,
    admin: &Person,
    office: &Signed,
    people: &BTreeMap<Caller, Person>,
) -> Result<Ways> {
    let mut found = Finding { installation, admin, office, ways: Ways::new() };
    found.good_ways(people)?;
    found.dead_ways()?;
    found.ways_of_another_kind()?;
    found.forged_ways()?;
    Ok(found.ways)
}

/// Ways that are being found.
pub(crate) struct Finding<'i> {
    pub(crate) installation: &'i mut Installation,
    admin: &'i Person,
    pub(crate) office: &'i Signed,
    pub(crate) ways: Ways,
}

impl Finding<'_> {
    /// Somebody new whom nothing is denied.
    pub(crate) fn superuser(&mut self) -> Result<Person> {
        let grants = json!({"role": "retailer", "is_superuser": true});
        self.installation.join(Some(self.admin), &grants)
    }

    pub(crate) fn come(&mut self, caller: Caller, credential: Credential, ways: Vec<Way>) {
        self.ways.entry((caller, credential)).or_default().extend(ways);
    }

    /// A token that is none of the back office's, in either place and in both.
    fn in_pairs(&self, token: &str) -> Vec<Way> {
        let office = self.office;
        let alone = Way::bearer(token);
        let pairs =
            [(token, &*office.session), (&*office.access, token), (token, token)].into_iter();
        pairs.map(|(access, session)| Way::pair(access, session)).chain([alone]).collect()
    }

    /// A token that is good for nothing, wherever it may be sent.
    fn come_with(&mut self, caller: Caller, token: &str) {
        self.come(caller, Credential::Access, vec![Way::bearer(token)]);
        self.come(caller, Credential::Key, vec![Way::bearer(token)]);
        let pairs = self.in_pairs(token);
        self.come(caller, Credential::Pair, pairs);
    }

    fn good_ways(&mut self, people: &BTreeMap<Caller, Person>) -> Result<()> {
        for (caller, person) in people {
            self.come_with(*caller, &person.token);
        }
        let (email, _) = self.installation.new_audit_user(self.office)?;
        let audit = self.installation.office_signed_in(&email)?;
        for (caller, signed) in
            [(Caller::AuditUser, audit), (Caller::BackOfficeUser, self.office.clone())]
        {
            let Signed { access, session, .. } = signed;
            let ways =
                vec![Way::bearer(&access), Way::bearer(&session), Way::pair(&access, &session)];
            self.come(caller, Credential::Access, ways.clone());
            self.come(caller, Credential::Key, ways);
            self.come(caller, Credential::Pair, vec![Way::pair(&access, &session)]);
        }
        let key = self.installation.server.key.clone();
        self.come_with(Caller::Key, &key);
        let read_key = self.new_key(&["--scope", "read"])?;
        self.come_with(Caller::ReadKey, &read_key);
        let Signed { access, session, .. } = self.office.clone();
        let raw = |text: &str| Way { authorization: Some(text.to_owned()), session: None };
        let empty = vec![Way::default(), raw("Bearer "), raw("Bearer"), raw("Basic YTpi")];
        for credential in [Credential::Access, Credential::Key] {
            self.come(Caller::Nobody, credential, empty.clone());
        }
        let alone = Way { authorization: None, session: Some(session) };
        let half = [Way::bearer(&access), alone];
        self.come(Caller::Nobody, Credential::Pair, empty.into_iter().chain(half).collect());
        Ok(())
    }

    fn new_key(&self, args: &[&str]) -> Result<String> {
        let project = self.installation.server.project.clone();
        let create = ["key", "create", "--project", &project];
        let made = self.installation.command(&[&create, args].concat(), "")?;
        text(&serde_json::from_str(&made)?, "api_key")
    }

    /// Tokens that were good until something happened to their owner.
    fn dead_ways(&mut self) -> Result<()> {
        let admin = self.admin.clone();
        let update = ("PATCH", "/user/info");
        let person = self.superuser()?;
        let change = json!({"id": person.id, "is_active": false});
        self.installation.json(update, &admin.token, &change, 200)?;
        self.come_with(Caller::Deactivated, &person.token);

        let person = self.superuser()?;
        let whom = json!({"id": person.id});
        self.installation.json(("DELETE", "/users"), &admin.token, &whom, 200)?;
        self.come_with(Caller::Deleted, &person.token);

        let person = self.superuser()?;
        let logout = Request::post("/auth/jwt/logout", "").bearer(&person.token);
        self.installation.expect(&logout, 204)?;
        self.come_with(Caller::LoggedOut, &person.token);

        let person = self.superuser()?;
        let change = json!({"password": "Another-horse-8-battery"});
        self.installation.json(update, &person.token, &change, 200)?;
        self.come_with(Caller::PasswordChanged, &person.token);
        self.dead_office_ways()?;

        let key = self.new_key(&[])?;
        let (_, claims) = forge::parts(&key)?;
        self.installation.command(&["key", "revoke", &text(&claims, "jti")?], "")?;
        self.come(Caller::LoggedOut, Credential::Key, vec![Way::bearer(&key)]);
        Ok(())
    }

    /// The same of the back office, where an audit user is let in (403) until it happens (401).
    fn dead_office_ways(&mut self) -> Result<()> {
        let (email, _) = self.installation.new_audit_user(self.office)?;
        let signed = self.installation.office_signed_in(&email)?;
        self.installation.command(&["user", "deactivate", &email], "")?;
        let way = Way::pair(&signed.access, &signed.session);
        self.come(Caller::Deactivated, Credential::Pair, vec![way]);

        let (email, _) = self.installation.new_audit_user(self.office)?;
        let signed = self.installation.office_signed_in(&email)?;
        let args = ["user", "set-password", &email, "--password-stdin"];
        self.installation.command(&args, "Another-horse-8-battery!")?;
        let way = Way::pair(&signed.access, &signed.session);
        self.come(Caller::PasswordChanged, Credential::Pair, vec![way]);

        // Nobody is deleted or logged out there: an id and a session that never were.
        let (_, access) = forge::parts(&self.office.access)?;
        let (_, session) = forge::parts(&self.office.session)?;
        let way = |access: &Value, session: &Value| -> Result<Way> {
            let sign = |claims: &Value| forge::hs256(claims, TOKEN_SECRET);
            Ok(Way::pair(&sign(access)?, &sign(session)?))
        };
        let nobody = json!("9007199254740991");
        let deleted =
            way(&with(&access, "sub", nobody.clone()), &with(&session, "userId", nobody))?;
        self.come(Caller::Deleted, Credential::Pair, vec![deleted]);
        let no_session = json!(Uuid::new_v4());
        let other_access = with(&access, "session", no_session.clone());
        let other_session = with(&session, "sessionId", no_session);
        let ways = [(&other_access, &other_session), (&access, &other_session)];
        let ways = ways.map(|(access, session)| way(access, session));
        self.come(Caller::LoggedOut, Credential::Pair, ways.into_iter().collect::<Result<_>>()?);
        // The way in which those are made is the genuine one.
        let list = json_request("GET", "/users/v1/bo", "");
        self.installation.expect(&way(&access, &session)?.put(list), 200)?;
        Ok(())
    }

    fn ways_of_another_kind(&mut self) -> Result<()> {
        let person = self.superuser()?;
        let reset = self.installation.mailed_token("/auth/forgot-password", &person.email)?;
        let verify = self.installation.mailed_token("/auth/request-verify-token", &person.email)?;
        let receipt = self.receipt()?;
        let Signed { session, refresh, .. } = self.office.clone();
        self.come_with(Caller::ResetToken, &reset);
        self.come_with(Caller::VerifyToken, &verify);
        self.come_with(Caller::RefreshToken, &refresh);
        self.come_with(Caller::Receipt, &receipt);
        for credential in [Credential::Access, Credential::Key] {
            self.come(Caller::SessionToken, credential, vec![Way::bearer(&session)]);
        }
        // In its own place it is good.
        let ways = vec![Way::bearer(&session), Way::pair(&session, &session)];
        self.come(Caller::SessionToken, Credential::Pair, ways);
        Ok(())
    }

    fn receipt(&mut self) -> Result<String> {
        let mut client = self.installation.server.client();
        let answer = client.send(&client.call(generator::path::DELETE, r#"{"user_id":"u"}"#))?;
        let location = answer.header("location").context("no job")?;
        let job = location.split(['/', '?']).find_map(|part| part.parse::<Uuid>().ok());
        let job = job.context("no job")?;
        observe::wait_idle(&self.installation.server, &BTreeSet::from([job]))?;
        observe::receipt(&mut client, job)
    }
}
