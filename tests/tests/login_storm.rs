//! A storm of logins, and events meanwhile: what the pool does not hold is refused, and no event
//! suffers but by the processor's time.
//!
//! `cargo test -p millrace-tests --test login_storm --release -- --ignored --nocapture` measures
//! longer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use millrace_tests::accounts::{Installation, PASSWORD, Person, login_request};
use millrace_tests::client::{Answer, Client};
use millrace_tests::generator::path;
use millrace_tests::latency::{Ratio, quantile};
use millrace_tests::observe;
use millrace_tests::world::until;
use serde_json::json;

/// Passwords that are checked at once, and that may wait.
const POOL: [&str; 4] = ["--password-threads", "1", "--password-queue", "3"];
const POOL_PLACES: usize = 4;
/// More than there are places.
const STORMERS: usize = 4 * POOL_PLACES;
/// What who was refused waits for, which is less than they were told.
const REST: Duration = Duration::from_millis(20);

/// Between an event's answer and the next event, so that a phase outlasts many logins.
const PACE: Duration = Duration::from_millis(3);

/// What the logins of a storm were answered.
#[derive(Debug, Default)]
struct Tally {
    let_in: AtomicU64,
    wrong: AtomicU64,
    refused: AtomicU64,
    surprises: Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, answer: &Answer) {
        let retry_after = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
        match (answer.status, retry_after) {
            (200, _) => self.let_in.fetch_add(1, Ordering::Relaxed),
            (400, _) => self.wrong.fetch_add(1, Ordering::Relaxed),
            (503, Some(1..)) => self.refused.fetch_add(1, Ordering::Relaxed),
            _ => {
                self.surprise(format!("{} {:?} {}", answer.status, answer.headers, answer.text()));
                0
            }
        };
    }

    fn surprise(&self, what: String) {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// Logins on many connections until it is dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Storm {
    fn begin(installation: &Installation, person: &Person, tally: &Arc<Tally>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..STORMERS).map(|number| {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(tally));
            let mut client = installation.server.client();
            let email = person.email.clone();
            std::thread::spawn(move || storm(number, &mut client, &email, &stop, &tally))
        });
        Self { threads: threads.collect(), stop }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Right passwords, wrong ones, and strangers, in turn.
fn storm(number: usize, client: &mut Client, email: &str, stop: &AtomicBool, tally: &Tally) {
    let requests = [
        login_request(email, PASSWORD),
        login_request(email, "Wrong-horse-9-battery"),
        login_request("stranger@example.com", PASSWORD),
    ];
    for request in requests.iter().cycle().skip(number % requests.len()) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        match client.send(request) {
            Ok(answer) => {
                tally.count(&answer);
                if answer.status == 503 {
                    std::thread::sleep(REST);
                }
            }
            Err(error) => return tally.surprise(format!("no answer: {error:#}")),
        }
    }
}

/// Sends events one after another; how long each took.
fn send_events(client: &mut Client, phase: usize, count: usize) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let id = format!("{phase}-{number}");
        let event = json!({"events": [{"id": id, "user_id": "mina", "name": "mkt_page_view"}]});
        let request = client.call(path::EVENTS, event.to_string());
        let since = Instant::now();
        let answer = client.send(&request)?;
        took.push(since.elapsed());
        ensure!(answer.status == 202, "event {id}: {} {}", answer.status, answer.text());
        std::thread::sleep(PACE);
    }
    Ok(took)
}

/// Events with and without a storm, in turns.
fn events_in_a_storm(turns: usize, events: usize) -> Result<()> {
    let mut installation = Installation::start(&POOL)?;
    let person = installation.join(None, &json!({}))?;
    let mut client = installation.server.client();
    let tally = Arc::new(Tally::default());
    let (mut calm, mut stormy) = (Vec::new(), Vec::new());
    send_events(&mut client, 0, 20)?;
    for turn in 0..turns {
        calm.extend(send_events(&mut client, 2 * turn + 1, events)?);
        let refused = tally.refused.load(Ordering::SeqCst);
        let storm = Storm::begin(&installation, &person, &tally);
        until("a login that is refused", || {
            let surprised =
                !tally.surprises.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            (surprised || tally.refused.load(Ordering::SeqCst) > refused).then_some(())
        })?;
        stormy.extend(send_events(&mut client, 2 * turn + 2, events)?);
        drop(storm);
    }
    report(&calm, &stormy, &tally);
    let surprises = tally.surprises.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(surprises.is_empty(), "{} answers: {:?}", surprises.len(), surprises.first());
    ensure!(tally.let_in.load(Ordering::SeqCst) > 0, "the storm kept everybody out");
    ensure!(tally.wrong.load(Ordering::SeqCst) > 0, "no wrong password was checked");
    // Afterwards there is room for everybody again.
    installation.signed_in(&person.email)?;
    observe::wait_idle(&installation.server, &BTreeSet::new())?;
    let stored = observe::read_events(&mut client, "mina", 1_000)?.len();
    let sent = 20 + calm.len() + stormy.len();
    ensure!(stored == sent, "{stored} of {sent} events are stored");
    if installation.server.panicked()? {
        bail!("a panic:\n{}", installation.server.stderr());
    }
    Ok(())
}

fn report(calm: &[Duration], stormy: &[Duration], tally: &Tally) {
    let mut rng = fastrand::Rng::new();
    let p99 = |of: &[Duration]| quantile(of, 0.99);
    let count = |of: &AtomicU64| of.load(Ordering::SeqCst);
    println!(
        "event latency, storm/calm: median {} ({:?}/{:?}), p99 {:.2} ({:?}/{:?}), n={}",
        Ratio::of(stormy, calm, &mut rng),
        quantile(stormy, 0.5),
        quantile(calm, 0.5),
        p99(stormy).as_secs_f64() / p99(calm).as_secs_f64(),
        p99(stormy),
        p99(calm),
        calm.len(),
    );
    println!(
        "logins: {} let in, {} wrong, {} refused with 503 and Retry-After",
        count(&tally.let_in),
        count(&tally.wrong),
        count(&tally.refused)
    );
}

#[test]
fn a_storm_of_logins_is_refused_beyond_the_pool_and_every_event_is_taken() -> Result<()> {
    events_in_a_storm(3, 250)
}

#[test]
#[ignore = "a minute of measuring"]
fn a_long_storm_of_logins_is_measured() -> Result<()> {
    events_in_a_storm(10, 1_000)
}
