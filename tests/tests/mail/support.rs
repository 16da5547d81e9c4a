//! A site whose mails go to an SMTP server of the test.

use std::path::Path;

use anyhow::{Result, ensure};
use millrace_tests::accounts::PASSWORD;
use millrace_tests::client::Answer;
use millrace_tests::mail::{Sink, Taken, Terms};
use millrace_tests::process::Launch;
use millrace_tests::python::Python;
use millrace_tests::site::Site;
use serde_json::{Value, json};

/// What links begin with.
pub(crate) const PUBLIC_URL: &str = "https://app.example.com/base";
/// The sender.
pub(crate) const FROM: &str = "Mühle <no-reply@example.com>";

/// A Python with an SMTP server; `None` without a registry.
pub(crate) fn python() -> Result<Option<Python>> {
    // One test at a time makes it.
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _making = MAKING.lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aiosmtpd");
    Python::with(&folder, &["aiosmtpd>=1.4.6,<2"])
}

/// A site and where its mails arrive.
pub(crate) struct Post {
    pub(crate) site: Site,
    pub(crate) sink: Sink,
}

impl Post {
    /// `None` without a registry.
    pub(crate) fn open(configure: impl FnOnce(Launch) -> Launch) -> Result<Option<Self>> {
        let Some(python) = python()? else { return Ok(None) };
        let sink = Sink::start(&python, &Terms::default())?;
        let url = format!("smtp://127.0.0.1:{}", sink.port);
        let site = Site::start(|launch| configure(sending(launch, &url)))?;
        Ok(Some(Self { site, sink }))
    }

    /// Asks for a mail by which a password is set, and takes it.
    pub(crate) fn forgot(&self, email: &str) -> Result<Taken> {
        accepted(&self.site.post("/auth/forgot-password", &json!({"email": email}))?)?;
        self.sink.take()
    }

    /// Asks for a mail by which an address is verified, and takes it.
    pub(crate) fn request_verify(&self, email: &str) -> Result<Taken> {
        accepted(&self.site.post("/auth/request-verify-token", &json!({"email": email}))?)?;
        self.sink.take()
    }

    /// Whatever was asked for so far has led to no mail: one that is asked for now is the next.
    pub(crate) fn expect_none(&self) -> Result<()> {
        let email = format!("last-{}@example.com", fastrand::u64(..));
        self.site.register(&email, &english())?;
        let taken = self.forgot(&email)?;
        ensure!(taken.to == [email], "a mail to {:?}", taken.to);
        self.sink.expect_no_more()
    }

    /// Sets a password by the token of a mail.
    pub(crate) fn reset(&self, token: &str, password: &str) -> Result<Answer> {
        self.site.post("/auth/reset-password", &json!({"token": token, "password": password}))
    }

    /// Verifies an address by the token of a mail.
    pub(crate) fn verify(&self, token: &str) -> Result<Answer> {
        self.site.post("/auth/verify", &json!({"token": token}))
    }
}

/// The flags of mails over SMTP.
pub(crate) fn sending(launch: Launch, url: &str) -> Launch {
    launch.args(&["--public-url", PUBLIC_URL, "--mail-from", FROM]).env("MILLRACE_SMTP_URL", url)
}

/// Preferences in English.
pub(crate) fn english() -> Value {
    json!({"etc": {"language": "en"}})
}

/// Asks to reset a password, which is always taken.
pub(crate) fn forgot(site: &Site, email: &str) -> Result<()> {
    accepted(&site.post("/auth/forgot-password", &json!({"email": email}))?)
}

/// 202, `null`.
pub(crate) fn accepted(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 202, "{} {}", answer.status, answer.text());
    ensure!(answer.text() == "null", "{}", answer.text());
    Ok(())
}

/// 200, `null`.
pub(crate) fn done(answer: &Answer) -> Result<()> {
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    ensure!(answer.text() == "null", "{}", answer.text());
    Ok(())
}

/// Whether somebody can sign in with the password they registered with.
pub(crate) fn has_first_password(site: &Site, email: &str) -> Result<bool> {
    Ok(site.login(email, PASSWORD)?.status == 200)
}
