//! An installation with people in it: the accounts and back-office APIs, seen from outside.
//!
//! Owns starting it, its first people, their credentials and their mails. Must not know what a call
//! ought to answer.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, Client, Request, percent_encode};
use crate::mail::{Mail, outbox};
use crate::process::{Launch, Server};
use crate::world::until;

/// What the tokens of an [`Installation`] are signed with.
pub const TOKEN_SECRET: &str = "token-secret-of-the-tests-0123456789abcdefghij";
/// What makes its first back-office user.
pub const BOOTSTRAP_SECRET: &str = "bootstrap-secret-of-the-tests";
/// The password of whoever is made by [`Installation::join`].
pub const PASSWORD: &str = "Correct-horse-7-battery!";
/// The address of the first back-office user.
pub const BACK_OFFICE_EMAIL: &str = "office@example.com";

/// The smallest cost of a hash: most tests are not about it.
pub const CHEAP: [&str; 6] =
    ["--argon2-memory-kib", "8", "--argon2-passes", "1", "--argon2-lanes", "1"];

/// A connection that was idle for longer may have been closed by the server.
const IDLE: Duration = Duration::from_secs(5);

const NO_LIMITS: [&str; 12] = [
    "--logins-per-account",
    "1000000/1",
    "--logins-per-address",
    "1000000/1",
    "--hashes-per-account",
    "1000000/1",
    "--hashes-per-address",
    "1000000/1",
    "--mails-per-account",
    "1000000/1",
    "--mails-per-address",
    "1000000/1",
];

/// A running `millrace dev` with token secrets of the test's own.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
    /// The process.
    pub server: Server,
    client: Client,
    used: Instant,
    outbox: Outbox,
    /// Makes addresses differ.
    people: u32,
}

/// Somebody with an account of the accounts API.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their address.
    pub email: String,
    /// An access token.
    pub token: String,
}

/// What the back office gives who signs in.
#[derive(Clone, Debug)]
pub struct Signed {
    /// For `Authorization`.
    pub access: String,
    /// For `x-session-token`.
    pub session: String,
    /// For new ones of both.
    pub refresh: String,
}

/// A request with a body of JSON, or without one.
pub fn json_request(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Request {
    let (method, target, body) = (method.to_owned(), target.to_owned(), body.into());
    let request = Request { method, target, body, ..Request::default() };
    match request.body.is_empty() {
        true => request,
        false => request.header("Content-Type", "application/json"),
    }
}

/// The login of the accounts API.
pub fn login_request(email: &str, password: &str) -> Request {
    let (email, password) = (percent_encode(email), percent_encode(password));
    let form = format!("grant_type=password&username={email}&password={password}");
    let request = Request::post("/auth/jwt/login", form);
    request.header("Content-Type", "application/x-www-form-urlencoded")
}

/// The login of the back office.
pub fn office_login_request(email: &str, password: &str) -> Request {
    let body = json!({"email": email, "password": password}).to_string();
    json_request("POST", "/auth-rs/v2/bo/login", body)
}

/// The body of a registration, with what `more` adds or replaces.
pub fn user_create(email: &str, more: &Value) -> Value {
    let mut body = json!({
        "email": email,
        "name": "Somebody",
        "password": PASSWORD,
        "permissions": {},
        "role": "advertiser",
        "preferences": {"etc": {"language": "en"}},
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more.clone());
    }
    body
}

/// The body of an audit user.
pub fn audit_user(email: &str) -> Value {
    json!({
        "firstName": "Ada",
        "lastName": "Audit",
        "email": email,
        "phone": "+33 1 23",
        "password": PASSWORD,
        "lang": "fr",
    })
}

impl Installation {
    /// Starts one without limits of attempts, and with further arguments.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let secrets = folder.path().join("token.secret");
        write_private(&secrets, TOKEN_SECRET)?;
        let secrets = secrets.to_str().context("the folder's name is not text")?;
        let data = folder.path().join("data");
        let launch = Launch::dev(&data)?
            .args(&["--token-secrets-file", secrets])
            .args(&NO_LIMITS)
            .args(args)
            .env("MILLRACE_BO_BOOTSTRAP_SECRET", BOOTSTRAP_SECRET)
            .env("MILLRACE_BO_BOOTSTRAP_EMAIL", BACK_OFFICE_EMAIL)
            .env("MILLRACE_BO_BOOTSTRAP_PASSWORD", PASSWORD)
            .env("MILLRACE_BO_BOOTSTRAP_FIRST_NAME", "Olga")
            .env("MILLRACE_BO_BOOTSTRAP_LAST_NAME", "Office")
            .env("MILLRACE_BO_BOOTSTRAP_PHONE", "+49 30 1")
            .env("MILLRACE_BO_BOOTSTRAP_LANG", "de");
        let server = launch.start()?;
        let client = server.client();
        let outbox = Outbox::new(data.join("outbox"));
        Ok(Self { folder, server, client, used: Instant::now(), outbox, people: 0 })
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Sends a request.
    ///
    /// # Errors
    /// No answer.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        if self.used.elapsed() > IDLE {
            self.client = self.server.client();
        }
        let answer = self.client.send(request);
        self.used = Instant::now();
        answer
    }

    /// Sends a request that must be answered with this status.
    ///
    /// # Errors
    /// It is not.
    pub fn expect(&mut self, request: &Request, status: u16) -> Result<Answer> {
        let answer = self.send(request)?;
        let (method, target) = (&request.method, &request.target);
        let found = answer.status;
        ensure!(found == status, "{method} {target}: {found}, not {status}: {}", answer.text());
        Ok(answer)
    }

    /// As [`Installation::expect`], with a bearer; the answer as JSON.
    ///
    /// # Errors
    /// It is not answered so.
    pub fn json(
        &mut self,
        (method, target): (&str, &str),
        bearer: &str,
        body: &Value,
        status: u16,
    ) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.expect(&json_request(method, target, body).bearer(bearer), status)?.json()
    }

    /// Runs a command of the same binary on the same folder, with this on standard input; what it
    /// printed.
    ///
    /// # Errors
    /// It fails.
    pub fn command(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(&self.server.launch().binary);
        command.args(args).arg("--json").arg("--data").arg(self.data());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // A command that asks for no input may have ended.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "millrace {args:?}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The first admin, made at the command line.
    ///
    /// # Errors
    /// It is not made, or cannot sign in.
    pub fn first_admin(&mut self) -> Result<Person> {
        let email = "admin@example.com";
        let args = ["user", "create", "--email", email, "--name", "First admin"];
        let rest = ["--role", "admin", "--password-stdin"];
        self.command(&[&args[..], &rest].concat(), PASSWORD)?;
        self.signed_in(email)
    }

    /// An address that nobody has.
    pub fn new_email(&mut self) -> String {
        self.people += 1;
        format!("person-{}@example.com", self.people)
    }

    /// Somebody new, made by an admin, or by themselves; `more` is added to the body.
    ///
    /// # Errors
    /// They are not made, or cannot sign in.
    pub fn join(&mut self, admin: Option<&Person>, more: &Value) -> Result<Person> {
        let email = self.new_email();
        let body = user_create(&email, more).to_string();
        let request = json_request("POST", "/auth/register", body);
        let request = match admin {
            Some(admin) => request.bearer(&admin.token),
            None => request,
        };
        self.expect(&request, 201)?;
        self.signed_in(&email)
    }

    /// Whoever has this address and the password of all, newly signed in.
    ///
    /// # Errors
    /// They are not let in.
    pub fn signed_in(&mut self, email: &str) -> Result<Person> {
        let answer: Value = self.expect(&login_request(email, PASSWORD), 200)?.json()?;
        let token = text(&answer, "access_token")?;
        let me: Value = self.expect(&Request::get("/users/me").bearer(&token), 200)?.json()?;
        Ok(Person { id: text(&me, "id")?, email: email.to_owned(), token })
    }

    /// The first back-office user, made and signed in.
    ///
    /// # Errors
    /// They are not made, or not let in.
    pub fn bootstrap(&mut self) -> Result<Signed> {
        let body = json!({"secret": BOOTSTRAP_SECRET}).to_string();
        let path = "/users/v1/bo/back-office/bootstrap";
        self.expect(&json_request("POST", path, body), 201)?;
        self.office_signed_in(BACK_OFFICE_EMAIL)
    }

    /// Whoever has this address in the back office, newly signed in.
    ///
    /// # Errors
    /// They are not let in.
    pub fn office_signed_in(&mut self, email: &str) -> Result<Signed> {
        let answer: Value = self.expect(&office_login_request(email, PASSWORD), 200)?.json()?;
        let data = answer.get("data").context("no data")?;
        let [access, session, refresh] =
            ["accessToken", "sessionToken", "refreshToken"].map(|name| text(data, name));
        Ok(Signed { access: access?, session: session?, refresh: refresh? })
    }

    /// A new audit user: address and id.
    ///
    /// # Errors
    /// They are not made.
    pub fn new_audit_user(&mut self, by: &Signed) -> Result<(String, i64)> {
        let email = self.new_email();
        let request = json_request("POST", "/users/v1/bo/audit", audit_user(&email).to_string());
        let request = request.bearer(&by.access).header("x-session-token", &by.session);
        let answer: Value = self.expect(&request, 201)?.json()?;
        let id = answer.pointer("/data/id").and_then(Value::as_i64).context("no id")?;
        Ok((email, id))
    }

    /// A token that is mailed to somebody upon this call (`/auth/forgot-password`,
    /// `/auth/request-verify-token`).
    ///
    /// # Errors
    /// No mail comes.
    pub fn mailed_token(&mut self, path: &str, email: &str) -> Result<String> {
        let body = json!({"email": email}).to_string();
        self.expect(&json_request("POST", path, body), 202)?;
        let outbox = &mut self.outbox;
        until("a mail", || outbox.take(email).transpose())?
    }
}

/// A member that is a text.
///
/// # Errors
/// It is not there.
pub fn text(value: &Value, name: &str) -> Result<String> {
    let found = value.get(name).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no {name} in {value}"))?.to_owned())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(writeln!(file, "{text}")?)
}

/// The folder of mails, read as they come.
#[derive(Debug)]
struct Outbox {
    folder: PathBuf,
    read: HashSet<PathBuf>,
    /// Tokens by address, the oldest first.
    tokens: BTreeMap<String, Vec<String>>,
}

impl Outbox {
    fn new(folder: PathBuf) -> Self {
        Self { folder, read: HashSet::new(), tokens: BTreeMap::new() }
    }

    /// The newest token that was mailed to somebody and not taken yet.
    fn take(&mut self, email: &str) -> Result<Option<String>> {
        for path in outbox(&self.folder)? {
            if self.read.contains(&path) {
                continue;
            }
            let mail = Mail::parse(&fs::read_to_string(&path)?)?;
            let to = mail.header("To").context("a mail to nobody")?.to_owned();
            self.tokens.entry(to).or_default().push(mail.token()?);
            self.read.insert(path);
        }
        Ok(self.tokens.get_mut(email).and_then(Vec::pop))
    }
}
