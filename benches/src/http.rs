//! Calls on connections of their own: few, and how long they take does not count.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that an answer may have: metrics are the longest.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Headers that an answer may have.
const HEADERS_MAX: usize = 32;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header `Location`.
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Asks for a path: the status and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let answer = call(address, "GET", path, "", b"")?;
    Ok((answer.status, answer.body))
}

/// Makes a call. `headers` are whole lines.
#[expect(clippy::disallowed_methods, reason = "bounded by `BYTES_MAX`")]
pub(crate) fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Result<Answer> {
    let what = || format!("{method} http://{address}{path}");
    let mut stream = TcpStream::connect(address).with_context(what)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).with_context(what)?;
    stream.write_all(body).with_context(what)?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut answer).with_context(what)?;
    parse(&answer).with_context(what)
}

fn parse(answer: &[u8]) -> Result<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_start) = response.parse(answer)? else {
        anyhow::bail!("the answer ends within its head");
    };
    let location = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("location"));
    let location = location.map(|header| String::from_utf8_lossy(header.value).into_owned());
    let body = answer.get(body_start..).unwrap_or_default().to_vec();
    Ok(Answer { status: response.code.unwrap_or_default(), location, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_its_location_and_its_body() {
        let answer = b"HTTP/1.1 202 Accepted\r\nLocation: /x\r\ncontent-length: 2\r\n\r\n{}";
        let expected = Answer { status: 202, location: Some("/x".to_owned()), body: b"{}".into() };
        assert_eq!(parse(answer).unwrap(), expected);
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
