//! The real binary, from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test relies on may fail it")]

mod away;
mod between;
mod commands;
mod common;
mod deletion;
mod deletion_receipt;
mod deletion_resume;
mod dev;
mod google;
mod identity;
mod mail;
mod options;
mod people;
mod user;
mod webhook;
