//! What the tests of this crate share: a store in memory that can be away, fresh signers, a clock
//! that is set by hand, and users and a back office over an embedded store.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use millrace_store::embedded::{Config, EmbeddedStore};
use millrace_store::{AccountStore, Answer, ApiKey, Project, ReceiptKey, StoreError, Webhook};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    BackOffice, Bootstrap, BootstrapSettings, Caller, Clock, Core, Google, Limits, MailSettings,
    MailTransport, Mailer, PasswordSettings, People, Settings, Signer, TokenSecrets, User,
};

/// Where test callers call from.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const PASSWORD: &str = "correct horse";

/// A clock that is set by hand. It begins near the present, by which the store lets documents go.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(millrace_schema::time::wall_clock_us())))
    }
}

impl TestClock {
    pub(crate) fn clock(&self) -> Clock {
        let now_us = Arc::clone(&self.0);
        Clock::new(move || now_us.load(Ordering::SeqCst))
    }

    pub(crate) fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

/// Users and a back office over an embedded store in a folder that goes with it.
pub(crate) struct Place {
    pub(crate) people: Arc<People>,
    pub(crate) office: Arc<BackOffice>,
    pub(crate) core: Arc<Core>,
    pub(crate) clock: TestClock,
    pub(crate) outbox: PathBuf,
    _folder: TempDir,
}

pub(crate) fn settings() -> Settings {
    let passwords =
        PasswordSettings { memory_kib: 64, passes: 1, lanes: 1, threads: 2, queue: 1_000 };
    Settings {
        secrets: TokenSecrets::new(&["s".repeat(32)]).unwrap(),
        passwords,
        hashing: None,
        limits: Limits::default(),
        must_verify: false,
    }
}

pub(crate) fn bootstrap() -> Bootstrap {
    Bootstrap::new(BootstrapSettings {
        secret: "the bootstrap secret".to_owned(),
        email: "First@office.example".to_owned(),
        password: "Passw0rd!".to_owned(),
        first_name: "First".to_owned(),
        last_name: "Person".to_owned(),
        phone: "+82 2 000 0000".to_owned(),
        lang: Some("en".to_owned()),
    })
    .unwrap()
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(settings(), |_| None)
    }

    pub(crate) fn with(settings: Settings, google: impl Fn(Clock) -> Option<Google>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::default();
        let store = EmbeddedStore::open(&folder.path().join("store"), Config::default()).unwrap();
        let core = Core::new(Arc::new(store), settings, clock.clock()).unwrap();
        let outbox = folder.path().join("outbox");
        let (mailer, postman) = Mailer::new(MailSettings {
            from: "Millrace <no-reply@example.com>".to_owned(),
            public_url: "https://app.example.com/".to_owned(),
            transport: MailTransport::Outbox(outbox.clone()),
        })
        .unwrap();
        tokio::spawn(postman.run());
        let people = Arc::new(People::new(core.clone(), mailer, google(clock.clock())));
        let office = Arc::new(BackOffice::new(core.clone(), Some(bootstrap())));
        Self { people, office, core, clock, outbox, _folder: folder }
    }

    pub(crate) async fn user(&self, email: &str) -> User {
        self.people.register(None, &new_user(email), HERE).await.unwrap()
    }

    pub(crate) async fn admin(&self, email: &str) -> User {
        let body = changed(&new_user(email), json!({"role": "admin"}));
        self.people.create_as_operator(&body).await.unwrap()
    }

    /// Makes a call that hashes a password, and does something else while it waits for a thread.
    pub(crate) async fn meanwhile<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        other: impl Future<Output = ()>,
    ) -> T {
        let (held, places) = (self.core.passwords.hold(), self.core.passwords.places());
        let call = tokio::spawn(call);
        while self.core.passwords.places() == places {
            assert!(!call.is_finished(), "nothing was hashed");
            tokio::task::yield_now().await;
        }
        other.await;
        drop(held);
        call.await.unwrap()
    }

    pub(crate) async fn token(&self, email: &str) -> String {
        self.people.login(&form(email, PASSWORD), HERE).await.unwrap().access_token
    }

    pub(crate) async fn caller(&self, email: &str) -> Caller {
        self.people.caller(Some(&self.token(email).await), HERE).await.unwrap()
    }
}

pub(crate) fn new_user(email: &str) -> Vec<u8> {
    let user = json!({
        "email": email, "name": "Somebody", "password": PASSWORD, "role": "advertiser",
        "permissions": {},
    });
    user.to_string().into_bytes()
}

/// A body with other members.
pub(crate) fn changed(body: &[u8], members: Value) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

pub(crate) fn form(email: &str, password: &str) -> Vec<u8> {
    let encode = |text| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    format!("username={}&password={}", encode(email), encode(password)).into_bytes()
}

pub(crate) fn signer() -> Signer {
    let folder = tempfile::tempdir().unwrap();
    Signer::load_or_create(&folder.path().join("signing.pem")).unwrap()
}

#[derive(Default)]
pub(crate) struct MemoryStore {
    projects: Mutex<Vec<Project>>,
    keys: Mutex<Vec<ApiKey>>,
    receipt_keys: Mutex<Vec<ReceiptKey>>,
    webhooks: Mutex<Vec<Webhook>>,
    away: AtomicBool,
    asked: Notify,
}

impl MemoryStore {
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Waits until the keys have been asked for.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

impl AccountStore for MemoryStore {
    fn create_project(&self, project: Project) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut projects = self.projects.lock().unwrap();
            if projects.iter().any(|known| known.id == project.id) {
                return Err(StoreError::Exists(format!("project {:?}", project.id)));
            }
            projects.push(project);
            Ok(())
        })
    }

    fn projects(&self) -> Answer<'_, Vec<Project>> {
        Box::pin(async move { Ok(self.projects.lock().unwrap().clone()) })
    }

    fn create_key(&self, key: ApiKey) -> Answer<'_, ()> {
        Box::pin(async move {
            self.keys.lock().unwrap().push(key);
            Ok(())
        })
    }

    fn keys(&self) -> Answer<'_, Vec<ApiKey>> {
        Box::pin(async move {
            self.asked.notify_one();
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("away".to_owned()));
            }
            Ok(self.keys.lock().unwrap().clone())
        })
    }

    fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Answer<'_, bool> {
        Box::pin(async move {
            let mut keys = self.keys.lock().unwrap();
            let Some(key) = keys.iter_mut().find(|key| key.id == id) else { return Ok(false) };
            key.revoked_us.get_or_insert(revoked_us);
            Ok(true)
        })
    }

    fn add_receipt_key(&self, key: ReceiptKey) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut keys = self.receipt_keys.lock().unwrap();
            if !keys.iter().any(|known| known.kid == key.kid) {
                keys.push(key);
            }
            Ok(())
        })
    }

    fn receipt_keys(&self) -> Answer<'_, Vec<ReceiptKey>> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("away".to_owned()));
            }
            Ok(self.receipt_keys.lock().unwrap().clone())
        })
    }

    fn set_webhook(&self, project: &str, url: Option<String>) -> Answer<'_, ()> {
        let project = project.to_owned();
        Box::pin(async move {
            let mut webhooks = self.webhooks.lock().unwrap();
            webhooks.retain(|known| known.project != project);
            webhooks.extend(url.map(|url| Webhook { project, url }));
            Ok(())
        })
    }

    fn webhooks(&self) -> Answer<'_, Vec<Webhook>> {
        Box::pin(async move { Ok(self.webhooks.lock().unwrap().clone()) })
    }
}
