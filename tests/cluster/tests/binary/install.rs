//! An installation on a cluster: names of its own, and the commands that are typed for it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use millrace_cluster::Cluster;
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, BOOTSTRAP_SECRET, CHEAP, PASSWORD, TOKEN_SECRET,
};
use millrace_tests::client::{Answer, Connection, Request};
use millrace_tests::process::{Launch, Server, millrace_binary};
use serde_json::Value;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(90);
/// Partitions of every topic.
const PARTITIONS: &str = "2";

/// A folder and names that nobody else uses.
pub(crate) struct Install {
    folder: tempfile::TempDir,
    options: Vec<String>,
    /// Further environment of every process.
    env: Vec<(String, String)>,
    pub(crate) name: String,
}

impl Install {
    pub(crate) fn new(cluster: &Cluster, what: &str) -> Self {
        let name = cluster.unique(what);
        let contact_points = cluster.contact_points();
        let cql: Vec<String> = contact_points.iter().map(ToString::to_string).collect();
        let options = [
            ("--kafka", cluster.bootstrap()),
            ("--cql", cql.join(",")),
            ("--kafka-prefix", name.clone()),
            ("--cql-keyspace", name.clone()),
            ("--cql-settle-ms", "500".to_owned()),
            ("--partitions", PARTITIONS.to_owned()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let folder = tempfile::tempdir().unwrap();
        Self { folder, options: options.collect(), env: Vec::new(), name }
    }

    /// With one more variable for every process.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a command to its end; later options count.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    /// The same, with this on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(millrace_binary().unwrap());
        let (first, more) = args.split_at(args.iter().take_while(|a| !a.starts_with("--")).count());
        command.args(first).args(self.options_but(more)).args(more);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.arg("--data").arg(self.data());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Few commands ask for input; the others may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The options, without those that are given otherwise.
    fn options_but(&self, given: &[&str]) -> Vec<String> {
        let pairs = self.options.chunks(2);
        pairs.filter(|pair| !given.contains(&&*pair[0])).flatten().cloned().collect()
    }

    /// Runs a command that must succeed; what it printed as JSON.
    pub(crate) fn run_json(&self, args: &[&str]) -> Value {
        self.run_json_with(args, "")
    }

    /// The same, with this on standard input.
    pub(crate) fn run_json_with(&self, args: &[&str], input: &str) -> Value {
        let output = self.run_with(&[args, &["--json"]].concat(), input);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Topics and tables.
    pub(crate) fn migrated(self) -> Self {
        self.run_json(&["migrate", "--replication-factor", "1"]);
        self
    }

    /// A command that serves.
    pub(crate) fn launch(&self, args: &[&str]) -> Launch {
        let folder = self.folder.path().to_owned();
        let binary = millrace_binary().unwrap();
        let launch = Launch { binary, args: Vec::new(), folder, env: self.env.clone() };
        let options = self.options_but(args);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        launch.args(args).args(&options).args(&["--admin-listen", "127.0.0.1:0"])
    }

    /// A worker of a role.
    pub(crate) fn worker(&self, role: &str) -> Launch {
        let key = self.folder.path().join("receipts.pem");
        self.launch(&["worker", "--role", role, "--receipt-key", key.to_str().unwrap()])
    }

    /// A front door.
    pub(crate) fn door(&self) -> Launch {
        let key = self.data().join("keys/signing.pub.pem");
        let key = key.to_str().unwrap();
        self.launch(&["ingest", "--listen", "127.0.0.1:0", "--verify-key", key])
    }

    /// A front door at which people sign in: all have one file of secrets and one outbox.
    pub(crate) fn people_door(&self) -> Launch {
        let secrets = self.folder.path().join("token.secret");
        if !secrets.exists() {
            millrace_accounts::write_private(&secrets, TOKEN_SECRET.as_bytes()).unwrap();
        }
        let outbox = self.folder.path().join("outbox");
        let door = self.door().args(&["--token-secrets-file", secrets.to_str().unwrap()]);
        door.args(&["--outbox", outbox.to_str().unwrap(), "--public-url", "http://example.com"])
            .args(&CHEAP)
            .env("MILLRACE_BO_BOOTSTRAP_SECRET", BOOTSTRAP_SECRET)
            .env("MILLRACE_BO_BOOTSTRAP_EMAIL", BACK_OFFICE_EMAIL)
            .env("MILLRACE_BO_BOOTSTRAP_PASSWORD", PASSWORD)
            .env("MILLRACE_BO_BOOTSTRAP_FIRST_NAME", "Olga")
            .env("MILLRACE_BO_BOOTSTRAP_LAST_NAME", "Office")
            .env("MILLRACE_BO_BOOTSTRAP_PHONE", "+49 30 1")
    }

    /// Makes an admin of the accounts API at the command line.
    pub(crate) fn admin(&self, email: &str) -> Value {
        let named = ["user", "create", "--email", email, "--name", "First admin"];
        let rest = ["--role", "admin", "--admin", "--password-stdin"];
        self.run_json_with(&[&named[..], &rest].concat(), PASSWORD)
    }

    /// A process that must end by itself with an error; the error.
    pub(crate) fn refused(&self, launch: &Launch) -> String {
        let (status, error) = launch.spawn().unwrap().ended().unwrap();
        assert_eq!(status.code(), Some(1), "{error}");
        error
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The admin address's answer.
pub(crate) fn admin(server: &Server, path: &str) -> Answer {
    let mut connection = Connection::open(server.admin).unwrap();
    connection.send(&Request::get(path).header("Connection", "close").bytes()).unwrap();
    connection.answer().unwrap()
}

/// Ends it, which must not cut anything short.
pub(crate) fn stop(server: Server) {
    let log = server.launch().folder.clone();
    let (status, launch) = server.terminate().unwrap();
    assert_eq!(status.code(), Some(0), "{:?}; its log is in {log:?}", launch.args);
}
