//! Processes over one store, as front doors are: each with accounts of its own, with the same
//! secrets, and a clock that all share.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millrace_accounts::{
    Accounts, BackOffice, BackOfficeCaller, Bootstrap, BootstrapSettings, Caller, Clock, Core,
    Limits, MailSettings, MailTransport, Mailer, PasswordSettings, People, PeopleError, Rate,
    Settings, SignedIn, Signer, TokenSecrets, User, Verifier,
};
use millrace_schema::time::wall_clock_us;
use millrace_store::{AccountStore, DocumentStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::books::Books;
use super::probe::{Fault, Probe};
use super::{body, new_user};

pub(crate) const PASSWORD: &str = "Passw0rd!";
pub(crate) const FIRST: &str = "First@office.example";
pub(crate) const SECRET: &[u8] = br#"{"secret": "the bootstrap secret"}"#;
/// Where callers call from.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A front door's accounts.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) people: Arc<People>,
    pub(crate) office: Arc<BackOffice>,
    pub(crate) accounts: Accounts,
    pub(crate) store: Arc<Probe>,
}

/// Three of them.
pub(crate) struct World {
    pub(crate) processes: [Process; 3],
    /// How far the clock is ahead of the one on the wall, microseconds.
    ahead_us: Arc<AtomicI64>,
    folder: TempDir,
}

impl World {
    pub(crate) fn over<S: DocumentStore + AccountStore>(stores: [Arc<S>; 3]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ahead_us = Arc::new(AtomicI64::new(0));
        let signer = Arc::new(Signer::load_or_create(&folder.path().join("key.pem")).unwrap());
        let process = |store: Arc<S>| {
            let probe = Arc::new(Probe::new(store.clone()));
            let ahead_us = Arc::clone(&ahead_us);
            let clock = Clock::new(move || wall_clock_us() + ahead_us.load(Ordering::SeqCst));
            let core = Core::new(probe.clone(), settings(), clock).unwrap();
            let (mailer, postman) = Mailer::new(MailSettings {
                from: "Millrace <no-reply@example.com>".to_owned(),
                public_url: "https://app.example.com/".to_owned(),
                transport: MailTransport::Outbox(folder.path().join("outbox")),
            })
            .unwrap();
            tokio::spawn(postman.run());
            let verifier = Arc::new(Verifier::new([signer.public_key().clone()]));
            let accounts = Accounts::new(store, Arc::clone(&signer), verifier);
            Process {
                people: Arc::new(People::new(core.clone(), mailer, None)),
                office: Arc::new(BackOffice::new(core.clone(), Some(bootstrap()))),
                accounts: accounts.with_audit(core.audit()),
                store: probe,
            }
        };
        Self { processes: stores.map(process), ahead_us, folder }
    }

    pub(crate) fn first(&self) -> &Process {
        &self.processes[0]
    }

    /// The processes in turn, without end.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = Process> {
        self.processes.iter().cloned().cycle()
    }

    pub(crate) fn advance_s(&self, seconds: i64) {
        self.ahead_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub(crate) fn outbox(&self) -> PathBuf {
        self.folder.path().join("outbox")
    }

    /// Tells the store behind every process how to be.
    pub(crate) fn set(&self, fault: Fault) {
        self.processes.iter().for_each(|process| process.store.set(fault));
    }

    /// All that is stored, which must add up.
    pub(crate) async fn books(&self) -> Books {
        let books = Books::read(&*self.first().store).await;
        books.must_add_up();
        books
    }
}

impl Process {
    pub(crate) async fn user(&self, email: &str) -> User {
        self.people.register(None, &new_user(email, json!({})), HERE).await.unwrap()
    }

    /// An admin who is signed in.
    pub(crate) async fn admin(&self, email: &str) -> Caller {
        let admin = new_user(email, json!({"role": "admin"}));
        self.people.create_as_operator(&admin).await.unwrap();
        self.caller(email).await
    }

    pub(crate) async fn token(&self, email: &str) -> String {
        self.people.login(&form(email, PASSWORD), HERE).await.unwrap().access_token
    }

    pub(crate) async fn caller(&self, email: &str) -> Caller {
        self.people.caller(Some(&self.token(email).await), HERE).await.unwrap()
    }

    /// Whether a token is good.
    pub(crate) async fn knows(&self, token: &str) -> bool {
        match self.people.caller(Some(token), HERE).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, PeopleError::Unauthorized);
                false
            }
        }
    }

    pub(crate) async fn update(&self, by: &Caller, change: Value) -> Result<User, PeopleError> {
        self.people.update_info(by, &body(&change)).await
    }

    /// The back office's first person, made and signed in.
    pub(crate) async fn operator(&self) -> BackOfficeCaller {
        self.office.bootstrap(SECRET, HERE).await.unwrap();
        let SignedIn { access_token, session_token, .. } = self.sign_in(FIRST).await;
        self.office.caller(Some(&access_token), Some(&session_token), HERE).await.unwrap()
    }

    pub(crate) async fn sign_in(&self, email: &str) -> SignedIn {
        self.office.login(&credentials(email, PASSWORD), HERE).await.unwrap()
    }
}

pub(crate) fn form(email: &str, password: &str) -> Vec<u8> {
    format!("username={email}&password={password}").into_bytes()
}

pub(crate) fn credentials(email: &str, password: &str) -> Vec<u8> {
    body(&json!({"email": email, "password": password}))
}

fn settings() -> Settings {
    let free = Rate { burst: 100_000, period: Duration::from_secs(1) };
    Settings {
        secrets: TokenSecrets::new(&["s".repeat(32)]).unwrap(),
        passwords: PasswordSettings {
            memory_kib: 64,
            passes: 1,
            lanes: 1,
            threads: 2,
            queue: 1_000,
        },
        hashing: None,
        limits: Limits {
            logins_per_account: free,
            logins_per_address: free,
            hashes_per_account: free,
            hashes_per_address: free,
            mails_per_account: free,
            mails_per_address: free,
        },
        must_verify: false,
    }
}

fn bootstrap() -> Bootstrap {
    Bootstrap::new(BootstrapSettings {
        secret: "the bootstrap secret".to_owned(),
        email: FIRST.to_owned(),
        password: PASSWORD.to_owned(),
        first_name: "First".to_owned(),
        last_name: "Person".to_owned(),
        phone: "+82 2 000 0000".to_owned(),
        lang: Some("en".to_owned()),
    })
    .unwrap()
}
