//! A submission that is interrupted in the middle, by death or by a signal.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::{eventually, terminate, text, wait};
use crate::deletion::{Place, failed, ids, state};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\n\r\n";

/// What becomes of a job that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The server gets it and answers.
    Answered,
    /// The server gets it, and its answer is lost.
    Unanswered,
    /// It is lost.
    Lost,
    /// It is to come again.
    Busy,
}

/// Stands before a server and loses what it is told to.
struct Between {
    url: String,
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
}

impl Between {
    fn new(server: &str, fates: &[Fate]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            fates: Mutex::new(fates.iter().rev().copied().collect()),
            sent: Mutex::default(),
            held: Mutex::default(),
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

    fn sent(&self) -> Vec<String> {
        self.shared.sent.lock().unwrap().clone()
    }

    fn held(&self) -> usize {
        self.shared.held.lock().unwrap().len()
    }
}

impl Shared {
    /// One call.
    fn serve(&self, mut client: TcpStream) {
        let Some((head, request)) = message(&client) else { return };
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
        let _ = client.write_all(&answer);
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

/// Ids of all users of all jobs, by number; a user in two jobs counts twice.
fn users_of_jobs(place: &Place) -> u64 {
    place.jobs().iter().map(|job| job["users"].as_u64().unwrap()).sum()
}

#[test]
fn a_submission_that_was_killed_continues_and_no_user_gets_a_second_job() {
    use Fate::{Answered, Lost, Unanswered};
    let place = Place::new();
    let list = place.file("ids.txt", ids(55));
    let between = Between::new(place.server.address(), &[Answered, Unanswered, Lost]);
    let args = ["submit", &list, "--ids-per-job", "10"];
    let mut killed = place.command_at(&between.url, &args).stderr(Stdio::null()).spawn().unwrap();
    eventually("two jobs are in flight, and one is kept", || {
        let kept = fs::read_to_string(state(&list)).unwrap_or_default().lines().count();
        between.held() == 2 && kept == 2
    });
    eventually("the unanswered one is known", || place.jobs().len() == 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // As if the machine had gone down while a line was written.
    let mut torn = fs::OpenOptions::new().append(true).open(state(&list)).unwrap();
    torn.write_all(b"{\"chunk\":7,\"acc").unwrap();

    let output = place.command_at(&between.url, &args).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 of 6 jobs accepted already"), "{said}");
    assert_eq!((place.jobs().len(), users_of_jobs(&place)), (6, 55));
    assert!(!state(&list).exists());
    // Only the lost one was sent again.
    let sent = between.sent();
    let keys: BTreeSet<&String> = sent.iter().collect();
    assert_eq!((keys.len(), sent.len()), (6, 7), "{sent:?}");
}

#[test]
fn a_server_that_is_busy_is_asked_again_with_the_same_key() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[Fate::Busy, Fate::Busy]);
    let output = place.command_at(&between.url, &["submit", &list]).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("trying again") && said.contains("503"), "{said}");
    let sent = between.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|key| key == &sent[0]), "{sent:?}");
    assert_eq!(place.jobs().len(), 1);
}

#[test]
fn a_signal_ends_it_with_exit_code_1_and_it_continues() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[Fate::Lost]);
    let args = ["submit", &list, "--ids-per-job", "1", "--parallel", "1"];
    let mut child = place.command_at(&between.url, &args).stderr(Stdio::piped()).spawn().unwrap();
    eventually("a job is in flight", || between.held() == 1);
    terminate(child.id());
    assert_eq!(wait(&mut child).code(), Some(1));
    let said = text(&child.wait_with_output().unwrap().stderr);
    assert!(said.contains("interrupted by SIGTERM; the same command continues it"), "{said}");
    let output = place.command_at(&between.url, &args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!((place.jobs().len(), users_of_jobs(&place)), (3, 3));
}

#[test]
fn a_pipe_that_nobody_fills_ends_with_a_signal() {
    let place = Place::new();
    let mut command = place.command(&["submit", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("--submission") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let input = child.stdin.take().unwrap();
    terminate(child.id());
    assert_eq!(wait(&mut child).code(), Some(1));
    drop(input);
}

#[test]
fn two_commands_do_not_submit_one_list_at_once() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[Fate::Lost]);
    let args = ["submit", &list];
    let mut first = place.command_at(&between.url, &args).stderr(Stdio::null()).spawn().unwrap();
    eventually("the job is in flight", || between.held() == 1);
    let second = place.command_at(&between.url, &args).output().unwrap();
    assert!(failed(&second, 1).contains("another process"));
    first.kill().unwrap();
    first.wait().unwrap();
}
