//! `millrace dev` with its accounts: a server in a folder of its own, and the calls about people.
//!
//! Owns how requests of the accounts API are written. What the answers must be is the tests'.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::accounts::{CHEAP, json_request, login_request, text, user_create};
use crate::client::{Answer, Client, Request};
use crate::process::{Launch, Server, millrace_binary};

/// A server that is ended, and its folder removed, when it is let go.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub server: Server,
    folder: TempDir,
}

impl Site {
    /// Starts one. Its passwords are cheap, so that the tests are about something else.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(configure: impl FnOnce(Launch) -> Launch) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let launch = Launch::dev(&folder.path().join("data"))?.args(&CHEAP);
        let server = configure(launch).start()?;
        Ok(Self { server, folder })
    }

    /// The folder that holds the data folder, for files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Sends a request over a connection of its own.
    ///
    /// # Errors
    /// There is no answer.
    pub fn send(&self, request: &Request) -> Result<Answer> {
        Client::new(self.server.address, "", "").send(request)
    }

    /// A call with a JSON body.
    ///
    /// # Errors
    /// There is no answer.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(&json_request("POST", path, body.to_string()))
    }

    /// Registers an advertiser with [`crate::accounts::PASSWORD`].
    ///
    /// # Errors
    /// The answer is not 201.
    pub fn register(&self, email: &str, preferences: &Value) -> Result<Value> {
        let answer =
            self.post("/auth/register", &user_create(email, &json!({"preferences": preferences})))?;
        ensure!(answer.status == 201, "register: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Signs in by the form.
    ///
    /// # Errors
    /// There is no answer.
    pub fn login(&self, email: &str, password: &str) -> Result<Answer> {
        self.send(&login_request(email, password))
    }

    /// An access token.
    ///
    /// # Errors
    /// The credentials are wrong.
    pub fn token(&self, email: &str, password: &str) -> Result<String> {
        access_token(&self.login(email, password)?)
    }

    /// Who a token stands for.
    ///
    /// # Errors
    /// There is no answer.
    pub fn me(&self, token: &str) -> Result<Answer> {
        self.send(&Request::get("/users/me").bearer(token))
    }

    /// Changes a user.
    ///
    /// # Errors
    /// There is no answer.
    pub fn update(&self, token: &str, body: &Value) -> Result<Answer> {
        self.send(&json_request("PATCH", "/user/info", body.to_string()).bearer(token))
    }

    /// The value of a metric, as `name{label="value"}`; 0 if it was never counted.
    ///
    /// # Errors
    /// There is no answer.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let metrics = self.server.admin_client().send(&Request::get("/metrics"))?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |value| Ok(value.parse()?))
    }

    /// Runs a command beside the server, with a line on its standard input.
    ///
    /// # Errors
    /// It fails.
    pub fn command(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(millrace_binary()?);
        command.args(args).arg("--data").arg(self.data());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {}: {error}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The token of an answer to a login.
///
/// # Errors
/// It is another answer.
pub fn access_token(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 200, "login: {} {}", answer.status, answer.text());
    let body: Value = answer.json()?;
    ensure!(body["token_type"] == "bearer", "{body}");
    text(&body, "access_token")
}

/// The `detail` of an error, and the status before it.
///
/// # Errors
/// The body is of another shape.
pub fn refusal(answer: &Answer) -> Result<(u16, Value)> {
    let body: Value = answer.json()?;
    let body = body.as_object().context("the body is no object")?;
    let detail = body.get("detail").filter(|_| body.len() == 1);
    Ok((answer.status, detail.context("not only a detail")?.clone()))
}
