//! Makes one call after another, and says of each what was sent, what came, and what should have.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::secrets::Secrets;
use crate::client::{Answer, Client, Request};

/// What came of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many calls were made.
    pub calls: usize,
    /// What was not as documented.
    pub faults: Vec<String>,
    /// What was left out, and what it needs.
    pub left_out: Vec<&'static str>,
}

/// Walks, and prints as it goes.
pub(super) struct Walker<'o> {
    /// Without a slash at the end.
    url: String,
    client: Client,
    pub(super) secrets: Secrets,
    pub(super) tally: Tally,
    out: &'o mut dyn Write,
}

impl<'o> Walker<'o> {
    pub(super) fn new(url: &str, out: &'o mut dyn Write) -> Result<Self> {
        let url = url.trim_end_matches('/').to_owned();
        let mut client = Client::new(address_of(&url)?, "", "");
        client.connect().with_context(|| format!("nobody listens at {url}"))?;
        Ok(Self { url, client, secrets: Secrets::default(), tally: Tally::default(), out })
    }

    /// Makes a call and prints it. Another status than this one is a fault, and the walk goes on.
    pub(super) fn call(&mut self, what: &str, request: &Request, status: u16) -> Result<Answer> {
        self.tally.calls += 1;
        let number = self.tally.calls;
        writeln!(self.out, "\n{number}. {what}\n")?;
        writeln!(self.out, "{}", self.secrets.hidden(&curl(&self.url, request)))?;
        let sent = self.client.send(request);
        let answer = sent.with_context(|| format!("{what}: no answer from {}", self.url))?;
        if let Ok(body) = answer.json::<Value>() {
            self.secrets.hide_tokens_of(&body);
        }
        let found = answer.status;
        let judgement = if found == status { "as documented" } else { "NOT as documented" };
        writeln!(self.out, "{found} ({judgement}: {status})")?;
        if !answer.body.is_empty() {
            writeln!(self.out, "{}", self.secrets.hidden(&answer.text()))?;
        }
        if found != status {
            self.tally.faults.push(format!("{number}. {what}: {found}, documented is {status}"));
        }
        Ok(answer)
    }

    /// As [`Walker::call`], for the body of the answer.
    pub(super) fn json(&mut self, what: &str, request: &Request, status: u16) -> Result<Value> {
        let answer = self.call(what, request, status)?;
        answer.json().with_context(|| what.to_owned())
    }

    /// Says that a part is left out.
    pub(super) fn leave_out(&mut self, what: &'static str) -> Result<()> {
        writeln!(self.out, "\nLeft out: {what}.")?;
        self.tally.left_out.push(what);
        Ok(())
    }

    /// Notes what ended a part of the walk.
    pub(super) fn ended(&mut self, error: &anyhow::Error) -> Result<()> {
        let error = self.secrets.hidden(&format!("{error:#}"));
        writeln!(self.out, "\nThis part ends here: {error}")?;
        self.tally.faults.push(error);
        Ok(())
    }
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let Some(authority) = url.strip_prefix("http://") else {
        bail!(
            "{url:?} does not begin with http://: write http://host:port, as http://127.0.0.1:8080"
        )
    };
    let authority = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let mut found =
        authority.to_socket_addrs().with_context(|| format!("{url:?} names no host and port"))?;
    found.next().ok_or_else(|| anyhow!("{authority} has no address"))
}

/// A request as a command line.
fn curl(url: &str, request: &Request) -> String {
    let mut line = String::from("curl -i");
    if request.method != "GET" {
        line.push_str(&format!(" -X {}", request.method));
    }
    line.push_str(&format!(" {}", quoted(&format!("{url}{}", request.target))));
    for (name, value) in &request.headers {
        line.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
    }
    if !request.body.is_empty() {
        line.push_str(&format!(" -d {}", quoted(&String::from_utf8_lossy(&request.body))));
    }
    line
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_as_a_shell_takes_it() {
        let request = Request::post("/a?b=c", "it's").header("A", "b").bearer("t");
        let expected =
            r"curl -i -X POST 'http://h/a?b=c' -H 'A: b' -H 'Authorization: Bearer t' -d 'it'\''s'";
        assert_eq!(curl("http://h", &request), expected);
        assert_eq!(curl("http://h", &Request::get("/a")), "curl -i 'http://h/a'");
    }

    #[test]
    fn only_plain_http_is_spoken() {
        assert_eq!(address_of("http://127.0.0.1:81").unwrap().port(), 81);
        assert_eq!(address_of("http://127.0.0.1").unwrap().port(), 80);
        assert_eq!(address_of("http://[::1]:81").unwrap().port(), 81);
        for bad in ["https://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1/path", "http://"] {
            assert!(address_of(bad).is_err(), "{bad}");
        }
    }
}
