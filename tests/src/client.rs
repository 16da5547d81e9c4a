//! A small blocking HTTP/1.1 client, one connection, with control over every byte.
//!
//! Owns requests and answers as bytes. Must not know what the calls mean. It never sends a request
//! a second time by itself: what became of an unanswered one is for the caller to record.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long any single read or write may take before the server counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, percent-encoded.
    pub target: String,
    /// Names and values; `Host` and `Content-Length` are added.
    pub headers: Vec<(String, String)>,
    /// The body, as it goes over the wire.
    pub body: Vec<u8>,
    /// Send the body in chunks of this size instead of with a `Content-Length`.
    pub chunk_bytes: Option<usize>,
}

impl Request {
    /// A `GET`.
    pub fn get(target: impl Into<String>) -> Self {
        Self { method: "GET".into(), target: target.into(), ..Self::default() }
    }

    /// A `POST`.
    pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let (method, target, body) = ("POST".into(), target.into(), body.into());
        Self { method, target, body, ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    /// The bytes of the whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out =
            format!("{} {} HTTP/1.1\r\nHost: millrace\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(chunk_bytes) = self.chunk_bytes {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in self.body.chunks(chunk_bytes.max(1)) {
                out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
        } else {
            if self.method != "GET" || !self.body.is_empty() {
                let length = format!("Content-Length: {}\r\n", self.body.len());
                out.extend_from_slice(length.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON; the error shows status and body.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("answer {}: {:.500}", self.status, self.text()))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(to: SocketAddr) -> Result<Self> {
        Self::open_within(to, DEADLINE)
    }

    /// Connects; any single step may take so long.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open_within(to: SocketAddr, deadline: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&to, deadline.min(CONNECT_DEADLINE))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(deadline))?;
        stream.set_write_timeout(Some(deadline))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&mut self) -> Result<()> {
        Ok(self.stream.get_mut().shutdown(Shutdown::Write)?)
    }

    /// Reads the next final answer.
    ///
    /// # Errors
    /// The connection ended, the deadline passed, or it is not HTTP.
    pub fn answer(&mut self) -> Result<Answer> {
        loop {
            let (status, headers) = self.head()?;
            if status < 200 {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            answer.body = self.body(&answer)?;
            return Ok(answer);
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        (&mut self.stream).take(HEAD_BYTES_MAX).read_until(b'\n', &mut line)?;
        ensure!(line.ends_with(b"\n"), "the connection ended within an answer's head");
        Ok(String::from_utf8(line)?.trim_end().to_owned())
    }

    fn head(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let Some(status) = status.and_then(|s| s.parse().ok()) else {
            bail!("not an answer: {first:?}")
        };
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let Some((name, value)) = line.split_once(':') else { bail!("no header: {line:?}") };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, head: &Answer) -> Result<Vec<u8>> {
        if head.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return self.chunks();
        }
        let length = head.header("content-length").map(str::parse::<u64>).transpose()?;
        let length = length.unwrap_or(0);
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = u64::from_str_radix(line.split(';').next().unwrap_or(""), 16)?;
            ensure!(length <= ANSWER_BYTES_MAX, "a chunk of {length} bytes");
            let start = body.len();
            body.resize(start + usize::try_from(length)?, 0);
            self.stream.read_exact(&mut body[start..])?;
            ensure!(self.line()?.is_empty(), "a chunk does not end with its line");
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

/// A client of one server, with one connection that is opened when needed.
#[derive(Debug)]
pub struct Client {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The project, already percent-encoded.
    pub project: String,
    /// The API key.
    pub key: String,
    connection: Option<Connection>,
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(address: SocketAddr, project: &str, key: &str) -> Self {
        let (project, key) = (percent_encode(project), key.to_owned());
        Self { address, project, key, connection: None }
    }

    /// A request to one of the five calls, with project and key.
    pub fn call(&self, path: &str, body: impl Into<Vec<u8>>) -> Request {
        let target = format!("{path}?project_id={}", self.project);
        Request::post(target, body).bearer(&self.key)
    }

    /// A read-back request, with project and key. `query` is appended: `&limit=3`.
    pub fn read(&self, path: &str, query: &str) -> Request {
        let target = format!("{path}?project_id={}{query}", self.project);
        Request::get(target).bearer(&self.key)
    }

    /// Connects, unless it has.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(&mut self) -> Result<()> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(self.address)?);
        }
        Ok(())
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// There was none. What became of the request is not known.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        self.connect()?;
        let mut connection = self.connection.take().context("no connection")?;
        let sent = connection.send(&request.bytes());
        // A server may refuse early and close: its answer counts more than the failed write.
        let answer = match (connection.answer(), sent) {
            (Ok(answer), _) => answer,
            (Err(_), Err(broken)) => return Err(broken),
            (Err(error), Ok(())) => return Err(error),
        };
        if !answer.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// Sends a request, tearing up the connection afterwards.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_alone(&mut self, request: &Request) -> Result<Answer> {
        self.connection = None;
        let answer = self.send(request);
        self.connection = None;
        answer
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 section 2.3).
pub fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
