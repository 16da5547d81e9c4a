//! Sends what the generator makes and reports what came of it to the history.
//!
//! Owns the reading of answers: which of them is a promise, which a refusal, which neither.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::client::{Answer, Client, Connection, Request};
use crate::generator::{Generator, Prepared};
use crate::model::{Call, History, Outcome};
use crate::system::Doors;

/// How long a sender waits before it sends again what was not accepted.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The status of what was sent in part, on purpose.
pub const CUT_SHORT: u16 = 0;

/// The status of what could not be sent, because nobody listened.
pub const UNREACHABLE: u16 = 1;

/// One sender with its own connections, one to each door.
#[derive(Debug)]
pub struct Sender {
    doors: Doors,
    clients: Vec<Client>,
    rest: Duration,
    generator: Generator,
    rng: fastrand::Rng,
    history: Arc<History>,
    /// Answers that no rule of the specification allows for what was sent.
    pub surprises: Vec<String>,
    /// What was sent and never answered, to be sent again.
    pub unanswered: Vec<Prepared>,
}

impl Sender {
    /// A sender.
    pub fn new(doors: Doors, generator: Generator, history: Arc<History>, seed: u64) -> Self {
        let (rng, rest) = (fastrand::Rng::with_seed(seed), generator.rest());
        let (clients, surprises, unanswered) = (Vec::new(), Vec::new(), Vec::new());
        Self { doors, clients, rest, generator, rng, history, surprises, unanswered }
    }

    /// Sends `first`, and then up to `n` requests, until no door is left or `stop` says so.
    pub fn run(&mut self, first: &[Prepared], n: usize, stop: impl Fn() -> bool) {
        for prepared in first {
            self.exchange(prepared);
        }
        for _ in 0..n {
            if stop() {
                return;
            }
            std::thread::sleep(self.rest);
            let prepared = self.generator.next_request();
            match self.rng.u32(..100) {
                0..2 => self.hang_up(&prepared, true),
                2..4 => self.hang_up(&prepared, false),
                _ => {
                    if self.exchange(&prepared) {
                        continue;
                    }
                    if !self.doors.any_open() {
                        self.unanswered.push(prepared);
                        return;
                    }
                    std::thread::sleep(BACK_OFF);
                    self.exchange(&prepared);
                }
            }
        }
    }

    /// A client of some door, connected to it before if it was used before.
    fn client(&mut self) -> &mut Client {
        let doors = self.doors.all();
        let door = doors[self.rng.usize(..doors.len())];
        let known = self.clients.iter().position(|client| client.address == door.address);
        let at = known.unwrap_or_else(|| {
            self.clients.push(self.doors.client(door));
            self.clients.len() - 1
        });
        &mut self.clients[at]
    }

    /// Sends a request and records its answer; `false`: there was none, or one that asks for
    /// another try.
    pub fn exchange(&mut self, prepared: &Prepared) -> bool {
        let number = self.history.begin(Arc::clone(&prepared.call), prepared.key.clone());
        let request = self.request(prepared);
        let client = self.client();
        if client.connect().is_err() {
            self.history.end(number, Outcome::Refused(UNREACHABLE), None);
            return false;
        }
        let answer = match request.and_then(|request| client.send(&request)) {
            Ok(answer) => answer,
            Err(error) => {
                self.history.leave_open(number, format!("{error:#}"));
                return false;
            }
        };
        match answer.status {
            202 => self.accepted(number, prepared, &answer),
            503 => {
                self.history.leave_open(number, "503".into());
                return false;
            }
            408 => self.history.end(number, Outcome::Refused(408), None),
            status => {
                self.history.end(number, Outcome::Refused(status), None);
                let text: String = prepared.text.chars().take(2_000).collect();
                self.surprises.push(format!("{status} {:.1000}\n  to {text}", answer.text()));
            }
        }
        true
    }

    fn accepted(&mut self, number: usize, prepared: &Prepared, answer: &Answer) {
        let job = match &*prepared.call {
            Call::Delete { .. } => match job_of(answer) {
                Ok(job) => Some(job),
                Err(error) => {
                    self.surprises.push(format!("{error:#}"));
                    None
                }
            },
            Call::Items(_) => None,
        };
        if prepared.lenient != answer.header("preference-applied").is_some() {
            self.surprises.push(format!("lenient {}: {answer:?}", prepared.lenient));
        }
        if !prepared.lenient && !answer.body.is_empty() {
            self.surprises.push(format!("a 202 with a body: {answer:?}"));
        }
        self.history.end(number, Outcome::Accepted, job);
    }

    fn request(&mut self, prepared: &Prepared) -> Result<Request> {
        let body = prepared.encoding.encode(prepared.text.as_bytes())?;
        let mut request = self.client().call(prepared.path, body);
        if let Some(name) = prepared.encoding.name() {
            request = request.header("Content-Encoding", name);
        }
        if prepared.ndjson {
            request = request.header("Content-Type", "application/x-ndjson; charset=utf-8");
        }
        if prepared.lenient {
            request = request.header("Prefer", "handling=lenient");
        }
        if let Some(key) = &prepared.key {
            request = request.header("Idempotency-Key", key);
        }
        request.chunk_bytes = (self.rng.u32(..10) == 0).then(|| self.rng.usize(1..9_000));
        Ok(request)
    }

    /// Goes away in the middle of the body (nothing of it may be taken), or after it, without
    /// waiting for the answer.
    fn hang_up(&mut self, prepared: &Prepared, in_the_middle: bool) {
        let number = self.history.begin(Arc::clone(&prepared.call), prepared.key.clone());
        let sent = self.request(prepared).and_then(|mut request| {
            request.chunk_bytes = None;
            let bytes = request.bytes();
            let least = bytes.len() - request.body.len();
            let most = if in_the_middle { bytes.len() - 1 } else { bytes.len() };
            let end = if in_the_middle { self.rng.usize(least..=most.max(least)) } else { most };
            Connection::open(self.client().address)?.send(&bytes[..end])
        });
        match sent {
            Ok(()) if in_the_middle => {
                self.history.end(number, Outcome::Refused(CUT_SHORT), None);
            }
            Ok(()) => self.history.leave_open(number, "hung up".into()),
            Err(error) => self.history.leave_open(number, format!("{error:#}")),
        }
    }
}

/// The job that an answer's `Location` names.
///
/// # Errors
/// It names none.
pub fn job_of(answer: &Answer) -> Result<Uuid> {
    let location = answer.header("location").context("a deletion without Location")?;
    let path = location.split('?').next().unwrap_or_default();
    let id = path.rsplit('/').next().unwrap_or_default();
    id.parse().with_context(|| format!("no job in {location:?}"))
}
