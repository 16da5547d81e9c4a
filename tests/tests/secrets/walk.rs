//! A walk through every call, right and wrong, with secrets that are known again.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, BOOTSTRAP_SECRET, CHEAP, Installation, PASSWORD, TOKEN_SECRET, audit_user,
    json_request, login_request, office_login_request, text, user_create,
};
use millrace_tests::client::{Answer, Request, percent_encode};
use millrace_tests::observe;
use serde_json::{Value, json};

/// A run through every call.
pub(crate) struct Walk {
    pub(crate) installation: Installation,
    /// What must not be found: what it is, and its text.
    pub(crate) secrets: Vec<(&'static str, String)>,
    /// Who must not be found in the log.
    pub(crate) people: BTreeSet<String>,
    /// What was said to clients beside tokens.
    pub(crate) said: String,
    /// How many were sent and counted.
    pub(crate) requests: usize,
}

impl Walk {
    fn begin() -> Result<Self> {
        let installation = Installation::start(&[&CHEAP[..], &["--log", "trace"]].concat())?;
        let people = BTreeSet::from([BACK_OFFICE_EMAIL.to_owned()]);
        let mut walk =
            Self { installation, secrets: Vec::new(), people, said: String::new(), requests: 0 };
        walk.keep("the token secret", TOKEN_SECRET);
        walk.keep("the bootstrap secret", BOOTSTRAP_SECRET);
        walk.keep("a hash", "$argon2");
        let key = walk.installation.server.key.clone();
        walk.token("an API key", &key);
        Ok(walk)
    }

    fn keep(&mut self, what: &'static str, secret: &str) -> String {
        self.secrets.push((what, secret.to_owned()));
        secret.to_owned()
    }

    /// A password of its own for each use, so that what leaks tells where.
    fn password(&mut self, what: &'static str) -> String {
        let password = format!("Pw7!{}-Zx", self.secrets.len() * 7_919 + 1_000_003);
        self.keep(what, &password)
    }

    /// Keeps what of a token only its bearer knows. Header and claims can be guessed in part, but
    /// the id in the claims makes them unlike all others.
    fn token(&mut self, what: &'static str, token: &str) {
        for part in token.split('.').skip(1).filter(|part| part.len() > 16) {
            self.keep(what, part);
        }
    }

    /// Sends a request, whose answer is searched if it is a refusal.
    fn send(&mut self, request: &Request) -> Result<Answer> {
        let answer = self.installation.send(request)?;
        self.requests += 1;
        ensure!(answer.status < 500 || answer.status == 501, "{answer:?}");
        let headers: String =
            answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        self.said.push_str(&headers);
        if answer.status >= 400 {
            self.said.push_str(&answer.text());
        }
        Ok(answer)
    }

    /// As [`Walk::send`], of an answer that holds no secret even if it succeeds.
    fn ask(&mut self, request: &Request) -> Result<Value> {
        let answer = self.send(request)?;
        self.said.push_str(&answer.text());
        Ok(answer.json().unwrap_or_default())
    }

    fn json(&mut self, method: &str, path: &str, bearer: &str, body: &Value) -> Result<Value> {
        self.ask(&json_request(method, path, body.to_string()).bearer(bearer))
    }

    /// Signs in, and keeps the token.
    fn login(&mut self, email: &str, password: &str) -> Result<String> {
        let answer: Value = self.send(&login_request(email, password))?.json()?;
        let token = text(&answer, "access_token")?;
        self.token("an access token", &token);
        Ok(token)
    }

    fn mailed(&mut self, path: &str, email: &str) -> Result<String> {
        let token = self.installation.mailed_token(path, email)?;
        self.token("a mailed token", &token);
        self.keep("a mailed link", &percent_encode(&token));
        Ok(token)
    }

    /// Registering, signing in and out, and everything that can go wrong with it.
    fn users(&mut self) -> Result<String> {
        let admin = self.installation.first_admin()?;
        self.keep("the password of all", PASSWORD);
        self.token("an access token", &admin.token);
        self.people.extend([admin.id.clone(), admin.email.clone()]);
        let password = self.password("a user's password");
        let email = "recognisable.person@example.com";
        let create = user_create(email, &json!({"password": password})).to_string();
        let user = self.ask(&json_request("POST", "/auth/register", create.clone()))?;
        let id = text(&user, "id")?;
        self.people.extend([id.clone(), email.to_owned()]);
        // Taken, too short, the address itself, no text, no JSON.
        self.ask(&json_request("POST", "/auth/register", create.clone()))?;
        for bad in [json!("Sh0rt!x"), json!(email), json!([password]), json!({"p": password})] {
            let body = user_create("another.person@example.com", &json!({"password": bad}));
            self.ask(&json_request("POST", "/auth/register", body.to_string()))?;
        }
        self.ask(&json_request("POST", "/auth/register", &create.as_bytes()[..create.len() - 1]))?;
        let refused = self.password("a wrong password");
        self.ask(&login_request(email, &refused))?;
        self.ask(&login_request(&refused, &password))?;
        self.ask(&login_request(email, ""))?;
        // In the wrong place: a query, JSON instead of a form.
        let query = format!("/auth/jwt/login?password={password}");
        self.ask(&Request::post(query, format!("username={email}")))?;
        let body = json!({"username": email, "password": password}).to_string();
        self.ask(&json_request("POST", "/auth/jwt/login", body))?;

        let token = self.login(email, &password)?;
        self.json("GET", "/users/me", &token, &Value::Null)?;
        let consent = json!({
            "consent_channel": "web_login", "email": email, "is_agreed": true,
            "policy_version": "1.0.0", "user_id": id,
        });
        self.json("POST", "/privacy/consents", &token, &consent)?;
        self.json("GET", &format!("/privacy/consents/{id}"), &token, &Value::Null)?;
        let changed = self.password("a changed password");
        self.json("PATCH", "/user/info", &token, &json!({"password": "Sh0rt!x"}))?;
        self.json("PATCH", "/user/info", &token, &json!({"password": changed}))?;
        let token = self.login(email, &changed)?;
        self.send(&Request::post("/auth/jwt/logout", "").bearer(&token))?;
        self.bad_bearers(&token)?;
        self.mails(email)?;
        self.json("PATCH", "/user/budget", &admin.token, &json!({"id": id, "budget": 7}))?;
        // Where the user is shown it is; an audit entry must not have it.
        let webhook = self.keep("a webhook", "https://hooks.example.com/recognisable-webhook");
        let preferences = json!({"notification_methods_data": {"slack": webhook}});
        let change = json!({"id": id, "preferences": preferences}).to_string();
        self.send(&json_request("PATCH", "/user/info", change).bearer(&admin.token))?;
        let delete = json!({"id": id}).to_string();
        self.send(&json_request("DELETE", "/users", delete).bearer(&admin.token))?;
        Ok(admin.token)
    }

    /// Tokens that are refused, and things that are none.
    fn bad_bearers(&mut self, dead: &str) -> Result<()> {
        let stray = self.keep("a stray bearer", "stray-bearer-0123456789");
        let forged = format!("{dead}x");
        for path in ["/users/me", "/logs", "/users/v1/bo", "/v1/api/events?project_id=demo"] {
            for bearer in [dead, &forged, &stray] {
                let request = Request::get(path).bearer(bearer).header("x-session-token", bearer);
                self.ask(&request)?;
                self.ask(&Request::post(path, "{}").bearer(bearer))?;
            }
            self.ask(&Request::get(path).header("Authorization", &format!("Basic {stray}")))?;
        }
        self.ask(&Request::get(format!("/users/me?access_token={stray}")))?;
        self.ask(&Request::get(format!("/privacy/consents/{stray}")).bearer(&stray))?;
        Ok(())
    }

    fn mails(&mut self, email: &str) -> Result<()> {
        self.mailed("/auth/request-verify-token", email)?;
        let verify = self.mailed("/auth/request-verify-token", email)?;
        let reset = self.mailed("/auth/forgot-password", email)?;
        let password = self.password("a password after a reset");
        let body = |token: &str| json!({"token": token, "password": password}).to_string();
        self.ask(&json_request("POST", "/auth/reset-password", body(&verify)))?;
        self.ask(&json_request("POST", "/auth/reset-password", body(&reset)))?;
        self.ask(&json_request("POST", "/auth/reset-password", body(&reset)))?;
        let verify = json!({"token": verify}).to_string();
        self.ask(&json_request("POST", "/auth/verify", verify.clone()))?;
        self.ask(&json_request("POST", "/auth/verify", verify))?;
        let google = self.keep("a token of Google's", "google-id-token-9876543210");
        let body = json!({"id_token": format!("e30.{google}.{google}")}).to_string();
        self.ask(&json_request("POST", "/auth/google", body))?;
        self.login(email, &password)?;
        Ok(())
    }

    fn back_office(&mut self) -> Result<()> {
        let wrong = self.keep("a wrong bootstrap secret", "wrong-bootstrap-secret-55555");
        let path = "/users/v1/bo/back-office/bootstrap";
        self.ask(&json_request("POST", path, json!({"secret": wrong}).to_string()))?;
        let office = self.installation.bootstrap()?;
        self.ask(&json_request("POST", path, json!({"secret": BOOTSTRAP_SECRET}).to_string()))?;
        for token in [&office.access, &office.session, &office.refresh] {
            self.token("a token of the back office", token);
        }
        let signed = |request: Request| {
            request.bearer(&office.access).header("x-session-token", &office.session)
        };
        let email = "recognisable.auditor@example.com";
        self.people.insert(email.to_owned());
        let password = self.password("an audit user's password");
        let mut body = audit_user(email);
        body["password"] = json!(password);
        for body in [body.to_string(), body.to_string(), format!("{body}}}")] {
            self.ask(&signed(json_request("POST", "/users/v1/bo/audit", body)))?;
        }
        body["password"] = json!(self.keep("a refused password", "nodigits-nouppercase"));
        self.ask(&signed(json_request("POST", "/users/v1/bo/audit", body.to_string())))?;
        let page = self.ask(&signed(Request::get("/users/v1/bo")))?;
        let rows = page["data"].as_array().context("no rows")?;
        let id = rows.iter().find(|row| row["email"] == email).context("no audit user")?;
        let patch = json!({"firstName": "Eve", "password": password}).to_string();
        let path = format!("/users/v1/bo/audit/{}", id["id"]);
        self.ask(&signed(json_request("PATCH", &path, patch)))?;
        let wrong = self.password("a wrong password of the back office");
        self.ask(&office_login_request(email, &wrong))?;
        let answer: Value = self.send(&office_login_request(email, &password))?.json()?;
        for name in ["accessToken", "sessionToken", "refreshToken"] {
            let token = text(&answer["data"], name)?;
            self.token("an audit user's token", &token);
            let body = json!({"refreshToken": token}).to_string();
            let refreshed: Value =
                self.send(&json_request("POST", "/auth/v1/bo/token/refresh", body))?.json()?;
            for name in ["accessToken", "sessionToken"] {
                if let Ok(token) = text(&refreshed, name) {
                    self.token("a refreshed token", &token);
                }
            }
        }
        Ok(())
    }

    /// The log calls and the ingestion, good and bad.
    fn ingestion(&mut self) -> Result<()> {
        let key = self.installation.server.key.clone();
        let activity = json!({
            "schema": "activity.item_view", "channel": "web", "device_id": "d",
            "timestamp": 1_737_092_362, "user_id": "recognisable-data-subject",
        });
        self.people.insert("recognisable-data-subject".to_owned());
        let ad_log = json!({"type": "ad_log", "action": "imp", "ad_log": "recognisable-ad-log"});
        self.people.insert("recognisable-ad-log".to_owned());
        for (path, body) in [("/app/v0/log", &ad_log), ("/app/v0/log/activity", &activity)] {
            self.ask(&json_request("POST", path, body.to_string()).bearer(&key))?;
            self.ask(&json_request("POST", path, format!("[{body}]")).bearer(&key))?;
            self.ask(&json_request("POST", path, format!("{body}")).bearer(&format!("{key}x")))?;
        }
        let event = json!({"events": [{"user_id": "recognisable-data-subject", "name": "n"}]});
        let events = "/v1/api/events?project_id=demo";
        self.ask(&json_request("POST", events, event.to_string()).bearer(&key))?;
        let bad = json!({"events": [{"user_id": "recognisable-data-subject"}]});
        self.ask(&json_request("POST", events, bad.to_string()).bearer(&key))?;
        observe::wait_idle(&self.installation.server, &BTreeSet::new())
    }

    /// Commands, whose output is searched, but for a new key's.
    fn commands(&mut self) -> Result<()> {
        let password = self.password("a password of the command line");
        let create = ["user", "create", "--email", "made.by.hand@example.com"];
        let rest = ["--name", "By hand", "--role", "retailer", "--password-stdin"];
        self.people.insert("made.by.hand@example.com".to_owned());
        let made = self.installation.command(&[&create[..], &rest].concat(), &password)?;
        self.said.push_str(&made);
        let password = self.password("a password set at the command line");
        let set = ["user", "set-password", "made.by.hand@example.com", "--password-stdin"];
        let lists = [&["user", "list"][..], &["key", "list"], &["project", "list"], &["ledger"]];
        for args in
            [&set[..], &["user", "deactivate", "made.by.hand@example.com"]].into_iter().chain(lists)
        {
            let said = self.installation.command(args, &password)?;
            self.said.push_str(&said);
        }
        let project = self.installation.server.project.clone();
        let made = self.installation.command(&["key", "create", "--project", &project], "")?;
        self.token("a new API key", &text(&serde_json::from_str(&made)?, "api_key")?);
        Ok(())
    }

    /// What an admin reads, and what the process says of itself.
    fn read_everything(&mut self, admin: &str) -> Result<usize> {
        let entries = self.json("GET", "/logs", admin, &Value::Null)?;
        self.json("GET", "/users", admin, &Value::Null)?;
        for path in ["/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json"] {
            self.ask(&Request::get(path))?;
        }
        for path in ["/metrics", "/ledger"] {
            let answer = self.installation.server.admin_client().send(&Request::get(path))?;
            self.said.push_str(&answer.text());
        }
        Ok(entries.as_array().map_or(0, Vec::len))
    }
}

/// Walks through everything; the walk, and how many audit entries it made.
pub(crate) fn walked() -> Result<(Walk, usize)> {
    let mut walk = Walk::begin()?;
    let admin = walk.users()?;
    walk.back_office()?;
    walk.ingestion()?;
    walk.commands()?;
    let entries = walk.read_everything(&admin)?;
    Ok((walk, entries))
}
