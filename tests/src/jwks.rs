//! A server of key sets (RFC 7517), and tokens signed with keys of the tests' own.
//!
//! Owns what is served, how badly, and how often it was asked for. Must not know who asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::forge::{Signer, token};
use crate::tls::Certificate;

/// An RSA key.
#[derive(Debug)]
pub struct Key {
    id: String,
    pair: KeyPair,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(id: &str) -> Result<Self> {
        Ok(Self { id: id.to_owned(), pair: KeyPair::generate(KeySize::Rsa2048)? })
    }

    /// Its public half.
    pub fn public(&self) -> Value {
        let public = self.pair.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero();
        let exponent = public.exponent().big_endian_without_leading_zero();
        json!({
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.id,
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent),
        })
    }

    /// Both halves.
    pub const fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// The bytes that anybody can have who knows the public half.
    pub fn public_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token with this key's id, signed by it.
    ///
    /// # Errors
    /// It cannot sign.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "RS256", "kid": self.id, "typ": "JWT"});
        token(&header, claims, Signer::Rsa(&self.pair))
    }
}

/// What a server does.
#[derive(Clone, Debug)]
pub enum Serving {
    /// Answers 200 with this body.
    Body(String),
    /// Answers with this status.
    Status(u16),
    /// Answers 200 with a body that does not end, as fast as it is read.
    Endless,
    /// Answers 200 with a body that does not end, a byte each 100 ms.
    Slow,
    /// Says nothing.
    Silent,
    /// Hangs up.
    Nothing,
}

/// How often a served endless body is written before its server gives up, in blocks of 64 KiB.
const BLOCKS_MAX: usize = 4_096;
/// Until a slow or silent server gives up.
const SLOW_STEPS: usize = 600;
const SLOW_STEP: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct State {
    serving: Mutex<Serving>,
    fetches: AtomicUsize,
    written_bytes: AtomicU64,
    is_over: AtomicBool,
}

/// A server of key sets.
#[derive(Debug)]
pub struct KeyServer {
    state: Arc<State>,
    /// Where the key set is.
    pub url: String,
}

impl KeyServer {
    /// One that serves these keys, by TLS if there is a certificate.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(keys: &[&Key], certificate: Option<&Certificate>) -> Result<Self> {
        let config = certificate.map(Certificate::server_config).transpose()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let scheme = if config.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/certs", listener.local_addr()?);
        let state = Arc::new(State {
            serving: Mutex::new(Serving::Nothing),
            fetches: AtomicUsize::new(0),
            written_bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (state, config) = (Arc::clone(&shared), config.clone());
                std::thread::spawn(move || {
                    // A client that hangs up is none of the server's business.
                    let _ = match config.map(ServerConnection::new) {
                        None => answer(stream, &state),
                        Some(Ok(tls)) => answer(StreamOwned::new(tls, stream), &state),
                        Some(Err(error)) => Err(error.into()),
                    };
                });
            }
        });
        let server = Self { state, url };
        server.serve_keys(keys);
        Ok(server)
    }

    /// Serves other keys from now on.
    pub fn serve_keys(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.serve(Serving::Body(json!({"keys": keys}).to_string()));
    }

    /// Serves something else from now on.
    pub fn serve(&self, serving: Serving) {
        *self.state.serving.lock().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    /// How often it was asked.
    pub fn fetches(&self) -> usize {
        self.state.fetches.load(Ordering::SeqCst)
    }

    /// Bytes of endless bodies that somebody read.
    pub fn written_bytes(&self) -> u64 {
        self.state.written_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that listens.
        let address = self.url.split('/').nth(2).unwrap_or_default();
        let _ = TcpStream::connect(address);
    }
}

fn answer(stream: impl Read + Write, state: &State) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        (stream.read_line(&mut line)? > 0).then_some(()).context("no request")?;
    }
    state.fetches.fetch_add(1, Ordering::SeqCst);
    let stream = stream.get_mut();
    let serving = state.serving.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let endless = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"keys\":[";
    match serving {
        Serving::Nothing => {}
        Serving::Silent => wait(state, || Ok(()))?,
        Serving::Status(status) => {
            write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\n{{}}")?;
        }
        Serving::Body(body) => {
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        }
        Serving::Endless => {
            stream.write_all(endless.as_bytes())?;
            let block = [b' '; 64 * 1024];
            for _ in 0..BLOCKS_MAX {
                stream.write_all(&block)?;
                state.written_bytes.fetch_add(block.len() as u64, Ordering::SeqCst);
            }
        }
        Serving::Slow => {
            stream.write_all(endless.as_bytes())?;
            wait(state, || Ok(stream.write_all(b" ").and_then(|()| stream.flush())?))?;
        }
    }
    stream.flush()?;
    Ok(())
}

/// Takes its time, with something done each step.
fn wait(state: &State, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..SLOW_STEPS {
        if state.is_over.load(Ordering::SeqCst) {
            return Ok(());
        }
        step()?;
        std::thread::sleep(SLOW_STEP);
    }
    Ok(())
}
