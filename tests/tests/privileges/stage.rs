//! An installation with somebody of every kind, and the calls about them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, BOOTSTRAP_SECRET, CHEAP, Installation, PASSWORD, Person, Signed, audit_user,
    json_request, login_request, office_login_request, user_create,
};
use millrace_tests::client::Request;
use serde_json::{Value, json};

use crate::call::Call;
use crate::caller::Caller;
use crate::ways::{self, Way, Ways};

/// Everybody.
pub(crate) struct Stage {
    pub(crate) installation: Installation,
    /// Who sets things up; none of the callers.
    pub(crate) admin: Person,
    pub(crate) office: Signed,
    /// Whom the calls are about.
    pub(crate) alice: Person,
    /// Those who may sign in, by the kind of caller.
    people: BTreeMap<Caller, Person>,
    ways: Ways,
    /// Whom [`Call::DeleteUser`] names.
    doomed: Person,
    /// Whom [`Call::UpdateAuditUser`] names.
    audited: i64,
    /// Makes changes differ.
    count: u64,
}

impl Stage {
    pub(crate) fn set() -> Result<Self> {
        let mut installation = Installation::start(&CHEAP)?;
        let admin = installation.first_admin()?;
        let office = installation.bootstrap()?;
        let people = people(&mut installation, &admin)?;
        let alice = people.get(&Caller::User).context("no Alice")?.clone();
        let doomed = installation.join(None, &json!({}))?;
        let (_, audited) = installation.new_audit_user(&office)?;
        let ways = ways::of_everybody(&mut installation, &admin, &office, &people)?;
        Ok(Self { installation, admin, office, alice, people, ways, doomed, audited, count: 0 })
    }

    /// All that the calls may change: who was refused may not have.
    pub(crate) fn snapshot(&mut self) -> Result<String> {
        let consents = format!("/privacy/consents/{}", self.alice.id);
        let admin = Way::bearer(&self.admin.token);
        let office = Way::pair(&self.office.access, &self.office.session);
        let mut seen = String::new();
        for (path, way) in
            [("/users", &admin), (&consents, &admin), ("/users/v1/bo?pageSize=200", &office)]
        {
            let request = way.put(Request::get(path));
            seen.push_str(&self.installation.expect(&request, 200)?.text());
        }
        Ok(seen)
    }

    /// Every way in which a caller comes to a call.
    pub(crate) fn ways(&mut self, call: Call, caller: Caller) -> Result<Vec<Way>> {
        if let (Call::Logout, Some(person)) = (call, self.people.get(&caller)) {
            // The token is gone afterwards.
            let email = person.email.clone();
            return Ok(vec![Way::bearer(&self.installation.signed_in(&email)?.token)]);
        }
        Ok(self.ways.get(&(caller, call.credential())).cloned().unwrap_or_default())
    }

    /// The call, such that it succeeds whenever its caller may.
    pub(crate) fn request(&mut self, call: Call) -> Result<Request> {
        self.count += 1;
        let count = self.count;
        let (method, path) = call.operation();
        let project = &self.installation.server.project;
        let target = match call {
            Call::Consents => path.replace("{user_id}", &self.alice.id),
            Call::UpdateAuditUser => path.replace("{userId}", &self.audited.to_string()),
            Call::Events => format!("{path}?project_id={project}"),
            Call::UserEvents => format!("{}?project_id={project}", path.replace("{user_id}", "u")),
            _ => path.to_owned(),
        };
        if call == Call::Login {
            return Ok(login_request(&self.alice.email, PASSWORD));
        }
        if call == Call::OfficeLogin {
            return Ok(office_login_request(BACK_OFFICE_EMAIL, PASSWORD));
        }
        let body = self.body(call, count)?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Ok(json_request(method, &target, body))
    }

    fn body(&mut self, call: Call, count: u64) -> Result<Value> {
        let alice = &self.alice;
        Ok(match call {
            Call::Register => {
                let grants = json!({"is_superuser": true, "permissions": {"admin": ["budget"]}});
                user_create(&self.installation.new_email(), &grants)
            }
            Call::RegisterAdmin => {
                user_create(&self.installation.new_email(), &json!({"role": "admin"}))
            }
            Call::Google => json!({"id_token": "a.b.c"}),
            Call::ForgotPassword | Call::RequestVerify => json!({"email": alice.email}),
            Call::ResetPassword => {
                let email = self.installation.join(None, &json!({}))?.email;
                let token = self.installation.mailed_token("/auth/forgot-password", &email)?;
                json!({"token": token, "password": "Another-horse-8-battery"})
            }
            Call::Verify => {
                let email = self.installation.join(None, &json!({}))?.email;
                let token = self.installation.mailed_token("/auth/request-verify-token", &email)?;
                json!({"token": token})
            }
            Call::SetConsent => consent(alice, count),
            Call::UpdateBudget => json!({"id": alice.id, "budget": count}),
            Call::UpdateInfo => json!({"id": alice.id, "name": format!("Alice {count}")}),
            Call::DeleteUser => json!({"id": self.doomed()?}),
            Call::AdLog => {
                json!({"type": "ad_log", "action": "imp", "ad_log": format!("a{count}")})
            }
            Call::Activity => json!({
                "schema": "activity.item_view", "channel": "web", "device_id": "d",
                "timestamp": 1_737_092_362, "user_id": "u",
            }),
            Call::Bootstrap => json!({"secret": BOOTSTRAP_SECRET}),
            Call::Refresh => json!({"refreshToken": self.office.refresh}),
            Call::CreateAuditUser => audit_user(&self.installation.new_email()),
            Call::UpdateAuditUser => json!({"firstName": format!("Ada {count}")}),
            Call::Events => json!({"events": [{"user_id": "u", "name": "n"}]}),
            Call::Login
            | Call::OfficeLogin
            | Call::Logout
            | Call::Consents
            | Call::Users
            | Call::Me
            | Call::AuditLog
            | Call::OfficePeople
            | Call::UserEvents => Value::Null,
        })
    }

    /// Somebody who can be deleted: another if the last one was.
    fn doomed(&mut self) -> Result<String> {
        let query = format!("/users?id={}", self.doomed.id);
        let admin = self.admin.token.clone();
        let found = self.installation.json(("GET", &query), &admin, &Value::Null, 200)?;
        if found.as_array().is_some_and(Vec::is_empty) {
            self.doomed = self.installation.join(None, &json!({}))?;
        }
        Ok(self.doomed.id.clone())
    }
}

/// The body of a consent.
pub(crate) fn consent(of: &Person, version: u64) -> Value {
    json!({
        "consent_channel": "web_login",
        "email": of.email,
        "is_agreed": true,
        "policy_version": format!("1.0.{}", version % 50),
        "user_id": of.id,
    })
}

/// Those of the accounts API who may sign in, by the kind of caller.
fn people(installation: &mut Installation, admin: &Person) -> Result<BTreeMap<Caller, Person>> {
    let admin = Some(admin);
    let retailer = |right: &str| json!({"role": "retailer", "permissions": {"admin": [right], "r": ["budget"]}});
    Ok(BTreeMap::from([
        (Caller::User, installation.join(None, &json!({"name": "Alice"}))?),
        (Caller::AnotherUser, installation.join(None, &json!({}))?),
        (Caller::Retailer, installation.join(admin, &retailer("list_advertisers"))?),
        (Caller::BudgetRetailer, installation.join(admin, &retailer("budget"))?),
        (Caller::Admin, installation.join(admin, &json!({"role": "admin"}))?),
        (
            Caller::Superuser,
            installation.join(admin, &json!({"role": "retailer", "is_superuser": true}))?,
        ),
    ]))
}
