//! Mails to users: over SMTP, or as files of an outbox folder.
//!
//! Owns their words and their way. They are sent behind the caller's back, so that an answer says
//! nothing about whether there was a mail.

mod template;

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use millrace_schema::id::new_id;
use millrace_schema::time::wall_clock_us;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::write_private;

pub(crate) use template::Purpose;

/// Mails that may wait to be sent; those beyond it are dropped.
const QUEUE: usize = 1_000;
/// Mails on their way at once, those that wait for another try included.
const UNDER_WAY_MAX: usize = 1_000;
const SMTP_CONNECTIONS: usize = 4;
/// For one try over SMTP.
const SMTP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest between two tries.
const SMTP_PAUSE_MAX: Duration = Duration::from_secs(60);
/// After it a mail is given up: the link in it is good for an hour, and must be of some use still.
const SMTP_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How mails leave.
#[derive(Clone)]
pub enum MailTransport {
    /// A server, as `smtp://user:password@host:587?tls=required` or `smtps://…`.
    Smtp(String),
    /// A folder where each becomes an `.eml` file (mode 0600: it holds a link that is a key).
    Outbox(PathBuf),
}

/// Where mails come from, lead to, and go.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The sender: `Millrace <no-reply@example.com>`.
    pub from: String,
    /// What links begin with: `https://app.example.com`.
    pub public_url: String,
    /// How they leave.
    pub transport: MailTransport,
}

impl fmt::Debug for MailTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(_) => f.write_str("Smtp(..)"),
            Self::Outbox(folder) => f.debug_tuple("Outbox").field(folder).finish(),
        }
    }
}

/// Why there can be no mails.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The sender is no mailbox.
    #[error("the sender of mails must be an address, such as Millrace <no-reply@example.com>")]
    From,
    /// The links would lead nowhere.
    #[error("the public URL must begin with https:// or http://")]
    PublicUrl,
    /// The URL of the server is not one. It may hold a password, so it is not shown.
    #[error("the URL of the mail server must be like smtp://user:password@host:587?tls=required")]
    SmtpUrl,
    /// The outbox folder cannot be made.
    #[error("outbox {}: {source}", path.display())]
    Outbox {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A mail to be written.
#[derive(Clone)]
pub(crate) struct Mail {
    pub(crate) purpose: Purpose,
    pub(crate) to: String,
    pub(crate) language: String,
    pub(crate) token: String,
}

/// Takes mails; [`Postman::run`] sends them.
#[derive(Clone, Debug)]
pub struct Mailer {
    queue: mpsc::Sender<Message>,
    from: Mailbox,
    public_url: String,
}

/// Sends what a [`Mailer`] took.
pub struct Postman {
    queue: mpsc::Receiver<Message>,
    way: Way,
}

enum Way {
    Smtp { server: AsyncSmtpTransport<Tokio1Executor>, connections: Semaphore },
    Outbox(PathBuf),
}

impl Mailer {
    /// A mailer, and who sends its mails.
    ///
    /// # Errors
    /// [`MailError`]: the settings cannot be.
    pub fn new(settings: MailSettings) -> Result<(Self, Postman), MailError> {
        let MailSettings { from, public_url, transport } = settings;
        let from = from.parse().map_err(|_| MailError::From)?;
        if !public_url.starts_with("https://") && !public_url.starts_with("http://") {
            return Err(MailError::PublicUrl);
        }
        let public_url = public_url.trim_end_matches('/').to_owned();
        let way = match transport {
            MailTransport::Smtp(url) => {
                let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url);
                let server = server.map_err(|_| MailError::SmtpUrl)?;
                let server = server.timeout(Some(SMTP_TIMEOUT)).build();
                Way::Smtp { server, connections: Semaphore::new(SMTP_CONNECTIONS) }
            }
            MailTransport::Outbox(path) => {
                match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
                    Ok(()) => Way::Outbox(path),
                    Err(source) => return Err(MailError::Outbox { path, source }),
                }
            }
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mailer = Self { queue: sender, from, public_url };
        Ok((mailer, Postman { queue: receiver, way }))
    }

    /// A mailer for commands, of which none sends a mail.
    ///
    /// # Errors
    /// None: its sender, whom nobody sees, is an address.
    pub fn idle() -> Result<Self, MailError> {
        let from = "nobody@localhost".parse().map_err(|_| MailError::From)?;
        let (queue, _) = mpsc::channel(1);
        Ok(Self { queue, from, public_url: String::new() })
    }

    /// Writes a mail and, if `is_wanted`, hands it over to be sent. What is not wanted costs as
    /// much.
    pub(crate) fn post(&self, mail: &Mail, is_wanted: bool) {
        let outcome = match self.write(mail) {
            None => "unwritable",
            Some(_) if !is_wanted => return,
            Some(message) => match self.queue.try_send(message) {
                Ok(()) => return,
                Err(_) => "dropped",
            },
        };
        if is_wanted {
            count(outcome);
            tracing::warn!(outcome, "a mail was not sent");
        }
    }

    fn write(&self, mail: &Mail) -> Option<Message> {
        let path = match mail.purpose {
            Purpose::Reset => "reset-password",
            Purpose::Verify => "verify",
        };
        let token = utf8_percent_encode(&mail.token, NON_ALPHANUMERIC);
        let link = format!("{}/{path}?token={token}", self.public_url);
        let words = template::words(mail.purpose, &mail.language, &link);
        let address = mail.to.parse().ok()?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .message_id(Some(format!("<{}@{}>", Uuid::new_v4(), self.from.email.domain())))
            // So that nobody's automatic answer comes back (RFC 3834, section 5).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .subject(words.subject)
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(words.text)
            .ok()
    }
}

impl Postman {
    /// Sends mails until every [`Mailer`] is gone and none waits. One that has to be tried again
    /// holds up no other.
    pub async fn run(self) {
        let Self { mut queue, way } = self;
        let way = Arc::new(way);
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                message = queue.recv(), if under_way.len() < UNDER_WAY_MAX => match message {
                    Some(message) => {
                        let way = Arc::clone(&way);
                        under_way.spawn(async move { way.deliver(message).await });
                    }
                    None => break,
                },
                Some(_) = under_way.join_next() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }
}

impl Way {
    async fn deliver(&self, message: Message) {
        let sent = match self {
            Self::Smtp { server, connections } => send(server, connections, message).await,
            Self::Outbox(folder) => keep(folder, &message).await,
        };
        match sent {
            Ok(()) => count("sent"),
            Err(reason) => {
                count("failed");
                tracing::error!(reason, "a mail could not be sent and is lost");
            }
        }
    }
}

/// Sends a mail, again and again while the server is away or busy.
async fn send(
    server: &AsyncSmtpTransport<Tokio1Executor>,
    connections: &Semaphore,
    message: Message,
) -> Result<(), String> {
    let policy = ExponentialBuilder::new()
        .with_jitter()
        .with_max_delay(SMTP_PAUSE_MAX)
        .without_max_times()
        .with_total_delay(Some(SMTP_PATIENCE));
    let send = || async {
        let _connection = connections.acquire().await;
        server.send(message.clone()).await
    };
    let retried = |error: &lettre::transport::smtp::Error, _| {
        count("retried");
        tracing::warn!(reason = reason(error), "a mail could not be sent and is tried again");
    };
    let sent = send.retry(policy).when(|error| !error.is_permanent()).notify(retried).await;
    sent.map(|_| ()).map_err(|error| reason(&error))
}

/// What went wrong, but for the server's own words, which may quote the address.
fn reason(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the server answered {code}"),
        None if error.is_tls() => "there was no TLS with the server, or its certificate is not \
                                   trusted"
            .to_owned(),
        None => "the server was not reached or did not understand".to_owned(),
    }
}

/// Keeps a mail as a file of the outbox.
async fn keep(folder: &Path, message: &Message) -> Result<(), String> {
    let path = folder.join(format!("{}.eml", new_id(wall_clock_us())));
    let bytes = message.formatted();
    let task = tokio::task::spawn_blocking(move || write_private(&path, &bytes));
    match task.await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err("the file was not written".to_owned()),
    }
}

impl fmt::Debug for Postman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postman").finish_non_exhaustive()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("millrace_mails_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests;
