//! Mails to users: over a real SMTP server, into the outbox folder, and how many.

mod delivery;
mod flows;
mod limits;
mod outbox;
mod support;
