//! The way of a mail: over TLS and signed in, past an absent server, and what is lost.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use millrace_tests::mail::{Fate, Sink, Terms, Tls};
use millrace_tests::process::Launch;
use millrace_tests::site::Site;
use millrace_tests::tls::Certificate;
use millrace_tests::world::until;

use crate::support::{Post, english, forgot, python, sending};

const LOGIN: (&str, &str) = ("millrace", "s3cret/9");
/// Each way to TLS, with scheme and query of its URLs.
const BY_TLS: [(Tls, (&str, &str)); 2] =
    [(Tls::StartTls, ("smtp", "?tls=required")), (Tls::Implicit, ("smtps", ""))];

fn mails(site: &Site, outcome: &str) -> Result<f64> {
    site.metric(&format!("millrace_mails_total{{outcome=\"{outcome}\"}}"))
}

/// Waits until mails were counted.
fn counted(site: &Site, outcome: &str, least: f64) -> Result<()> {
    until(outcome, || mails(site, outcome).is_ok_and(|mails| mails >= least).then_some(()))
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_mail_is_delivered_when_an_absent_server_is_back() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    // One that hangs up on everybody, and shows that it was tried.
    let absent = TcpListener::bind("127.0.0.1:0")?;
    let port = absent.local_addr()?.port();
    let url = format!("smtp://127.0.0.1:{port}");
    let site = Site::start(|launch| sending(launch, &url))?;
    for name in ["a", "b", "c"] {
        let email = format!("{name}@example.com");
        site.register(&email, &english())?;
        forgot(&site, &email)?;
    }
    drop(absent.accept()?);
    drop(absent);
    counted(&site, "retried", 3.0)?;
    let sink = Sink::start(&python, &Terms { port, ..Terms::default() })?;
    let mut to = [sink.take()?.to, sink.take()?.to, sink.take()?.to].concat();
    to.sort();
    assert_eq!(to, ["a@example.com", "b@example.com", "c@example.com"]);
    counted(&site, "sent", 3.0)?;
    assert_eq!(mails(&site, "failed")?, 0.0);
    sink.expect_no_more()
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_mail_that_is_refused_is_counted_and_holds_up_no_other() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    for email in ["refused@example.com", "taken@example.com"] {
        post.site.register(email, &english())?;
        forgot(&post.site, email)?;
    }
    let (mut refused, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        match post.sink.next()? {
            Fate::Refused(address) => refused.push(address),
            Fate::Taken(mail) => taken.extend(mail.to),
        }
    }
    assert_eq!(
        (refused, taken),
        (vec!["refused@example.com".to_owned()], vec!["taken@example.com".to_owned()])
    );
    counted(&post.site, "failed", 1.0)?;
    counted(&post.site, "sent", 1.0)?;
    assert_eq!(mails(&post.site, "retried")?, 0.0, "no means no");
    let log = post.site.server.stderr();
    assert!(log.contains("550") && !log.contains("refused@example.com"), "{log}");
    Ok(())
}

/// Sends a mail to a server with these terms, at a URL with this scheme and query; says whether it
/// came by TLS and signed in. `None` without a registry.
fn sent(
    terms: &Terms<'_>,
    (scheme, query): (&str, &str),
    configure: impl FnOnce(Launch) -> Launch,
) -> Result<Option<(bool, bool)>> {
    let Some(python) = python()? else { return Ok(None) };
    let sink = Sink::start(&python, terms)?;
    let url = format!("{scheme}://millrace:s3cret%2F9@127.0.0.1:{}{query}", sink.port);
    let site = Site::start(|launch| configure(sending(launch, &url)))?;
    site.register("u@example.com", &english())?;
    forgot(&site, "u@example.com")?;
    let taken = sink.take()?;
    let token = taken.mail.token()?;
    let log = site.server.stderr();
    ensure!(!log.contains("s3cret") && !log.contains(&token), "{log}");
    Ok(Some((taken.is_encrypted, taken.is_authenticated)))
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_mail_goes_to_a_server_that_wants_a_password() -> Result<()> {
    let terms = Terms { login: Some(LOGIN), ..Terms::default() };
    let Some(came) = sent(&terms, ("smtp", ""), |launch| launch)? else { return Ok(()) };
    assert_eq!(came, (false, true));
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_mail_goes_by_tls_to_a_server_of_a_trusted_authority() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::new(folder.path())?;
    let authority = certificate.authority.display().to_string();
    for (tls, at) in BY_TLS {
        let terms = Terms { login: Some(LOGIN), tls: Some((tls, &certificate)), port: 0 };
        let trusting = |launch: Launch| launch.env("SSL_CERT_FILE", &authority);
        let Some(came) = sent(&terms, at, trusting)? else { return Ok(()) };
        assert_eq!(came, (true, true), "{tls:?}");
    }
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_server_of_another_authority_gets_no_mail() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::new(folder.path())?;
    for (tls, (scheme, query)) in BY_TLS {
        let terms = Terms { login: Some(LOGIN), tls: Some((tls, &certificate)), port: 0 };
        let sink = Sink::start(&python, &terms)?;
        let url = format!("{scheme}://a:b@127.0.0.1:{}{query}", sink.port);
        let site = Site::start(|launch| sending(launch, &url))?;
        site.register("u@example.com", &english())?;
        forgot(&site, "u@example.com")?;
        counted(&site, "retried", 1.0)?;
        sink.expect_no_more()?;
    }
    Ok(())
}

#[test]
fn a_server_does_not_start_with_mails_that_cannot_be() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (arguments, expected) in [
        (["--smtp-url", "smtp//u:s3cret@h"], "smtp://"),
        (["--mail-from", "nobody"], "sender"),
        (["--mail-from", "a@b.co\r\nBcc: victim@example.com"], "sender"),
        (["--public-url", "app.example.com"], "public URL"),
    ] {
        let launch = Launch::dev(&folder.path().join("data"))?.args(&arguments);
        let (status, said) = launch.spawn()?.ended()?;
        assert!(!status.success(), "{arguments:?}");
        assert!(said.contains(expected) && !said.contains("s3cret"), "{arguments:?}: {said}");
    }
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_server_without_tls_gets_no_mail_and_no_password_where_tls_is_demanded() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let sink = Sink::start(&python, &Terms { login: Some(LOGIN), ..Terms::default() })?;
    let url = format!("smtp://millrace:s3cret%2F9@127.0.0.1:{}?tls=required", sink.port);
    let site = Site::start(|launch| sending(launch, &url))?;
    site.register("u@example.com", &english())?;
    forgot(&site, "u@example.com")?;
    counted(&site, "retried", 1.0)?;
    sink.expect_no_more()
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_mail_is_lost_and_counted_where_the_password_is_wrong() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let sink = Sink::start(&python, &Terms { login: Some(LOGIN), ..Terms::default() })?;
    let url = format!("smtp://millrace:another@127.0.0.1:{}", sink.port);
    let site = Site::start(|launch| sending(launch, &url))?;
    site.register("u@example.com", &english())?;
    forgot(&site, "u@example.com")?;
    counted(&site, "failed", 1.0)?;
    let log = site.server.stderr();
    assert!(log.contains("535") && !log.contains("another"), "{log}");
    sink.expect_no_more()
}
