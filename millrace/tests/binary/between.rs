//! Stands before a server: loses, delays and replaces what passes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\n\r\n";

/// Longer than a command takes to ask for the jobs before.
const LATE: Duration = Duration::from_secs(1);

/// What becomes of a job that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server gets it and answers.
    Answered,
    /// The server gets it, and its answer is lost.
    Unanswered,
    /// It is lost.
    Lost,
    /// It is to come again.
    Busy,
    /// The server gets it, and answers after a while.
    Late,
}

/// Stands before a server and loses what it is told to.
pub(crate) struct Between {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    /// Of the jobs to come; what follows is answered.
    fates: Mutex<Vec<Fate>>,
    /// The keys of the jobs that were sent.
    sent: Mutex<Vec<String>>,
    /// Connections that stay open without an answer.
    held: Mutex<Vec<TcpStream>>,
    /// Answers to calls whose first line holds a text.
    own_answers: Mutex<BTreeMap<String, String>>,
}

impl Between {
    pub(crate) fn new(server: &str, fates: &[Fate]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            fates: Mutex::new(fates.iter().rev().copied().collect()),
            sent: Mutex::default(),
            held: Mutex::default(),
            own_answers: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let all = Arc::clone(&all);
                thread::spawn(move || all.serve(stream.unwrap()));
            }
        });
        Self { url, shared }
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.shared.sent.lock().unwrap().clone()
    }

    pub(crate) fn held(&self) -> usize {
        self.shared.held.lock().unwrap().len()
    }

    /// Answers calls whose first line holds a text, instead of the server.
    pub(crate) fn answer(&self, to: &str, status: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.shared.own_answers.lock().unwrap().insert(to.to_owned(), answer);
    }

    /// Leaves them to the server again.
    pub(crate) fn leave(&self, to: &str) {
        self.shared.own_answers.lock().unwrap().remove(to).unwrap();
    }
}

impl Shared {
    /// One call.
    fn serve(&self, mut client: TcpStream) {
        let Some((head, request)) = message(&client) else { return };
        if let Some(answer) = self.own_answer(&head) {
            let _ = client.write_all(answer.as_bytes());
            return;
        }
        let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
        let fate = key.map_or(Fate::Answered, |key| {
            self.sent.lock().unwrap().push(key.to_owned());
            self.fates.lock().unwrap().pop().unwrap_or(Fate::Answered)
        });
        if fate == Fate::Lost {
            self.held.lock().unwrap().push(client);
            return;
        }
        if fate == Fate::Busy {
            let _ = client.write_all(BUSY);
            return;
        }
        let mut server = TcpStream::connect(&self.server).unwrap();
        server.write_all(&request).unwrap();
        let Some((_, answer)) = message(&server) else { return };
        if fate == Fate::Unanswered {
            self.held.lock().unwrap().push(client);
            return;
        }
        if fate == Fate::Late {
            thread::sleep(LATE);
        }
        let _ = client.write_all(&answer);
    }

    fn own_answer(&self, head: &str) -> Option<String> {
        let line = head.lines().next()?;
        let answers = self.own_answers.lock().unwrap();
        answers.iter().find(|(to, _)| line.contains(*to)).map(|(_, answer)| answer.clone())
    }
}

/// An HTTP message with a `Content-Length`: its head, and all of it.
fn message(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut from = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut whole = head.clone().into_bytes();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    from.read_exact(&mut body).ok()?;
    whole.extend(body);
    Some((head, whole))
}
