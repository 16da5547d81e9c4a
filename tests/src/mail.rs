//! Mails as a recipient sees them: taken over SMTP, or read from an outbox folder.
//!
//! Owns the SMTP server of the tests and the reading of mails. Must not know what is in them,
//! but that there is one link.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::python::Python;
use crate::tls::Certificate;

const SCRIPT: &str = include_str!("smtp.py");
/// How long a mail may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A mail, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mail {
    /// Names as written, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

impl Mail {
    /// Reads the text of an `.eml` file. Encoded words of headers stay as they are.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(eml: &str) -> Result<Self> {
        let (head, body) = eml.split_once("\r\n\r\n").context("no end of the head")?;
        let unfolded = head.replace("\r\n ", " ");
        let lines = unfolded.split("\r\n");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        let headers: Option<Vec<_>> = lines.map(header).collect();
        let mut mail = Self { headers: headers.context("a line is no header")?, text: body.into() };
        let bytes = match mail.header("Content-Transfer-Encoding") {
            Some("base64") => STANDARD.decode(body.replace("\r\n", ""))?,
            Some("quoted-printable") => unquoted(&body.replace("=\r\n", ""))?,
            _ => body.into(),
        };
        mail.text = String::from_utf8(bytes)?.replace("\r\n", "\n");
        Ok(mail)
    }

    /// The value of the only header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = named.next()?;
        named.next().is_none().then_some(first.1.as_str())
    }

    /// The line that is a link.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn link(&self) -> Result<&str> {
        let links: Vec<&str> = self.text.lines().filter(|line| line.contains("://")).collect();
        let [link] = links[..] else { bail!("not one link: {}", self.text) };
        Ok(link)
    }

    /// The token of its link.
    ///
    /// # Errors
    /// There is no link with one.
    pub fn token(&self) -> Result<String> {
        let (_, token) = self.link()?.split_once("?token=").context("no token in the link")?;
        Ok(token.replace("%2E", ".").replace("%2D", "-").replace("%5F", "_"))
    }
}

/// Undoes quoted-printable (RFC 2045, section 6.7), soft line breaks being gone.
fn unquoted(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split('=');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).context("a = that ends the text")?;
        out.push(u8::from_str_radix(code, 16)?);
        out.extend_from_slice(rest.as_bytes());
    }
    Ok(out)
}

/// The files of an outbox folder, oldest first. None if there is no folder.
///
/// # Errors
/// It cannot be read.
pub fn outbox(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let paths: Result<Vec<_>> = paths.collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    Ok(paths)
}

/// A mail that was taken, and how it came.
#[derive(Clone, Debug, Deserialize)]
pub struct Taken {
    /// Who it says it is from, to the server.
    pub from: String,
    /// Whom the server shall give it to.
    pub to: Vec<String>,
    /// Whether it came by TLS.
    pub is_encrypted: bool,
    /// Whether its sender had signed in.
    pub is_authenticated: bool,
    /// The mail.
    pub mail: Mail,
}

/// What became of a mail.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It was taken.
    Taken(Box<Taken>),
    /// The recipient of this address is not known.
    Refused(String),
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// After `STARTTLS`, which is demanded.
    StartTls,
    /// With the first byte.
    Implicit,
}

/// What an SMTP server asks of those who send.
#[derive(Clone, Debug, Default)]
pub struct Terms<'a> {
    /// Where it listens; 0: anywhere.
    pub port: u16,
    /// Name and password.
    pub login: Option<(&'a str, &'a str)>,
    /// When TLS begins, and the server's certificate.
    pub tls: Option<(Tls, &'a Certificate)>,
}

/// An SMTP server that is ended in `Drop`.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// Where it listens.
    pub port: u16,
}

impl Sink {
    /// Starts one.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(python: &Python, terms: &Terms<'_>) -> Result<Self> {
        let mut command = python.script(SCRIPT);
        command.args(["--port", &terms.port.to_string()]);
        if let Some((user, password)) = terms.login {
            command.args(["--login", user, password]);
        }
        if let Some((tls, certificate)) = terms.tls {
            let tls = if tls == Tls::StartTls { "starttls" } else { "implicit" };
            command.args(["--tls", tls, "--certificate"]).arg(&certificate.certificate);
            command.arg("--key").arg(&certificate.key);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut sink = Self { child, lines, port: 0 };
        sink.port = sink.line()?.parse()?;
        Ok(sink)
    }

    /// Waits for the next mail.
    ///
    /// # Errors
    /// None comes.
    pub fn next(&self) -> Result<Fate> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Waits for a mail that is taken.
    ///
    /// # Errors
    /// None comes, or one is refused.
    pub fn take(&self) -> Result<Taken> {
        match self.next()? {
            Fate::Taken(taken) => Ok(*taken),
            Fate::Refused(address) => bail!("the mail to {address} was refused"),
        }
    }

    /// Whatever else came so far must be nothing.
    ///
    /// # Errors
    /// Something came.
    pub fn expect_no_more(&self) -> Result<()> {
        let more: Vec<String> = self.lines.try_iter().collect();
        ensure!(more.is_empty(), "{more:?}");
        Ok(())
    }

    fn line(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).with_context(|| format!("no mail within {PATIENCE:?}"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_whatever_its_encoding() {
        let head = "From: a@b.co\r\nSubject: =?utf-8?b?7JWI?=\r\n =?utf-8?b?64WV?=\r\n";
        for (encoding, body) in [
            ("base64", "7JWI64WVIGh0dHA6Ly9oP3Rva2VuPWElMkVi\r\n"),
            ("quoted-printable", "=EC=95=88=EB=85=\r\n=95 http://h?token=3Da%2Eb\r\n"),
        ] {
            let eml = format!("{head}Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
            let mail = Mail::parse(&eml).unwrap();
            assert_eq!(mail.header("subject"), Some("=?utf-8?b?7JWI?= =?utf-8?b?64WV?="));
            assert_eq!(mail.text.trim_end(), "안녕 http://h?token=a%2Eb");
            assert_eq!(mail.token().unwrap(), "a.b");
        }
    }
}
