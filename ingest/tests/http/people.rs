//! Those who sign in at the fixture's front door, and calls in their name.

use std::path::Path;
use std::sync::Arc;

use millrace_accounts::{
    BackOffice, Bootstrap, BootstrapSettings, Clock, Core, Google, Limits, MailSettings,
    MailTransport, Mailer, PasswordSettings, People, Settings, TokenSecrets,
};
use millrace_ingest::Identity;
use millrace_store::embedded::EmbeddedStore;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, config};

/// An admin whom every fixture has.
pub(crate) const ADMIN: &str = "Admin@example.com";
pub(crate) const PASSWORD: &str = "correct horse";
/// What makes the first person of the back office.
pub(crate) const BOOTSTRAP_SECRET: &str = "the bootstrap secret";
/// Their address and password.
pub(crate) const OFFICE_EMAIL: &str = "first@office.example";
pub(crate) const OFFICE_PASSWORD: &str = "Passw0rd!";

/// How people sign in.
#[derive(Default)]
pub(crate) struct SignIn {
    pub(crate) limits: Limits,
    pub(crate) must_verify: bool,
    pub(crate) google: Option<Google>,
}

impl SignIn {
    /// Those who sign in over a store: hashes are cheap, mails go to `outbox` in the folder.
    pub(crate) async fn identity(self, store: Arc<EmbeddedStore>, folder: &Path) -> Identity {
        let Self { limits, must_verify, google } = self;
        let passwords =
            PasswordSettings { memory_kib: 64, passes: 1, lanes: 1, threads: 2, queue: 100 };
        let secrets = TokenSecrets::new(&["s".repeat(32)]).unwrap();
        let settings = Settings { secrets, passwords, hashing: None, limits, must_verify };
        let core = Core::new(store, settings, Clock::default()).unwrap();
        let (mailer, postman) = Mailer::new(MailSettings {
            from: "Millrace <no-reply@example.com>".to_owned(),
            public_url: "https://app.example.com".to_owned(),
            transport: MailTransport::Outbox(folder.join("outbox")),
        })
        .unwrap();
        tokio::spawn(postman.run());
        let people = People::new(core.clone(), mailer, google);
        let mut admin = new_user(ADMIN);
        admin["role"] = "admin".into();
        people.create_as_operator(admin.to_string().as_bytes()).await.unwrap();
        Identity { people, back_office: BackOffice::new(core, Some(bootstrap())) }
    }
}

fn bootstrap() -> Bootstrap {
    Bootstrap::new(BootstrapSettings {
        secret: BOOTSTRAP_SECRET.to_owned(),
        email: OFFICE_EMAIL.to_owned(),
        password: OFFICE_PASSWORD.to_owned(),
        first_name: "First".to_owned(),
        last_name: "Person".to_owned(),
        phone: "+82 2 000 0000".to_owned(),
        lang: Some("en".to_owned()),
    })
    .unwrap()
}

/// The body of a registration.
pub(crate) fn new_user(email: &str) -> Value {
    json!({
        "email": email, "name": "Somebody", "password": PASSWORD, "role": "advertiser",
        "permissions": {},
    })
}

/// A login's form.
pub(crate) fn form(email: &str, password: &str) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    format!("grant_type=password&username={}&password={}", encode(email), encode(password))
}

/// The headers of a JSON call with an access token, if there is one.
pub(crate) fn signed(token: &str) -> String {
    let bearer = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    format!("Content-Type: application/json\r\n{bearer}")
}

impl Fixture {
    /// A fixture where people sign in as by default.
    pub(crate) async fn with_people() -> Self {
        Self::of_people(config(), SignIn::default()).await
    }

    /// A call such as `GET /users/me`, with an access token unless it is empty.
    pub(crate) async fn ask(&self, call: &str, token: &str, body: &Value) -> Answer {
        self.ask_with(call, &signed(token), body).await
    }

    /// A call with these headers; without a body if that is null.
    pub(crate) async fn ask_with(&self, call: &str, headers: &str, body: &Value) -> Answer {
        let (method, target) = call.split_once(' ').unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.request(method, target, headers, body.as_bytes()).await
    }

    /// Registers a user.
    pub(crate) async fn user(&self, email: &str) -> Value {
        let answer = self.ask("POST /auth/register", "", &new_user(email)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// A login by form.
    pub(crate) async fn login(&self, email: &str, password: &str, headers: &str) -> Answer {
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
        let form = form(email, password);
        self.request("POST", "/auth/jwt/login", &headers, form.as_bytes()).await
    }

    /// A user's access token.
    pub(crate) async fn token(&self, email: &str) -> String {
        let answer = self.login(email, PASSWORD, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The token that the link of the outbox's newest mail carries, once there are `count` mails.
    pub(crate) async fn mailed_token(&self, count: usize) -> String {
        let outbox = self.dir.path().join("outbox");
        loop {
            let files = std::fs::read_dir(&outbox).unwrap().map(|file| file.unwrap().path());
            let mails: Vec<_> =
                files.filter(|path| path.extension().is_some_and(|kind| kind == "eml")).collect();
            if mails.len() < count {
                tokio::task::yield_now().await;
                continue;
            }
            let mail = std::fs::read_to_string(mails.iter().max().unwrap()).unwrap();
            let text = mail.replace("=\r\n", "").replace("=3D", "=");
            let link = text.split("token=").nth(1).unwrap().split_whitespace().next().unwrap();
            return percent_decode_str(link).decode_utf8().unwrap().into_owned();
        }
    }
}

/// What a refusal of the accounts API says.
pub(crate) fn assert_refused(answer: &Answer, status: u16, detail: &Value) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json(), json!({"detail": detail}));
}
