//! Accounts over a database that fails: what was answered stays, what was not is whole or not
//! there, and an address is one person's all the while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use millrace_accounts::{Caller, PeopleError, User};
use millrace_cluster::{Cluster, CommitLog, Proxy, Shape};
use millrace_store::scylla::{Config, migrate};
use serde_json::{Value, json};

use crate::accounts_suite::world::{HERE, PASSWORD, Process, form};
use crate::accounts_suite::{World, body, new_user};
use crate::keyspace::{Keyspace, config, connected};

/// Processes with connections of their own.
pub(crate) async fn world(config: &Config) -> World {
    let (one, two, three) = tokio::join!(connected(config), connected(config), connected(config));
    World::over([one, two, three].map(Arc::new))
}

/// What a caller knows in the end.
#[derive(Debug, Default)]
struct Known {
    /// Users who must be there as they are here.
    there: Vec<User>,
    /// Addresses that must be free.
    free: Vec<String>,
    /// Tokens that must be dead.
    dead: Vec<String>,
    /// Who was told that they have an address that all want.
    winners: Vec<(usize, uuid::Uuid)>,
    /// Answers that were 503.
    unavailable: usize,
}

/// A caller that does not take 503 for an answer.
struct Patient<'w> {
    process: &'w Process,
    boss: &'w Caller,
    known: Known,
}

impl Patient<'_> {
    /// Makes a call until it is answered; and whether it may have happened before that.
    async fn answered<T>(
        &mut self,
        call: impl AsyncFn(&Process) -> Result<T, PeopleError>,
    ) -> (Result<T, PeopleError>, bool) {
        let mut is_in_doubt = false;
        loop {
            match call(self.process).await {
                Err(error @ PeopleError::Unavailable(_)) => {
                    assert_eq!((error.status(), error.retry_after_s()), (503, Some(1)));
                    is_in_doubt = true;
                    self.known.unavailable += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => return (answer, is_in_doubt),
            }
        }
    }

    /// Registers; `None`: the address is another's, or ours without our knowing the id.
    async fn register(&mut self, address: &str) -> Option<User> {
        let new = new_user(address, json!({}));
        match self.answered(async |process| process.people.register(None, &new, HERE).await).await {
            (Ok(user), _) => Some(user),
            (Err(error), _) => {
                assert_eq!(error, PeopleError::RegisterEmailTaken);
                None
            }
        }
    }

    async fn token(&mut self, address: &str) -> String {
        let form = form(address, PASSWORD);
        let login = async |process: &Process| process.people.login(&form, HERE).await;
        self.answered(login).await.0.unwrap().access_token
    }

    async fn caller(&mut self, token: &str) -> Caller {
        let caller = async |process: &Process| process.people.caller(Some(token), HERE).await;
        self.answered(caller).await.0.unwrap()
    }

    async fn update(&mut self, change: Value) -> User {
        let boss = self.boss;
        let update = async |process: &Process| process.update(boss, change.clone()).await;
        self.answered(update).await.0.unwrap()
    }

    /// What one user does, from beginning to end, and one address that all want.
    async fn round(&mut self, number: usize, round: usize) {
        let address = format!("u{number}.{round}@example.com");
        self.register(&address).await;
        let token = self.token(&address).await;
        let caller = self.caller(&token).await;
        let id = caller.user().id;
        let consent = body(&json!({
            "consent_channel": "web_login", "email": address, "is_agreed": true,
            "policy_version": "1.0.0", "user_id": id,
        }));
        let consent = async |process: &Process| process.people.set_consent(&caller, &consent).await;
        self.answered(consent).await.0.unwrap();
        let logout = async |process: &Process| process.people.logout(&caller).await;
        self.answered(logout).await.0.unwrap();
        self.known.dead.push(token);
        let moved = format!("moved{number}.{round}@example.com");
        let user = self.update(json!({"id": id, "email": moved, "budget": round})).await;
        self.known.free.push(address);
        if round.is_multiple_of(2) {
            let (boss, id) = (self.boss, body(&json!({"id": id})));
            let delete = async |process: &Process| process.people.delete_user(boss, &id).await;
            match self.answered(delete).await {
                (Ok(deleted), _) => assert_eq!(deleted, user),
                (Err(error), is_in_doubt) => {
                    assert!(is_in_doubt);
                    assert_eq!(error, PeopleError::NotFound);
                }
            }
            self.known.free.push(moved);
        } else {
            self.known.there.push(user);
        }
        if let Some(user) = self.register(&format!("wanted{round}@example.com")).await {
            self.known.winners.push((round, user.id));
        }
    }
}

/// Lets six callers make changes for as long as something disturbs them; then holds what is stored
/// against what they were told. `calm`: how to reach the database when nothing disturbs.
async fn changes_are_whole(world: &World, calm: &Config, disturb: impl Future<Output = ()>) {
    let boss = &world.first().admin("boss@example.com").await;
    let is_over = &AtomicBool::new(false);
    let run = async |number: usize| {
        let process = &world.processes[number % 3];
        let mut patient = Patient { process, boss, known: Known::default() };
        for round in 0.. {
            patient.round(number, round).await;
            if is_over.load(Ordering::Relaxed) && round >= 2 {
                break;
            }
        }
        patient.known
    };
    let disturb = async {
        disturb.await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (known, ()) = tokio::join!(join_all((0..6).map(run)), disturb);

    let after = self::world(calm).await;
    let books = after.books().await;
    let mut winners = BTreeSet::new();
    let mut unavailable = 0;
    for known in known {
        unavailable += known.unavailable;
        for user in known.there {
            let stored = &books.users[&user.id.to_string()].1["user"];
            assert_eq!(stored["email"], json!(user.email));
            assert_eq!(stored["budget"], serde_json::to_value(user.budget).unwrap());
        }
        for address in known.free {
            assert!(!books.emails.contains_key(&address), "{address} is not free");
        }
        for token in known.dead {
            assert!(!after.first().knows(&token).await, "a session came back to life");
        }
        for (round, id) in known.winners {
            assert!(winners.insert(round), "two have one address");
            assert!(books.users.contains_key(&id.to_string()), "a registered user is gone");
        }
    }
    assert!(unavailable > 0, "nothing was disturbed");
    assert_eq!(books.consents.len(), books.users.keys().filter(|id| has_moved(&books, id)).count());
}

/// Whether a user is one of those who gave a consent.
fn has_moved(books: &crate::accounts_suite::books::Books, id: &str) -> bool {
    books.users[id].1["user"]["email"].as_str().unwrap().starts_with("moved")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn changes_of_accounts_over_connections_that_break_are_whole() {
    let Keyspace { config, .. } = &Keyspace::empty().await;
    let proxy = Proxy::start(Cluster::shared().unwrap().contact_points()[0]).unwrap();
    let contact_points = vec![proxy.address().to_string()];
    let request_timeout = Duration::from_millis(500);
    let disturbed = Config { contact_points, request_timeout, ..config.clone() };
    let world = world(&disturbed).await;
    changes_are_whole(&world, config, async {
        for _ in 0..12 {
            proxy.cut().unwrap();
            proxy.restore().unwrap();
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..600))).await;
        }
        proxy.half_open().unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        proxy.restore().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
async fn changes_of_accounts_outlive_a_database_that_stands_still_and_is_killed() {
    // One that keeps what it has acknowledged.
    let shape = Shape { brokers: 0, commit_log: CommitLog::Batch, ..Shape::default() };
    let cluster = Cluster::start(shape).unwrap();
    let config = config(&cluster, "accounts".to_owned());
    migrate(&config, None, 1).await.unwrap();
    let impatient = Config { request_timeout: Duration::from_millis(700), ..config.clone() };
    let world = world(&impatient).await;
    let disturb = tokio::task::spawn_blocking(move || {
        let node = &cluster.nodes()[0];
        let a_while = || std::thread::sleep(Duration::from_millis(500));
        for _ in 0..2 {
            a_while();
            node.pause().unwrap();
            std::thread::sleep(Duration::from_secs(2));
            node.resume().unwrap();
        }
        a_while();
        node.kill_9().unwrap();
        node.start().unwrap();
        cluster
    });
    let mut cluster = None;
    changes_are_whole(&world, &config, async { cluster = Some(disturb.await.unwrap()) }).await;
}
