//! How long each process was not ready, seen from outside.
//!
//! Owns the watching. Must not know why.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::{Connection, Request};

/// How often each process is asked.
const INTERVAL: Duration = Duration::from_millis(100);
/// One that does not answer within this is not ready.
const DEADLINE: Duration = Duration::from_secs(1);

/// A watched process.
#[derive(Debug)]
struct Watched {
    address: SocketAddr,
    /// Not ready since.
    since: Option<Instant>,
    longest: Duration,
}

/// Asks every process for `/readyz`, again and again.
#[derive(Debug)]
pub struct Readiness {
    watched: Arc<Mutex<Vec<Watched>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Readiness {
    /// Watches processes; each has a number from here on.
    pub fn watch(addresses: Vec<SocketAddr>) -> Self {
        let new = |address| Watched { address, since: None, longest: Duration::ZERO };
        let count = addresses.len();
        let watched = Arc::new(Mutex::new(addresses.into_iter().map(new).collect()));
        let stop = Arc::new(AtomicBool::new(false));
        let start = |number| {
            let (watched, stop) = (Arc::clone(&watched), Arc::clone(&stop));
            std::thread::spawn(move || ask(number, &watched, &stop))
        };
        let threads = (0..count).map(start).collect();
        Self { watched, stop, threads }
    }

    /// A process was started again, somewhere else.
    pub fn moved(&self, number: usize, address: SocketAddr) {
        lock(&self.watched)[number].address = address;
    }

    /// Forgets what was.
    pub fn reset(&self) {
        for watched in lock(&self.watched).iter_mut() {
            (watched.since, watched.longest) = (None, Duration::ZERO);
        }
    }

    /// The longest time that each was not ready since the last reset.
    pub fn longest(&self) -> Vec<Duration> {
        let so_far = |watched: &Watched| {
            watched.longest.max(watched.since.map_or(Duration::ZERO, |since| since.elapsed()))
        };
        lock(&self.watched).iter().map(so_far).collect()
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(watched: &Mutex<Vec<Watched>>) -> MutexGuard<'_, Vec<Watched>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(number: usize, watched: &Mutex<Vec<Watched>>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let asked = Instant::now();
        let address = lock(watched)[number].address;
        let ready = is_ready(address).is_ok();
        let mut all = lock(watched);
        let own = &mut all[number];
        match own.since {
            None if !ready => own.since = Some(asked),
            Some(since) if ready => {
                own.longest = own.longest.max(since.elapsed());
                own.since = None;
            }
            _ => {}
        }
        drop(all);
        std::thread::sleep(INTERVAL);
    }
}

fn is_ready(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open_within(address, DEADLINE)?;
    connection.send(&Request::get("/readyz").header("Connection", "close").bytes())?;
    let status = connection.answer()?.status;
    ensure!(status == 200, "{status}");
    Ok(())
}
