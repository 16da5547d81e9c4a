//! A front door in this process, on port 0, over a real log and store, and a client that speaks
//! bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use millrace_accounts::{ApiKey, ReceiptKeys, Scope, Signer, Verifier};
use millrace_ingest::{Check, Config, Parts, Readiness, Server};
use millrace_log::embedded::EmbeddedLog;
use millrace_log::{Log, LogRecord};
use millrace_schema::Topic;
use millrace_store::embedded::EmbeddedStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::people::SignIn;

/// The project of the fixture's key.
pub(crate) const PROJECT: &str = "p 1";
/// The same, as a query parameter.
pub(crate) const QUERY: &str = "project_id=p%201";

pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) key: String,
    signer: Signer,
    pub(crate) dir: tempfile::TempDir,
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The codes of the listed errors.
    pub(crate) fn codes(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap();
        errors.iter().map(|e| e["code"].as_str().unwrap().to_owned()).collect()
    }
}

/// Small enough that tests reach the limits, and on free ports.
pub(crate) fn config() -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config { listen: any, admin_listen: any, ..Config::default() }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(config(), None).await
    }

    /// A fixture whose revocations were never read, on a log that is ready under `checks`.
    pub(crate) async fn unread(checks: Vec<Check>) -> Self {
        Self::start(config(), None, checks, false, None).await
    }

    /// A fixture where people sign in.
    pub(crate) async fn of_people(config: Config, sign_in: SignIn) -> Self {
        Self::start(config, None, Vec::new(), true, Some(sign_in)).await
    }

    /// A fixture over the embedded log, or another.
    pub(crate) async fn with(config: Config, log: Option<Arc<dyn Log>>) -> Self {
        Self::start(config, log, Vec::new(), true, None).await
    }

    async fn start(
        config: Config,
        log: Option<Arc<dyn Log>>,
        checks: Vec<Check>,
        read: bool,
        sign_in: Option<SignIn>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = log.unwrap_or_else(|| {
            let config = millrace_log::embedded::Config::default();
            Arc::new(EmbeddedLog::open(&dir.path().join("log"), config).unwrap())
        });
        let store = millrace_store::embedded::Config::default();
        let store = EmbeddedStore::open(&dir.path().join("store"), store).unwrap();
        let signer = Signer::load_or_create(&dir.path().join("signing.pem")).unwrap();
        let verifier = Arc::new(Verifier::new([signer.public_key().clone()]));
        if read {
            verifier.refresh(&store).await.unwrap();
        }
        let store = Arc::new(store);
        let identity = match sign_in {
            Some(sign_in) => Some(sign_in.identity(store.clone(), dir.path()).await),
            None => None,
        };
        let parts = Parts {
            log: Arc::clone(&log),
            receipt_keys: ReceiptKeys::new(store.clone()),
            store: store.clone(),
            verifier: Arc::clone(&verifier),
            identity,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            readiness: Arc::new(Readiness::new(Arc::clone(&log), checks)),
        };
        let server = millrace_ingest::start(config, parts).await.unwrap();
        let mut fixture = Self { server, log, store, verifier, key: String::new(), signer, dir };
        fixture.key = fixture.mint(PROJECT, &Scope::ALL, None).1;
        fixture
    }

    pub(crate) fn mint(
        &self,
        project: &str,
        scopes: &[Scope],
        expires_us: Option<i64>,
    ) -> (Uuid, String) {
        let key = ApiKey {
            id: Uuid::now_v7(),
            project: project.to_owned(),
            scopes: scopes.to_vec(),
            created_us: 0,
            expires_us,
            revoked_us: None,
        };
        (key.id, self.signer.mint(&key).unwrap())
    }

    /// A POST of the fixture's project and key.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let path = format!("{path}?{QUERY}");
        let headers = format!("Authorization: Bearer {}\r\n{headers}", self.key);
        self.request("POST", &path, &headers, body).await
    }

    /// A GET of the fixture's project and key.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let headers = format!("Authorization: Bearer {}\r\n", self.key);
        self.request("GET", &format!("{path}?{QUERY}"), &headers, b"").await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Answer {
        let length = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n");
        let mut connection = self.connect().await;
        connection.send(head.as_bytes()).await;
        connection.send(body).await;
        connection.answer(method == "HEAD").await
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.server.addr()).await
    }

    /// The head of an events call, of a body of so many bytes.
    pub(crate) fn events_head(&self, length: usize) -> String {
        let key = &self.key;
        format!(
            "POST /v1/api/events?{QUERY} HTTP/1.1\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    }

    /// A connection whose events call is being read: only the body is still to come.
    pub(crate) async fn being_read(&self, length: usize) -> Connection {
        self.continued(&self.events_head(length)).await
    }

    /// The same, of a body in chunks.
    pub(crate) async fn being_read_in_chunks(&self) -> Connection {
        let head = self.events_head(0);
        self.continued(&head.replace("Content-Length: 0", "Transfer-Encoding: chunked")).await
    }

    async fn continued(&self, head: &str) -> Connection {
        let head = head.replacen("\r\n", "\r\nExpect: 100-continue\r\n", 1);
        let mut connection = self.connect().await;
        connection.send(head.as_bytes()).await;
        assert_eq!(connection.answer(true).await.status, 100);
        connection
    }

    /// Waits until a topic has a record.
    pub(crate) async fn wait_for_a_record(&self, topic: Topic) {
        let mut subscription = self.log.subscribe("waiting", topic).unwrap();
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..self.log.partitions() {
            let mut reader = subscription.next().await.unwrap().unwrap();
            reader.seek(0).await.unwrap();
            readers.spawn(async move { reader.read(1).await.unwrap().len() });
        }
        assert_eq!(readers.join_next().await.unwrap().unwrap(), 1);
    }

    /// All records of a topic.
    pub(crate) async fn records(&self, topic: Topic) -> Vec<(u32, LogRecord)> {
        let mut found = Vec::new();
        let mut subscription = self.log.subscribe("test", topic).unwrap();
        for _ in 0..self.log.partitions() {
            let mut reader = subscription.next().await.unwrap().unwrap();
            let partition = reader.partition();
            let end = self.log.bounds(topic).await.unwrap()[partition as usize].end;
            reader.seek(0).await.unwrap();
            let mut next = 0;
            while next < end {
                for record in reader.read(1 << 20).await.unwrap() {
                    next = record.offset + 1;
                    found.push((partition, record));
                }
            }
        }
        found
    }
}

/// A connection that sends what it is told and reads answers.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn to(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends bytes; a server that has closed is no failure here, its answer tells.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self, head_only: bool) -> Answer {
        self.try_answer(head_only).await.expect("an answer before the end of the connection")
    }

    /// The next answer, unless the connection ends first.
    pub(crate) async fn try_answer(&mut self, head_only: bool) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head: Vec<u8> = self.buffer.drain(..head_end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
        let length = if head_only { 0 } else { length };
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let body = self.buffer.drain(..length).collect();
        Some(Answer { status, headers, body })
    }

    async fn fill(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(Duration::from_secs(30), read).await;
        let read = read.expect("an answer or an end within half a minute");
        matches!(read, Ok(1..)).then_some(())
    }
}
